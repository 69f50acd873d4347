"""
Whether the series of idle devices are in Prometheus before anything is deployed; where not, why.

An exporter tells of every device, whether a pod holds it or not. What is not there is waited for only while it can
still come: after a start of the exporter or of Prometheus, until one collection and one scrape are over.
"""

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from bench import interruption
from bench.cluster.client import Cluster
from bench.cluster.objects import Object
from bench.errors import Forbidden, Unreachable
from bench.metrics.prometheus import Prometheus, Scrape
from bench.rig.exporters import DEFAULT_COLLECT_SECONDS, IMAGE, Exporter, exporters_of

PREFIX: Final = "DCGM_"
SLOWEST_SCRAPE_SECONDS: Final = 60.0
"""Where Prometheus does not tell its interval: the slowest common one."""
SLACK_SECONDS: Final = 10.0
"""For the exporter to find its devices, and for Prometheus to find the exporter."""
LONGEST_SECONDS: Final = 90.0
"""Nobody is waited for longer, whatever the clocks of nodes say."""
LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricNames:
    """What Prometheus has, and why it has nothing of devices."""

    names: tuple[str, ...] = ()
    no_devices_because: str = ""
    """Empty where it has."""


def metric_names(cluster: Cluster, prometheus: Prometheus) -> MetricNames:
    """
    The metrics there are; of devices, those that have series at present and not only in what is stored.

    Raises:
        Unreachable: Prometheus does not answer.

    """
    others = tuple(name for name in prometheus.metric_names() if not name.startswith(PREFIX))
    latest = time.time() + LONGEST_SECONDS
    while True:
        if names := prometheus.current_names(PREFIX):
            return MetricNames(names=(*others, *names))
        try:
            way = look(cluster, prometheus)
        except Forbidden as error:
            return MetricNames(names=others, no_devices_because=f"why is not known: {error}")
        if time.time() > min(latest, way.due_seconds):
            return MetricNames(names=others, no_devices_because=way.broken_because)
        interruption.wait(threading.Event(), LOOK_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What lies between the devices and their series, as it was seen while there were none."""

    exporters: tuple[Exporter, ...] = ()
    """Those with an address."""
    starts_seconds: tuple[float, ...] = ()
    """Of all pods of exporters."""
    configured_seconds: float = -math.inf
    """When Prometheus was last given a configuration."""
    scrapes: tuple[Scrape, ...] | None = None
    """None: Prometheus does not tell."""

    @property
    def due_seconds(self) -> float:
        """From when on a series that is not there does not come any more."""
        if not self.starts_seconds:
            return -math.inf
        collects = [each.configured_collect_seconds or DEFAULT_COLLECT_SECONDS for each in self.exporters]
        scrapes = [each.interval_seconds for exporter in self.exporters for each in self._of(exporter)]
        rounds = max(collects, default=DEFAULT_COLLECT_SECONDS) + max(scrapes, default=SLOWEST_SCRAPE_SECONDS)
        return max(*self.starts_seconds, self.configured_seconds) + rounds + SLACK_SECONDS

    @property
    def broken_because(self) -> str:
        """Where it is broken, and the cure."""
        if not self.exporters:
            return f"no pod with an image {IMAGE} runs: install the exporter, or see why its pods do not start"
        if self.scrapes is None:
            return "is the exporter scraped?"
        return self._why(self.exporters[0])

    def _why(self, exporter: Exporter) -> str:
        place, found = f"{exporter.namespace}/{exporter.pod}", list(self._of(exporter))
        if not found:
            return f"Prometheus has no scrape target at the exporter {place}: give it a ServiceMonitor or a scrape job"
        scrape = found[0]
        if scrape.error:
            return f"the scrape of the exporter {place} fails ({scrape.error}): see its log, and who may reach it"
        return (
            f"the exporter {place} is scraped and nothing of devices is stored: "
            f"`kubectl logs -n {exporter.namespace} {exporter.pod}` tells whether it sees devices; "
            "if it does, a relabelling drops them"
        )

    def _of(self, exporter: Exporter) -> Iterator[Scrape]:
        """By its address, or by a name that stands for it."""
        return (each for each in self.scrapes or () if exporter.address in each.url or "dcgm" in each.url + each.pool)


def look(cluster: Cluster, prometheus: Prometheus) -> Way:
    """
    The way as it is now.

    Raises:
        Forbidden: pods may not be listed.

    """
    pods = cluster.list("/api/v1/pods").items
    seen = Way(
        exporters=tuple(exporters_of(pods)), starts_seconds=tuple(_start(each) for each in pods if _is_exporter(each))
    )
    try:
        return replace(seen, scrapes=prometheus.scrapes(), configured_seconds=prometheus.configured_seconds())
    except Unreachable:  # others speak Prometheus' language and scrape nothing themselves
        return seen


def _is_exporter(pod: Object) -> bool:
    return any(IMAGE in each["image"] for each in pod["spec"]["containers"])


def _start(pod: Object) -> float:
    """When the youngest of its containers that runs was started; when it was created, where none runs."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    started = [each["state"]["running"]["startedAt"] for each in statuses if "running" in each.get("state", {})]
    return max(datetime.fromisoformat(each).timestamp() for each in (*started, pod["metadata"]["creationTimestamp"]))
