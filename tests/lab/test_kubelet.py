"""
What only a lab's own nodes can be asked: machines that an autoscaler makes, an agent that dies, the walls of a pod.

What every cluster must keep stands in `tests/targets`.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.kubelet.process import PODS_NICE
from tests.contract.pods import (
    PYTHON,
    container,
    holds,
    is_finished,
    output_of,
    pod,
    python,
    run_to_end,
    shell,
    start,
    status_of,
)
from tests.contract.target import Object, Target, says
from tests.lab.running import RunningLab, running_lab, unique_name

pytestmark = pytest.mark.lab

SLEEPS = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
SOON_SECONDS = 20.0
MANY_PODS = 200
MANY_NODES = 20
MANY_RUNNING_SECONDS = 30.0


@pytest.fixture(scope="module")
def nodes() -> Iterator[RunningLab]:
    """A control plane and nodes, none of the lab's services: what is measured is the agent."""
    with running_lab(unique_name("kubelet"), "--parts", "", "--nodes", str(MANY_NODES), "--gpus", "1") as lab:
        yield lab


@pytest.fixture(scope="module")
def cluster(nodes: RunningLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    target = Target(nodes.kubeconfig, tmp_path_factory.mktemp("kubelet"), strict=True, probe_image="gpu-bench")
    yield target
    target.close()


@pytest.fixture
def space(cluster: Target) -> Iterator[str]:
    name = cluster.make_namespace()
    yield name
    cluster.give_back(name)


def truth_of(lab: RunningLab, event: str) -> list[dict[str, object]]:
    """Lines of the truth log about one kind of event."""
    lines = (json.loads(line) for line in lab.paths.truth.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line["event"] == event]


# hooks


def test_a_pod_becomes_ready_after_its_post_start_hook_and_ends_after_its_pre_stop_hook(
    cluster: Target, space: str
) -> None:
    hooks = {
        "postStart": {"exec": {"command": ["sh", "-c", "echo hello > /hooks/started"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "cp /hooks/started /hooks/stopped"]}},
    }
    mount = {"volumeMounts": [{"name": "hooks", "mountPath": "/hooks"}]}
    host = {"name": "hooks", "hostPath": {"path": f"/hooks-{space}"}}
    made = start(cluster, pod(space, "hooked", shell(SLEEPS, lifecycle=hooks, **mount), volumes=[host]))

    cluster.delete(made)
    cluster.wait_until_gone(made, within_seconds=SOON_SECONDS)

    same_node = {"nodeName": made["spec"]["nodeName"]}
    assert output_of(cluster, pod(space, "reader", shell("cat /hooks/*", **mount), volumes=[host], **same_node)) == (
        "hello\nhello\n"
    )


def test_a_post_start_hook_that_fails_ends_its_container(cluster: Target, space: str) -> None:
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "exit 7"]}}}
    made = cluster.create(pod(space, "unhooked", shell(SLEEPS, lifecycle=hook)))

    cluster.wait_for(made, is_finished, within_seconds=SOON_SECONDS)
    cluster.wait_for_event(made, says("FailedPostStartHook", "exited with 7"), within_seconds=SOON_SECONDS)


# walls


def test_a_container_that_takes_too_much_memory_is_killed_and_says_so(cluster: Target, space: str) -> None:
    greedy = container(
        "main", "python3", "-c", "x = bytearray(200 << 20)", image=PYTHON, resources={"limits": {"memory": "64Mi"}}
    )

    ended = run_to_end(cluster, pod(space, "greedy", greedy))

    terminated = status_of(ended)["state"]["terminated"]
    assert (terminated["reason"], terminated["exitCode"]) == ("OOMKilled", 137)


def test_a_container_gets_no_more_cpu_than_its_limit(cluster: Target, space: str) -> None:
    program = "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass\nprint(time.process_time())"
    held = container("main", "python3", "-c", program, image=PYTHON, resources={"limits": {"cpu": "200m"}})

    used_seconds = float(output_of(cluster, pod(space, "held", held)))

    assert used_seconds < 0.7


def test_pods_stand_behind_the_control_plane(cluster: Target, space: str) -> None:
    told = output_of(cluster, pod(space, "polite", python("import os; print(os.nice(0))")))

    assert int(told) == os.nice(0) + PODS_NICE


def test_a_container_sees_nothing_of_the_lab(cluster: Target, space: str, nodes: RunningLab) -> None:
    look = (
        f"ls {nodes.paths.root} {nodes.paths.pki} 2>/dev/null; ls / /dev; echo 1 2>/dev/null > /proc/sys/vm/swappiness"
    )

    seen = run_to_end(cluster, pod(space, "curious", shell(look)))

    written = cluster.log(seen).split()
    assert "admin.kubeconfig" not in written
    assert not [name for name in written if name.startswith(("nvidia", "vda", "sda", "kmsg", "mem"))]
    assert seen["status"]["phase"] == "Failed", "a container could change a setting of the machine"


