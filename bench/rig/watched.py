"""What was followed, as readings: counts of an object over time, the moments of pods, what an HPA showed."""

from collections.abc import Iterator, Mapping, Sequence

from bench.cluster.watch import Change, Event
from bench.model.measurement import Measurement, Reading, Source
from bench.model.units import find_unit, kubernetes_quantity


def counts(events: Sequence[Event], name: str, path: tuple[str, str]) -> Iterator[Reading]:
    """A count of an object (``spec``, ``replicas``) at each change; a member that is not there counts as 0."""
    pairs = [(each.received_utc_seconds, float(each.object.get(path[0], {}).get(path[1], 0))) for each in events]
    if pairs:
        yield _measurement(name, pairs, f"watch, {'.'.join(path)}")


def hpa_values(events: Sequence[Event]) -> Iterator[Reading]:
    """What an HPA shows of its metric, as its status says it."""
    pairs = []
    for event in events:
        for metric in event.object.get("status", {}).get("currentMetrics") or ():
            # a metric that could not be had is listed without a type
            current = metric.get(str(metric.get("type", "")).lower(), {}).get("current", {})
            value = current.get("averageValue") or current.get("value")
            if value is not None:
                pairs.append((event.received_utc_seconds, kubernetes_quantity(str(value))))
    if pairs:
        yield _measurement("hpa_metric_value", pairs, "watch of the HorizontalPodAutoscaler, status.currentMetrics")


def pod_moments(events: Sequence[Event]) -> Iterator[Reading]:
    """When each pod was first seen in each state; the times are those of the watch's receipt."""
    seen: dict[tuple[str, str], float] = {}
    for event in events:
        pod = event.object["metadata"]["name"]
        for moment in _moments(event):
            seen.setdefault((pod, moment), event.received_utc_seconds)
    for (pod, moment), at in sorted(seen.items(), key=lambda each: each[1]):
        labels = {"pod": pod, "moment": moment}
        yield _measurement("pod_seen_seconds", [(at, at)], "watch of Pods", labels)


def _moments(event: Event) -> Iterator[str]:
    conditions = true_conditions(event.object)
    containers = event.object.get("status", {}).get("containerStatuses") or ()
    yield "created"
    if "PodScheduled" in conditions:
        yield "scheduled"
    if containers and all("running" in each.get("state", {}) for each in containers):
        yield "started"
    if "Ready" in conditions:
        yield "ready"
    if event.object["metadata"].get("deletionTimestamp") or event.change is Change.DELETED:
        yield "deleted"
    if event.change is Change.DELETED:
        yield "gone"


def true_conditions(found: Mapping[str, object]) -> set[str]:
    """The types of an object's conditions that hold."""
    status = found.get("status")
    conditions = status.get("conditions") if isinstance(status, Mapping) else None
    return {each["type"] for each in conditions or () if each["status"] == "True"}


def _measurement(
    name: str, pairs: Sequence[tuple[float, float]], statement: str, labels: Mapping[str, str] | None = None
) -> Measurement:
    unit = find_unit(name)
    if unit is None:
        raise ValueError(f"{name!r} does not end in a unit")
    return Measurement(
        name=name,
        unit=unit,
        values=[value for _, value in pairs],
        times_seconds=[at for at, _ in pairs],
        source=Source.KUBERNETES,
        statement=statement,
        labels=labels or {},
    )
