"""Pods that are sent to do one thing: what comes back of those that end, and the reason of those that do not."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from bench.cluster.recorder import Followed
from bench.cluster.watch import Change, Event
from bench.model.measurement import Absent, Measurement
from bench.rig.errands import Sender, allocations, unused, why_not

GPU = "nvidia.com/gpu"


def pod(name: str, *containers: str, phase: str = "", **status: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": each} for each in containers or ("main",)]}
    told = {"status": {**({"phase": phase} if phase else {}), **status}}
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "trial"}, "spec": spec, **told}


class Cluster:
    """Pods that become what `course` says when they are created, and a clock that moves when somebody waits."""

    def __init__(self, course: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        self.followed = Followed("/api/v1/namespaces/trial/pods")
        self.removed: list[str] = []
        self.waited_seconds: list[float] = []
        self._course = course
        self._now = 100.0

    @property
    def sender(self) -> Sender:
        return Sender(
            create=self._create, remove=self._remove, observe=self._observe, logs=self._logs, clock=lambda: self._now
        )

    def _create(self, manifest: Mapping[str, Any]) -> None:
        event = Event(
            change=Change.ADDED,
            object=dict(self._course(manifest)),
            received_monotonic_seconds=self._now,
            received_utc_seconds=self._now,
            relisted=False,
        )
        self.followed._take(event)

    def _remove(self, manifest: Mapping[str, Any]) -> None:
        self.removed.append(manifest["metadata"]["name"])

    def _observe(self, followed: Followed, claim: Callable[[Any], bool], within_seconds: float) -> bool:
        self.waited_seconds.append(within_seconds)
        holds = claim(followed.present())
        self._now += 0.0 if holds else within_seconds
        return holds

    def _logs(self, namespace: str, name: str, container: str) -> str:
        return f"{namespace}/{name}/{container} was here"


def test_of_a_pod_that_ended_the_log_of_each_container_comes_back() -> None:
    cluster = Cluster(lambda sent: {**sent, "status": {"phase": "Succeeded"}})

    told = cluster.sender.run([pod("a", "first", "second")], {"trial": cluster.followed}, 60.0)

    assert told["a"].logs == {"first": "trial/a/first was here", "second": "trial/a/second was here"}
    assert told["a"].reason == ""
    assert cluster.removed == []


def test_a_pod_that_failed_has_ended_too() -> None:
    cluster = Cluster(lambda sent: {**sent, "status": {"phase": "Failed"}})

    told = cluster.sender.run([pod("a")], {"trial": cluster.followed}, 60.0)

    assert told["a"].reason == ""


def test_a_pod_that_does_not_end_is_removed_and_the_others_are_read() -> None:
    cluster = Cluster(
        lambda sent: {**sent, "status": {"phase": "Running" if sent["metadata"]["name"] == "slow" else "Succeeded"}}
    )

    told = cluster.sender.run([pod("slow"), pod("quick")], {"trial": cluster.followed}, 60.0)

    assert told["slow"].reason == "pod slow did not end: its phase is Running"
    assert told["slow"].logs == {}
    assert told["quick"].logs == {"main": "trial/quick/main was here"}
    assert cluster.removed == ["slow"]


def test_the_time_is_one_for_all_namespaces() -> None:
    cluster = Cluster(lambda sent: {**sent, "status": {"phase": "Running"}})
    elsewhere = {**pod("b"), "metadata": {"name": "b", "namespace": "other"}}

    cluster.sender.run([pod("a"), elsewhere], {"trial": cluster.followed, "other": cluster.followed}, 60.0)

    assert cluster.waited_seconds == [60.0, 0.0]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({}, "its phase is Pending"),
        (
            pod(
                "a", conditions=[{"type": "PodScheduled", "status": "False", "message": "Insufficient nvidia.com/gpu"}]
            ),
            "Insufficient nvidia.com/gpu",
        ),
        (
            pod("a", conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]),
            "Unschedulable",
        ),
        (
            pod(
                "a",
                phase="Pending",
                containerStatuses=[
                    {"name": "main", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}
                ],
            ),
            "main: ErrImagePull no such image",
        ),
    ],
)
def test_what_holds_a_pod_back_is_told_in_the_words_of_scheduler_or_node(found: Any, reason: str) -> None:
    assert why_not(found) == reason


def asking(node: str, count: str, phase: str = "Running") -> dict[str, Any]:
    containers = [{"name": "main", "resources": {"limits": {GPU: count}}}, {"name": "side", "resources": {}}]
    return {"spec": {"nodeName": node, "containers": containers}, "status": {"phase": phase}}


def test_unused_is_what_no_pod_asked_for_that_has_not_ended() -> None:
    pods = [asking("n1", "1"), asking("n1", "1", "Succeeded"), asking("n2", "2"), asking("elsewhere", "1")]

    assert unused({"n1": 2.0, "n2": 2.0}, pods, GPU) == {"n1": 1}


def claim(pod_name: str, *devices: str) -> dict[str, Any]:
    owners = [{"kind": "Pod", "name": pod_name}, {"kind": "Other", "name": "none"}]
    results = [{"pool": "n1", "device": device} for device in devices]
    status = {"allocation": {"devices": {"results": results}}} if devices else {}
    return {"metadata": {"ownerReferences": owners}, "status": status}


SLICE = {
    "spec": {
        "pool": {"name": "n1"},
        "devices": [
            {"name": "gpu-0", "attributes": {"gpu.nvidia.com/uuid": {"string": "GPU-0"}}},
            {"name": "gpu-1", "attributes": {}},
        ],
    }
}


def test_an_allocation_counts_though_the_claim_has_none_any_more() -> None:
    (found,) = allocations([claim("a"), claim("a", "gpu-0"), claim("a", "gpu-0"), claim("a")], [SLICE])

    assert isinstance(found, Measurement)
    assert found.labels == {"pod": "a", "device": "n1/gpu-0", "uuid": "GPU-0"}


def test_a_device_whose_slice_tells_no_uuid_is_absent_and_not_another() -> None:
    (found,) = allocations([claim("a", "gpu-1")], [SLICE])

    assert isinstance(found, Absent)
    assert found.labels == {"pod": "a", "device": "n1/gpu-1"}
    assert found.reason == "the ResourceSlice tells no uuid of the device"