def test_a_container_runs_as_the_user_that_it_asks_for(cluster: Target, space: str) -> None:
    context = {"runAsUser": 1000, "runAsGroup": 3000}
    script = "id -u; id -g; touch /tmp/mine && echo ok; grep CapEff /proc/self/status"

    written = output_of(cluster, pod(space, "user", shell(script, securityContext=context))).split()

    assert written == ["1000", "3000", "ok", "CapEff:", "0000000000000000"]


def test_capabilities_are_added_and_dropped_but_never_power_over_devices(cluster: Target, space: str) -> None:
    script = "grep CapEff /proc/self/status; mknod /tmp/disk b 254 0 2>/dev/null || echo refused"
    dropped = {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "MKNOD"]}}

    written = output_of(cluster, pod(space, "capable", shell(script, securityContext=dropped))).split()

    assert int(written[1], 16) == 1 << 12
    assert written[2] == "refused"


def test_a_read_only_root_cannot_be_written_but_its_volumes_can(cluster: Target, space: str) -> None:
    locked = shell(
        "touch /file 2>/dev/null || echo refused; touch /data/file && echo written",
        securityContext={"readOnlyRootFilesystem": True},
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
    )

    written = output_of(cluster, pod(space, "locked", locked, volumes=[{"name": "data", "emptyDir": {}}]))

    assert written.split() == ["refused", "written"]


def test_a_pod_on_the_host_network_has_the_address_of_its_node(cluster: Target, space: str) -> None:
    made = start(cluster, pod(space, "host", shell(SLEEPS), hostNetwork=True))

    assert made["status"]["podIP"] == made["status"]["hostIP"] == "198.18.0.1"


# admission


def test_a_pod_that_its_node_has_no_room_for_is_rejected(cluster: Target, space: str) -> None:
    """Bound past the scheduler, as a DaemonSet of old or a mistaken scheduler does."""
    large = shell(SLEEPS, resources={"requests": {"cpu": "1000"}})

    ended = run_to_end(cluster, pod(space, "large", large, nodeName="gpu-node-1"))

    assert (ended["status"]["phase"], ended["status"]["reason"]) == ("Failed", "OutOfcpu")
    assert "Node didn't have enough resource: cpu, requested: 1000000" in ended["status"]["message"]


def test_a_pod_whose_devices_are_taken_is_rejected(cluster: Target, space: str) -> None:
    asks = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
    start(cluster, pod(space, "first", shell(SLEEPS, **asks), nodeName="gpu-node-2"))

    ended = run_to_end(cluster, pod(space, "second", shell(SLEEPS, **asks), nodeName="gpu-node-2"))

    assert ended["status"]["reason"] == "UnexpectedAdmissionError"
    assert "nvidia.com/gpu" in ended["status"]["message"]


# nodes


def made_by_an_autoscaler(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "annotations": {"gpu-bench/boot-seconds": "0.5"}},
        "spec": {"providerID": f"kwok://{name}"},
        "status": {"capacity": {"cpu": "4", "nvidia.com/gpu": "2"}, "allocatable": {"cpu": "4", "nvidia.com/gpu": "2"}},
    }


def test_a_node_that_an_autoscaler_makes_boots_runs_pods_and_takes_them_along(
    cluster: Target, space: str, nodes: RunningLab
) -> None:
    node = cluster.create(made_by_an_autoscaler(f"made-{space}"))
    booted = cluster.wait_for(node, holds("Ready"), within_seconds=SOON_SECONDS)
    assert booted["status"]["allocatable"]["nvidia.com/gpu"] == "2"

    asks = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}
    name = node["metadata"]["name"]
    made = start(cluster, pod(space, "on-it", shell(SLEEPS, **asks), nodeName=name))
    cluster.delete(node)
    cluster.wait_until_gone(made, within_seconds=120)

    assert [line for line in truth_of(nodes, "node-gone") if line["node"] == name]
    assert not Path(nodes.paths.node_root(name)).exists()


def test_every_node_serves_logs_at_a_port_of_its_own(cluster: Target) -> None:
    found = cluster.items("v1", "Node")

    ports = [node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] for node in found]
    assert len(set(ports)) == len(ports) >= MANY_NODES


def test_two_hundred_pods_run_on_twenty_nodes(cluster: Target, space: str) -> None:
    labels = {"app": "many"}
    template = pod(space, "many", shell(SLEEPS.replace("0.1", "1000 & wait")))
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "many", "namespace": space},
        "spec": {
            "replicas": MANY_PODS,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {**template["spec"], "restartPolicy": "Always"}},
        },
    }
    made = cluster.create(deployment)

    cluster.wait_for(
        made, lambda each: each.get("status", {}).get("readyReplicas") == MANY_PODS, within_seconds=MANY_RUNNING_SECONDS
    )

    cluster.delete(made, propagationPolicy="Foreground")
    cluster.wait_until_gone(made, within_seconds=60)
