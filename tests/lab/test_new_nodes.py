"""A DaemonSet follows the nodes: one pod more for one that comes, one less for one that goes."""

from collections.abc import Mapping

import pytest

from tests.contract.pods import holds, server
from tests.contract.target import Object, Target

pytestmark = pytest.mark.lab

FOLLOWS_SECONDS = 120.0


def test_a_daemon_set_runs_on_a_node_that_comes_and_leaves_with_it(target: Target, namespace: str) -> None:
    before = {node["metadata"]["name"] for node in target.items("v1", "Node")}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [server()], "tolerations": [{"operator": "Exists"}]}
    template = {"metadata": {"labels": {"app": "each"}}, "spec": spec}
    target.create(
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "each", "namespace": namespace},
            "spec": {"selector": {"matchLabels": {"app": "each"}}, "template": template},
        }
    )

    def wait_until_on(nodes: set[str]) -> None:
        def found(pods: Mapping[str, Object]) -> bool:
            return sorted(p["spec"].get("nodeName", "") for p in pods.values() if holds("Ready")(p)) == sorted(nodes)

        target.wait_until("v1", "Pod", namespace, found, within_seconds=FOLLOWS_SECONDS)

    wait_until_on(before)
    name = f"made-{namespace}"
    size = {"cpu": "4", "memory": "8Gi", "pods": "20"}
    made = target.create(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "annotations": {"gpu-bench/boot-seconds": "0.5"}},
            "spec": {"providerID": f"kwok://{name}"},
            "status": {"capacity": size, "allocatable": size},
        }
    )
    try:
        wait_until_on(before | {name})
    finally:
        target.delete(made)
    target.wait_until_gone(made, within_seconds=FOLLOWS_SECONDS)
    wait_until_on(before)
