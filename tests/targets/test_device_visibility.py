"""A pod sees the devices that it was given, and no others: in NVML, in /dev, in its environment."""

import json

import pytest

from tests.contract.accelerators import GPU, as_gpu_pod, holding, looked, need_gpus, need_probe_image, probe
from tests.contract.pods import STARTED_SECONDS, answer_of, is_running, pod, status_of
from tests.contract.target import Object, Target

STAY = "\nimport time\nwhile True: time.sleep(1)\n"


@pytest.fixture(autouse=True)
def _probe_image(target: Target) -> None:
    need_probe_image(target)


def seen_by_running(target: Target, manifest: Object) -> dict[str, list[str]]:
    """What a pod sees that goes on holding its devices."""
    made = target.create(as_gpu_pod(target, manifest))
    running = target.wait_for(made, is_running, within_seconds=STARTED_SECONDS, what="a running pod")
    with target.following(running, within_seconds=60) as lines:
        seen: dict[str, list[str]] = json.loads(next(lines))
    return seen


def test_a_pod_with_one_gpu_sees_one(target: Target, namespace: str) -> None:
    need_gpus(target, 1)

    seen = looked(target, namespace, "one", holding(1))

    assert seen["error"] == ""
    assert len(seen["nvml"]) == 1
    assert seen["nvml"][0].startswith(("GPU-", "MIG-"))
    assert len(seen["nodes"]) == 1


def test_a_pod_that_asked_for_none_sees_none(target: Target, namespace: str) -> None:
    need_gpus(target, 1)
    with_one = looked(target, namespace, "control", holding(1))
    assert len(with_one["nvml"]) == 1, "the probe does see a device where there is one"

    seen = looked(target, namespace, "none")

    assert seen["nvml"] == []
    assert seen["nodes"] == []
    assert not [v for v in seen["variables"].values() if v.startswith(("GPU-", "MIG-"))]


def test_a_variable_alone_gives_no_device(target: Target, namespace: str) -> None:
    need_gpus(target, 1)

    seen = looked(target, namespace, "wishful", env=[{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}])

    assert (seen["nvml"], seen["nodes"]) == ([], [])


def test_two_pods_see_different_gpus(target: Target, namespace: str) -> None:
    need_gpus(target, 2)
    pods = [
        pod(namespace, name, probe(image=target.probe_image, resources=holding(1), after=STAY))
        for name in ("first", "second")
    ]

    first, second = (seen_by_running(target, p) for p in pods)

    assert len(first["nvml"]) == len(second["nvml"]) == 1
    assert first["nvml"] != second["nvml"]


def test_two_pods_of_one_node_see_different_gpus(target: Target, namespace: str) -> None:
    need_gpus(target, 2, on_one_node=2)
    offers = {n["metadata"]["name"]: int(n["status"]["allocatable"].get(GPU, "0")) for n in target.items("v1", "Node")}
    node = next(name for name, offered in offers.items() if offered >= 2)
    where = {"nodeSelector": {"kubernetes.io/hostname": node}}
    pods = [
        pod(namespace, name, probe(image=target.probe_image, resources=holding(1), after=STAY), **where)
        for name in ("first", "second")
    ]

    first, second = (seen_by_running(target, p) for p in pods)

    assert first["nvml"] != second["nvml"]
    assert first["nodes"] != second["nodes"]
    assert len(first["nodes"]) == len(second["nodes"]) == 1


def test_a_pod_with_two_gpus_sees_both_once(target: Target, namespace: str) -> None:
    need_gpus(target, 2, on_one_node=2)

    seen = looked(target, namespace, "two", holding(2))

    assert len(set(seen["nvml"])) == len(seen["nvml"]) == 2
    assert len(seen["nodes"]) == 2
    assert len(set(seen["names"])) == 1


def test_only_the_container_that_asked_sees_the_gpu_of_the_pod(target: Target, namespace: str) -> None:
    need_gpus(target, 1)
    asked = probe("asked", image=target.probe_image, resources=holding(1))
    wanted = as_gpu_pod(target, pod(namespace, "mixed", asked, probe("other", image=target.probe_image)))
    made = target.create(wanted)
    ended = target.wait_for(
        made,
        lambda p: all(status_of(p, name).get("state", {}).get("terminated") for name in ("asked", "other")),
        within_seconds=STARTED_SECONDS,
    )

    assert len(json.loads(target.log(ended, container="asked"))["nvml"]) == 1
    assert json.loads(target.log(ended, container="other"))["nvml"] == []


def test_a_gpu_is_free_again_when_its_pod_is_gone(target: Target, namespace: str) -> None:
    need_gpus(target, 1)
    offers = {n["metadata"]["name"]: int(n["status"]["allocatable"].get(GPU, "0")) for n in target.items("v1", "Node")}
    node, everything = max(offers.items(), key=lambda offer: offer[1])
    where = {"nodeSelector": {"kubernetes.io/hostname": node}}
    keeper = pod(
        namespace, "first", probe(image=target.probe_image, resources=holding(everything), after=STAY), **where
    )
    first = seen_by_running(target, keeper)
    heir = pod(namespace, "second", probe(image=target.probe_image, resources=holding(everything)), **where)
    waiting = target.create(as_gpu_pod(target, heir))
    target.wait_for_event(
        waiting,
        lambda e: e["reason"] == "FailedScheduling" and f"Insufficient {GPU}" in e["message"],
        within_seconds=60,
    )

    target.delete(target.get("v1", "Pod", "first", namespace))

    ended = target.wait_for(waiting, lambda p: p["status"]["phase"] == "Succeeded", within_seconds=STARTED_SECONDS)
    assert sorted(json.loads(target.log(ended))["nvml"]) == sorted(first["nvml"])


def test_an_init_container_sees_the_gpu_that_it_asked_for(target: Target, namespace: str) -> None:
    need_gpus(target, 1)
    init = probe("init", image=target.probe_image, resources=holding(1))
    main = probe(image=target.probe_image, resources=holding(1))

    seen = answer_of(target, as_gpu_pod(target, pod(namespace, "staged", main, initContainers=[init])))

    assert len(seen["nvml"]) == 1
