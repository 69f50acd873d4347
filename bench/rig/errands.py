"""Pods that are sent to do one thing: created at once, waited for until each has ended, and their logs read."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.cluster.objects import condition
from bench.cluster.recorder import Followed
from bench.model.measurement import Absent, Measurement, Reading, Source
from bench.model.scenario import Errand
from bench.model.units import Unit

ENDED: Final = ("Succeeded", "Failed")
ALLOCATED: Final = "device_allocated_total"
DEVICE_USERS: Final = ("Pending", "Running")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """What it takes to run pods: the rig's ways to create, to remove, to wait and to read logs."""

    create: Callable[[Mapping[str, Any]], object]
    remove: Callable[[Mapping[str, Any]], object]
    observe: Callable[[Followed, Callable[[Any], bool], float], bool]
    logs: Callable[[str, str, str], str]
    clock: Callable[[], float]

    def run(
        self, pods: Iterable[Mapping[str, Any]], followed: Mapping[str, Followed], within_seconds: float
    ) -> dict[str, Errand]:
        """By name of the pod. One that has not ended in time is removed, and the reason told."""
        pods = list(pods)
        for pod in pods:
            self.create(pod)
        deadline = self.clock() + within_seconds
        for namespace, each in followed.items():
            names = {_key(pod) for pod in pods if pod["metadata"]["namespace"] == namespace}
            self.observe(each, _all_ended(names), max(0.0, deadline - self.clock()))
        present = {key: pod for each in followed.values() for key, pod in each.present().items()}
        return {pod["metadata"]["name"]: self._told(pod, present.get(_key(pod))) for pod in pods}

    def _told(self, pod: Mapping[str, Any], found: Mapping[str, Any] | None) -> Errand:
        if found is None or phase(found) not in ENDED:
            self.remove(pod)
            return Errand(reason=f"pod {pod['metadata']['name']} did not end: {why_not(found or {})}")
        metadata = pod["metadata"]
        names = [container["name"] for container in pod["spec"]["containers"]]
        return Errand(logs={name: self.logs(metadata["namespace"], metadata["name"], name) for name in names})


def _key(pod: Mapping[str, Any]) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _all_ended(names: Iterable[str]) -> Callable[[Mapping[str, Any]], bool]:
    def all_have_ended(present: Mapping[str, Any]) -> bool:
        return all(name in present and phase(present[name]) in ENDED for name in names)

    return all_have_ended


def phase(pod: Mapping[str, Any]) -> str:
    """``Pending`` also where nothing is told yet."""
    return str(pod.get("status", {}).get("phase", "Pending"))


def why_not(pod: Mapping[str, Any]) -> str:
    """What holds a pod back, as its scheduler or its node says it."""
    scheduled = condition(pod, "PodScheduled")
    if scheduled is not None and scheduled.get("status") != "True":
        return str(scheduled.get("message") or scheduled.get("reason") or "it was not scheduled")
    for container in pod.get("status", {}).get("containerStatuses") or ():
        waiting = container.get("state", {}).get("waiting")
        if waiting:
            return f"{container['name']}: {waiting.get('reason', '')} {waiting.get('message', '')}".strip()
    return f"its phase is {phase(pod)}"


def unused(nodes: Mapping[str, float], pods: Iterable[Mapping[str, Any]], resource: str) -> dict[str, int]:
    """Node → how much of an extended resource no pod has asked for there; nodes that have none left are not told."""
    left = {name: int(count) for name, count in nodes.items()}
    for pod in pods:
        node = pod["spec"].get("nodeName", "")
        if node in left and phase(pod) in DEVICE_USERS:
            left[node] -= sum(_asked(container, resource) for container in pod["spec"]["containers"])
    return {name: count for name, count in left.items() if count > 0}


def _asked(container: Mapping[str, Any], resource: str) -> int:
    limits = (container.get("resources") or {}).get("limits") or {}
    return int(limits.get(resource, "0"))


def allocations(claims: Iterable[Mapping[str, Any]], slices: Iterable[Mapping[str, Any]]) -> Iterator[Reading]:
    """
    Which devices the claims of pods were allocated, by UUID where the driver tells it.

    Of every state that a claim was seen in: when its pod has ended, a claim is allocated nothing any more.
    """
    uuids = dict(_devices(slices))
    found = sorted({(owner, result) for claim in claims for owner, result in _results(claim)})
    for pod, (pool, device) in found:
        labels, statement = {"pod": pod, "device": f"{pool}/{device}"}, "status.allocation of the pod's ResourceClaim"
        uuid = uuids.get((pool, device), "")
        if not uuid:
            reason = "the ResourceSlice tells no uuid of the device"
            yield Absent(name=ALLOCATED, source=Source.KUBERNETES, statement=statement, reason=reason, labels=labels)
            continue
        yield Measurement(
            name=ALLOCATED,
            unit=Unit.TOTAL,
            values=[1.0],
            source=Source.KUBERNETES,
            statement=statement,
            labels={**labels, "uuid": uuid},
        )


def _devices(slices: Iterable[Mapping[str, Any]]) -> Iterator[tuple[tuple[str, str], str]]:
    for each in slices:
        for device in each["spec"].get("devices") or ():
            named = {name.rpartition("/")[2]: value for name, value in (device.get("attributes") or {}).items()}
            yield (each["spec"]["pool"]["name"], device["name"]), named.get("uuid", {}).get("string", "")


def _results(claim: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    owners = [owner["name"] for owner in claim["metadata"].get("ownerReferences") or () if owner["kind"] == "Pod"]
    allocation = claim.get("status", {}).get("allocation") or {}
    for result in allocation.get("devices", {}).get("results") or ():
        for owner in owners:
            yield owner, (result["pool"], result["device"])
