"""Every exporter of GPU metrics that runs: where it is, what its pod configures, and what its text declares."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.cluster.client import Cluster
from bench.errors import BenchError
from bench.metrics.exposition import Exposition, read_exposition
from bench.model.measurement import Absent, Measurement, Reading, Source
from bench.model.units import Unit

IMAGE: Final = "dcgm-exporter"
PORT: Final = 9400
INTERVAL_VARIABLE: Final = "DCGM_EXPORTER_INTERVAL"
INTERVAL_FLAGS: Final = ("-c", "--collect-interval")
DEFAULT_COLLECT_SECONDS: Final = 30.0
"""The exporter's own, where nothing is said."""
READ_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """One pod of an exporter."""

    node: str
    namespace: str
    pod: str
    address: str
    port: int
    configured_collect_seconds: float | None
    """What its pod says; None where it says it by reference."""
    ignored_variables: tuple[str, ...]
    """Names that look like the interval's and mean nothing to it."""

    @property
    def url(self) -> str:
        """Of its text, from within the cluster."""
        return f"http://{self.address}:{self.port}/metrics"

    @property
    def labels(self) -> Mapping[str, str]:
        """Of readings about it."""
        return {"node": self.node, "exporter": f"{self.namespace}/{self.pod}"}


def find_exporters(cluster: Cluster) -> tuple[Exporter, ...]:
    """All of them, by the image, on whatever node and in whatever namespace; one without an address is left out."""
    return tuple(exporters_of(cluster.list("/api/v1/pods").items))


def exporters_of(pods: Iterable[Mapping[str, Any]]) -> Iterator[Exporter]:
    """Those among the pods that have an address."""
    for pod in pods:
        address = pod.get("status", {}).get("podIP", "")
        for container in pod["spec"]["containers"]:
            if IMAGE in container["image"] and address:
                interval, ignored = configured_interval(container)
                yield Exporter(
                    node=pod["spec"].get("nodeName", ""),
                    namespace=pod["metadata"]["namespace"],
                    pod=pod["metadata"]["name"],
                    address=address,
                    port=_port(container),
                    configured_collect_seconds=interval,
                    ignored_variables=ignored,
                )


def _port(container: Mapping[str, Any]) -> int:
    named = {each.get("name"): int(each["containerPort"]) for each in container.get("ports") or ()}
    return named.get("metrics", next(iter(named.values()), PORT))


def configured_interval(container: Mapping[str, Any]) -> tuple[float | None, tuple[str, ...]]:
    """Seconds by flag, else by variable, else the default; and variables whose name is nearly the right one."""
    variables = container.get("env") or ()
    ignored = tuple(
        each["name"]
        for each in variables
        if "INTERVAL" in each["name"] and "EXPORTER" in each["name"] and each["name"] != INTERVAL_VARIABLE
    )
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    for word, after in zip(words, [*words[1:], ""], strict=False):
        flag, is_joined, value = word.partition("=")
        if flag in INTERVAL_FLAGS:
            return _seconds(value if is_joined else after), ignored
    for each in variables:
        if each["name"] == INTERVAL_VARIABLE:
            return _seconds(each.get("value", "")), ignored
    return DEFAULT_COLLECT_SECONDS, ignored


def _seconds(milliseconds: str) -> float | None:
    return float(milliseconds) / 1000.0 if milliseconds.isdigit() else None


def exporter_readings(cluster: Cluster, nodes: Iterable[str]) -> Iterator[Reading]:
    """Each exporter's own text, read through the API server; a node without one is an absence."""
    found = find_exporters(cluster)
    for node in sorted(set(nodes) - {each.node for each in found}):
        reason = f"no pod with an image {IMAGE} runs on the node"
        yield _absent("exporter_answer_seconds", "list of Pods", reason, {"node": node})
    for exporter in found:
        yield from _configured(exporter)
        yield from _asked(cluster, exporter)


def _configured(exporter: Exporter) -> Iterator[Reading]:
    name, statement = "exporter_configured_collect_seconds", f"{INTERVAL_VARIABLE} of the exporter's pod"
    if exporter.configured_collect_seconds is None:
        yield _absent(name, statement, "the pod takes it from elsewhere", exporter.labels)
    else:
        yield _told(name, Unit.SECONDS, exporter.configured_collect_seconds, statement, exporter.labels)
    for variable in exporter.ignored_variables:
        labels = {**exporter.labels, "variable": variable}
        yield _told("exporter_ignored_variable_total", Unit.TOTAL, 1.0, "variables of the exporter's pod", labels)


def _asked(cluster: Cluster, exporter: Exporter) -> Iterator[Reading]:
    path = f"/api/v1/namespaces/{exporter.namespace}/pods/{exporter.pod}:{exporter.port}/proxy/metrics"
    began = time.monotonic()
    try:
        answer = cluster.stream(path, query={}, read_timeout_seconds=READ_SECONDS)
        text = read_exposition(answer.data.decode(errors="replace"))
    except (BenchError, ValueError) as error:
        yield _absent("exporter_answer_seconds", f"GET {path}", str(error)[:300], exporter.labels)
        return
    yield _told("exporter_answer_seconds", Unit.SECONDS, time.monotonic() - began, f"GET {path}", exporter.labels)
    yield from _declared(exporter, text, f"GET {path}")


def _declared(exporter: Exporter, text: Exposition, statement: str) -> Iterator[Reading]:
    for metric, count in sorted(text.series_by_metric.items()):
        labels = {**exporter.labels, "metric": metric, "declared": text.declared_by_metric[metric]}
        yield _told("exporter_series_total", Unit.TOTAL, float(count), statement, labels)
    for label, count in sorted(text.series_by_label.items()):
        yield _told("exporter_label_total", Unit.TOTAL, float(count), statement, {**exporter.labels, "label": label})


def _told(name: str, unit: Unit, value: float, statement: str, labels: Mapping[str, str]) -> Measurement:
    return Measurement(name=name, unit=unit, values=[value], source=Source.EXPORTER, statement=statement, labels=labels)


def _absent(name: str, statement: str, reason: str, labels: Mapping[str, str]) -> Absent:
    return Absent(name=name, source=Source.EXPORTER, statement=statement, reason=reason, labels=labels)
