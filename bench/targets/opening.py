"""Opens a target: its API server, its Prometheus, and what it was seen to have."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from bench.cluster import service_proxy
from bench.cluster.client import Cluster
from bench.cluster.inventory import inventory_of, see
from bench.cluster.objects import Object
from bench.cluster.rights import INVENTORY_RIGHTS, proxied_service
from bench.errors import Unreachable
from bench.metrics.prometheus import Prometheus
from bench.model.inventory import Inventory
from bench.model.rights import Rights
from bench.targets import Target
from bench.targets.device_series import MetricNames, metric_names


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTarget:
    """A target in use."""

    target: Target
    cluster: Cluster
    prometheus: Prometheus | None
    inventory: Inventory
    own_rights: Rights = ()
    """What the bench itself uses on this target, whatever the scenario."""


@contextlib.contextmanager
def opened(target: Target) -> Iterator[OpenTarget]:
    """
    The target, looked at; closed again at the end of the block.

    A Prometheus that was named must answer; one that was only found may fail, and is then a warning.
    """
    with contextlib.ExitStack() as closing:
        cluster = closing.enter_context(Cluster.open(kubeconfig=target.kubeconfig, context=target.context))
        seen = see(cluster)
        service = None if target.prometheus_url else find_prometheus(seen.objects["services"])
        prometheus = _prometheus_of(target, cluster, service)
        metrics = MetricNames()
        if prometheus is not None:
            closing.enter_context(prometheus)
            try:
                metrics = metric_names(cluster, prometheus)
            except Unreachable:
                if target.prometheus_url:
                    raise
                prometheus = None
        url = prometheus.url if prometheus else ""
        inventory = inventory_of(seen, prometheus_url=url, metric_names=metrics.names)
        inventory = replace(inventory, no_device_metrics_because=metrics.no_devices_because)
        yield OpenTarget(
            target=target,
            cluster=cluster,
            prometheus=prometheus,
            inventory=inventory,
            own_rights=(*INVENTORY_RIGHTS, *((proxied_service(*service),) if service else ())),
        )


def _prometheus_of(target: Target, cluster: Cluster, service: tuple[str, str, str] | None) -> Prometheus | None:
    if target.prometheus_url:
        return Prometheus(target.prometheus_url)
    if service is None:
        return None
    namespace, name, port = service
    url = service_proxy.service_url(cluster, namespace=namespace, name=name, port=port)
    return Prometheus(url, session=service_proxy.session(cluster))


def find_prometheus(services: Iterable[Object]) -> tuple[str, str, str] | None:
    """
    Namespace, name and port of the Service that looks most like a Prometheus; None where none does.

    By the label that the charts set, or else by its name; the operator's governing Service (headless) comes last.
    """
    found = [(_likeness(each), each) for each in services]
    likely = sorted((pair for pair in found if pair[0] > 0), key=lambda pair: -pair[0])
    if not likely:
        return None
    best = likely[0][1]
    return best["metadata"]["namespace"], best["metadata"]["name"], str(_query_port(best))


def _likeness(service: Object) -> int:
    labels = service["metadata"].get("labels") or {}
    if _query_port(service) is None:
        return 0
    labelled = labels.get("app.kubernetes.io/name") == "prometheus" or labels.get("app") == "prometheus"
    named = "prometheus" in service["metadata"]["name"]
    headless = service["spec"].get("clusterIP") == "None"
    return (4 if labelled else 0) + (2 if named else 0) - (1 if headless else 0)


def _query_port(service: Object) -> int | None:
    """9090 is where Prometheus listens; charts that move it keep the name of the port."""
    for port in service["spec"].get("ports") or ():
        if port["port"] == 9090 or port.get("name") in ("http-web", "web"):
            return int(port["port"])
    return None
