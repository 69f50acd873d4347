"""All or nothing: the pods of a PodGroup run together, or none of them does."""

from typing import Any

import pytest

from tests.contract.accelerators import GPU, holding, need_gpus
from tests.contract.pods import STARTED_SECONDS, condition, is_running, pod, shell
from tests.contract.target import Object, Target

GROUPS = ("scheduling.k8s.io/v1beta1", "PodGroup")
LONG_SECONDS = 2 * STARTED_SECONDS


@pytest.fixture(autouse=True)
def _gangs(target: Target) -> None:
    target.need_api(*GROUPS)


def group(namespace: str, name: str, least: int) -> Object:
    metadata = {"name": name, "namespace": namespace}
    spec = {"schedulingPolicy": {"gang": {"minCount": least}}}
    return {"apiVersion": GROUPS[0], "kind": GROUPS[1], "metadata": metadata, "spec": spec}


def member(namespace: str, gang: str, number: int, resources: Object | None = None, **spec: Any) -> Object:
    main = shell("sleep 3600", resources=resources or {})
    fields = {"schedulingGroup": {"podGroupName": gang}, "tolerations": [{"operator": "Exists"}], **spec}
    return pod(namespace, f"{gang}-{number}", main, labels={"gang": gang}, **fields)


def apart(gang: str) -> Object:
    """No two of the gang on one node."""
    term = {"labelSelector": {"matchLabels": {"gang": gang}}, "topologyKey": "kubernetes.io/hostname"}
    return {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


def usable_nodes(target: Target) -> int:
    nodes = [n for n in target.items("v1", "Node") if not n["spec"].get("unschedulable")]
    return sum(condition(n, "Ready").get("status") == "True" for n in nodes)


def wait_until_all_run(target: Target, namespace: str, gang: str, count: int) -> None:
    target.wait_until(
        "v1",
        "Pod",
        namespace,
        lambda pods: len(pods) == count and all(is_running(p) for p in pods.values()),
        within_seconds=LONG_SECONDS,
        label_selector=f"gang={gang}",
    )


def placed(target: Target, namespace: str, gang: str) -> list[str]:
    """Those of the gang that have a node."""
    pods = target.items("v1", "Pod", namespace, label_selector=f"gang={gang}")
    return [p["metadata"]["name"] for p in pods if p["spec"].get("nodeName")]


def wait_until_refused(target: Target, made: Object) -> Object:
    """The scheduler has tried the gang and says that it does not fit."""

    def refused(found: Object) -> bool:
        told = condition(found, "PodGroupInitiallyScheduled")
        return (told.get("status"), told.get("reason")) == ("False", "Unschedulable")

    return target.wait_for(made, refused, within_seconds=90, what="a refused gang")


def wait_until_a_later_pod_runs(target: Target, namespace: str) -> None:
    """The scheduler has come past everything that was there before."""
    later = pod(namespace, "later", shell("sleep 3600"), tolerations=[{"operator": "Exists"}])
    target.wait_for(target.create(later), is_running, within_seconds=STARTED_SECONDS, what="a later pod")


def test_a_gang_that_fits_runs_whole(target: Target, namespace: str) -> None:
    count = usable_nodes(target)
    made = target.create(group(namespace, "whole", count))
    for number in range(count):
        target.create(member(namespace, "whole", number, **apart("whole")))

    wait_until_all_run(target, namespace, "whole", count)

    target.wait_for(
        made,
        lambda g: condition(g, "PodGroupInitiallyScheduled").get("status") == "True",
        within_seconds=60,
        what="a scheduled gang",
    )


def test_no_pod_of_a_gang_runs_where_one_of_them_cannot(target: Target, namespace: str) -> None:
    count = usable_nodes(target) + 1
    made = target.create(group(namespace, "half", count))
    for number in range(count):
        target.create(member(namespace, "half", number, **apart("half")))

    wait_until_refused(target, made)
    wait_until_a_later_pod_runs(target, namespace)

    assert placed(target, namespace, "half") == []


def test_without_a_gang_those_pods_run_that_can(target: Target, namespace: str) -> None:
    count = usable_nodes(target) + 1
    for number in range(count):
        single = member(namespace, "crowd", number, **apart("crowd"))
        del single["spec"]["schedulingGroup"]
        target.create(single)

    def most(pods: Any) -> bool:
        return sum(is_running(p) for p in pods.values()) == count - 1

    target.wait_until("v1", "Pod", namespace, most, within_seconds=LONG_SECONDS)
    assert len(placed(target, namespace, "crowd")) == count - 1


def test_a_gang_waits_until_enough_of_it_are_there(target: Target, namespace: str) -> None:
    target.create(group(namespace, "slow", 2))
    target.create(member(namespace, "slow", 0))
    wait_until_a_later_pod_runs(target, namespace)
    assert placed(target, namespace, "slow") == []

    target.create(member(namespace, "slow", 1))

    wait_until_all_run(target, namespace, "slow", 2)


def test_a_gang_over_all_gpus_holds_none_while_it_waits_and_runs_when_one_is_free(
    target: Target, namespace: str
) -> None:
    need_gpus(target, 2)
    total = sum(int(n["status"]["allocatable"].get(GPU, "0")) for n in target.items("v1", "Node"))
    tolerations = [{"operator": "Exists"}]
    keeper = pod(namespace, "keeper", shell("sleep 3600", resources=holding(1)), tolerations=tolerations)
    holder = target.wait_for(target.create(keeper), is_running, within_seconds=STARTED_SECONDS, what="a holder")
    made = target.create(group(namespace, "all", total))
    for number in range(total):
        target.create(member(namespace, "all", number, holding(1)))

    wait_until_refused(target, made)
    passer = pod(namespace, "passer", shell("true", resources=holding(1)), tolerations=tolerations)
    passed = target.create(passer)
    target.wait_for(passed, lambda p: p["status"]["phase"] == "Succeeded", within_seconds=STARTED_SECONDS)
    assert placed(target, namespace, "all") == []

    target.delete(holder)
    wait_until_all_run(target, namespace, "all", total)
