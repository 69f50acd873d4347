"""Who gets which device, and what a container sees."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from bench.errors import WrongUsage
from bench.lab.config import Allocation
from bench.lab.gpu.devices import InsufficientDevices
from tests.unit.lab.gpu.small_lab import NODE, SmallLab, container, pod

GPU = {"nvidia.com/gpu": "1"}
Make = Callable[..., SmallLab]


def pages(granted: Any) -> list[str]:
    return [mount.host.rpartition("/")[2] for mount in granted.mounts if mount.container.rpartition("/")[2].isdigit()]


def test_a_pod_sees_the_device_it_asked_for_and_no_other(make_lab: Make) -> None:
    lab = make_lab()

    first, second = lab.give("a", GPU), lab.give("b", GPU)

    assert pages(first) == list(first.uuids)
    assert not set(first.uuids) & set(second.uuids)
    assert first.environment["NVIDIA_VISIBLE_DEVICES"] == first.uuids[0]
    assert first.device_nodes[0] == "/dev/nvidia0"
    assert "/dev/nvidia1" not in first.device_nodes
    assert first.cgroup != second.cgroup
    assert first.cpu_cores == 0.4


def test_a_container_that_asked_for_nothing_gets_nothing(make_lab: Make) -> None:
    lab = make_lab()

    granted = lab.devices.allocate(NODE, pod("a", container("main", limits=GPU), container("side")), [])

    assert granted["side"].uuids == granted["side"].mounts == granted["side"].device_nodes == ()
    assert granted["side"].environment == {}
    assert granted["side"].cgroup == granted["main"].cgroup  # one pod, one quota


def test_one_device_more_than_there_are_is_refused_in_the_kubelets_words(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=2)
    lab.give("a", GPU)

    with pytest.raises(InsufficientDevices, match=r"Requested: 2, Available: 1, which is unexpected"):
        lab.give("b", {"nvidia.com/gpu": "2"})
    assert [entry["name"] for entry in lab.devices.pod_resources(NODE)] == ["pod-a"]


def test_a_holder_finds_the_file_that_tells_its_device_of_its_kernels(make_lab: Make) -> None:
    granted = make_lab().give("a", {"nvidia.com/gpu": "2"})
    files = {mount.container: mount for mount in granted.mounts if mount.container.endswith(".kernels")}

    assert granted.environment["DEVICE_KERNELS_FILE"] in files
    assert [uuid in mount.host for uuid, mount in zip(granted.uuids, files.values(), strict=True)] == [True, True]
    assert all(mount.writable for mount in files.values())


def test_what_a_holder_told_of_its_kernels_does_not_act_on_the_next_one(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=1, time_slices=2)
    told = lab.paths.gpu_kernels(lab.give("a", GPU).uuids[0])
    told.write_text("0.25\n")
    there = told.stat().st_ino

    lab.give("b", GPU)
    assert told.read_text() == "0.25\n"  # the first one still holds it

    lab.devices.release("a")
    lab.devices.release("b")
    lab.give("c", GPU)
    assert told.read_text() == ""
    assert told.stat().st_ino == there  # a container has this very file


def test_a_released_device_is_given_again(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=1)
    first = lab.give("a", GPU)
    lab.devices.release("a")

    assert lab.give("b", GPU).uuids == first.uuids


def test_asked_again_for_the_same_pod_the_answer_is_the_same(make_lab: Make) -> None:
    lab = make_lab()

    assert lab.give("a", GPU) is lab.give("a", GPU)


def test_an_init_container_leaves_its_device_to_the_pods_containers(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=1)
    subject = pod("a", container(limits=GPU), initContainers=[container("setup", limits=GPU)])

    granted = lab.devices.allocate(NODE, subject, [])

    assert granted["setup"].uuids == granted["main"].uuids


def test_a_sidecar_keeps_its_device(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=1)
    sidecar = container("setup", limits=GPU, restartPolicy="Always")

    with pytest.raises(InsufficientDevices):
        lab.devices.allocate(NODE, pod("a", container(limits=GPU), initContainers=[sidecar]), [])


@pytest.mark.parametrize(
    ("context", "seen"),
    [
        ({}, 0),
        ({"privileged": True}, 2),
        ({"capabilities": {"add": ["SYS_ADMIN"]}}, 2),
        ({"capabilities": {"add": ["NET_ADMIN"]}}, 0),
    ],
)
def test_the_variable_alone_shows_no_device(make_lab: Make, context: dict[str, Any], seen: int) -> None:
    """The toolkit honours it for containers that could open the devices anyway."""
    lab = make_lab(gpus_per_node=2)
    everything = [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]

    granted = lab.devices.allocate(NODE, pod("a", container(env=everything, securityContext=context)), [])["main"]

    assert len(pages(granted)) == seen
    assert granted.uuids == ()  # to see is not to hold
    assert lab.devices.pod_resources(NODE) == []


def test_a_grant_is_stronger_than_the_variable(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=2)
    everything = [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}, {"name": "LD_LIBRARY_PATH", "value": "/opt/lib"}]
    subject = container(limits=GPU, env=everything, securityContext={"capabilities": {"add": ["SYS_ADMIN"]}})

    granted = lab.devices.allocate(NODE, pod("a", subject), [])["main"]

    assert pages(granted) == list(granted.uuids)
    assert granted.environment["NVIDIA_VISIBLE_DEVICES"] == granted.uuids[0]
    assert granted.environment["LD_LIBRARY_PATH"] == "/run/nvidia/driver/usr/lib64:/opt/lib"


def test_the_variable_may_name_devices(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=3)
    second = [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "2,void"}]

    granted = lab.devices.allocate(NODE, pod("a", container(env=second, securityContext={"privileged": True})), [])

    assert granted["main"].device_nodes[0] == "/dev/nvidia2"


def test_time_slices_share_the_least_shared_device_and_its_quota(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=2, time_slices=2)
    assert lab.devices.extended_resources(NODE) == {"nvidia.com/gpu": "4"}
    labels = lab.devices.node_labels(NODE)
    assert labels["nvidia.com/gpu.replicas"] == "2"
    assert labels["nvidia.com/gpu.sharing-strategy"] == "time-slicing"
    assert labels["nvidia.com/gpu.product"].endswith("-SHARED")

    given = [lab.give(uid, GPU) for uid in "abcd"]

    assert len({granted.uuids for granted in given[:2]}) == 2
    assert given[0].uuids == given[2].uuids
    assert given[0].cgroup == given[2].cgroup
    ids = [
        device_id
        for entry in lab.devices.pod_resources(NODE)
        for device in entry["containers"][0]["devices"]
        for device_id in device["device_ids"]
    ]
    assert len(set(ids)) == 4
    assert {device_id.partition("::")[2] for device_id in ids} == {"0", "1"}


def test_a_device_cut_by_mig_is_offered_by_its_profile(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=1, mig_profile="3g.40gb")

    granted = lab.give("a", {"nvidia.com/mig-3g.40gb": "1"})

    assert lab.devices.extended_resources(NODE) == {"nvidia.com/mig-3g.40gb": "2"}
    assert granted.uuids[0].startswith("MIG-")
    assert pages(granted) == list(granted.uuids)
    assert granted.cpu_cores == pytest.approx(0.4 * 3 / 7)
    labels = lab.devices.node_labels(NODE)
    assert labels["nvidia.com/mig.strategy"] == "mixed"
    assert labels["nvidia.com/mig-3g.40gb.count"] == "2"


def test_a_profile_that_the_product_has_not_is_wrong_usage(make_lab: Make) -> None:
    with pytest.raises(WrongUsage, match="has no MIG profile"):
        make_lab(product="Tesla-T4", mig_profile="1g.10gb")


def claim(name: str, device: str, request: str = "gpu") -> dict[str, Any]:
    result = {"request": request, "driver": "gpu.nvidia.com", "pool": NODE, "device": device}
    return {
        "metadata": {"name": name, "namespace": "trial"},
        "status": {"allocation": {"devices": {"results": [result]}}},
    }


def claiming_pod(uid: str, **status: Any) -> dict[str, Any]:
    subject = pod(uid, container("main"), container("side"), resourceClaims=[{"name": "mine"}])
    subject["spec"]["containers"][0]["resources"] = {"claims": [{"name": "mine"}]}
    subject["status"] = {"resourceClaimStatuses": [{"name": "mine", "resourceClaimName": "made-up"}], **status}
    return subject


def test_a_claimed_device_goes_to_the_container_that_names_the_claim(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=2, allocation=Allocation.DRA)

    granted = lab.devices.allocate(NODE, claiming_pod("a"), [claim("made-up", "gpu-1")])

    [slice_] = lab.devices.resource_slices(NODE, "node-uid")
    offered = {device["name"]: device["attributes"]["uuid"]["string"] for device in slice_["spec"]["devices"]}
    assert granted["main"].uuids == (offered["gpu-1"],)
    assert granted["main"].environment["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert granted["side"].uuids == ()
    [entry] = lab.devices.pod_resources(NODE)
    assert entry["containers"][0]["dynamic_resources"][0]["claim_resources"][0]["device_name"] == "gpu-1"
    assert lab.devices.claim_devices(claim("made-up", "gpu-1"))[0]["data"]["uuid"] == offered["gpu-1"]


@pytest.mark.parametrize("claims", [[], [{"metadata": {"name": "made-up", "namespace": "trial"}}]])
def test_a_claim_that_is_missing_or_not_allocated_is_told(make_lab: Make, claims: list[dict[str, Any]]) -> None:
    lab = make_lab(allocation=Allocation.DRA)

    with pytest.raises(InsufficientDevices, match="not there or not allocated"):
        lab.devices.allocate(NODE, claiming_pod("a"), claims)


def test_both_ways_at_once_share_the_devices_of_a_node_between_them(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=3, allocation=Allocation.BOTH)

    [slice_] = lab.devices.resource_slices(NODE, "node-uid")

    assert lab.devices.extended_resources(NODE) == {"nvidia.com/gpu": "2"}
    assert [device["name"] for device in slice_["spec"]["devices"]] == ["gpu-2"]
    assert lab.devices.device_classes()[0]["spec"]["selectors"][0]["cel"]["expression"] == (
        "device.driver == 'gpu.nvidia.com'"
    )


def test_a_slice_keeps_to_the_rules_of_the_api(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=2, allocation=Allocation.DRA)

    [slice_] = lab.devices.resource_slices(NODE, "node-uid")

    for device in slice_["spec"]["devices"]:
        attributes = device["attributes"]
        assert len(attributes) <= 32
        for attribute in attributes.values():
            assert len(attribute) == 1
        version = attributes["driverVersion"]["version"].split(".")
        assert all(part == str(int(part)) for part in version)  # semantic versions have no leading zeros
        assert device["capacity"]["memory"]["value"] == "81559Mi"
    assert slice_["metadata"]["ownerReferences"][0]["uid"] == "node-uid"


def test_identities_are_the_same_each_time_and_differ_by_node_and_index(make_lab: Make) -> None:
    lab = make_lab(nodes=2, gpus_per_node=2, allocation=Allocation.DRA)

    slices = [lab.devices.resource_slices(node, "uid")[0] for node in lab.devices.nodes()]
    uuids = [device["attributes"]["uuid"]["string"] for slice_ in slices for device in slice_["spec"]["devices"]]

    assert len(set(uuids)) == 4
    lab.devices.remove_node(NODE)
    lab.devices.add_node(NODE, 2)
    again = lab.devices.resource_slices(NODE, "uid")[0]["spec"]["devices"]
    assert [device["attributes"]["uuid"]["string"] for device in again] == uuids[:2]


def test_a_removed_node_takes_its_state_pages_with_it(make_lab: Make) -> None:
    lab = make_lab()
    granted = lab.give("a", GPU)

    lab.devices.remove_node(NODE)

    assert not lab.paths.gpu(granted.uuids[0]).exists()
    assert not lab.paths.gpu_kernels(granted.uuids[0]).exists()
    assert lab.devices.holders() == frozenset()
    assert lab.devices.node_labels(NODE) == {}


def test_the_truth_log_tells_who_got_what_and_when_it_was_busy(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=1)
    lab.give("a", GPU)
    lab.run(0.2, cores={"a": 0.0})
    lab.run(1.5, cores={"a": 0.4})
    lab.run(1.5, cores={"a": 0.0})
    lab.devices.release("a")

    lines = lab.paths.truth.read_text()

    assert lines.count('"device-allocated"') == lines.count('"device-released"') == 1
    assert lines.count('"direction":"up"') == lines.count('"direction":"down"') == 10


def test_the_truth_log_tells_of_freed_memory_when_the_processes_are_gone_and_not_when_the_pod_is(
    make_lab: Make,
) -> None:
    lab = make_lab(gpus_per_node=1)
    lab.give("a", GPU)
    lab.run(0.5, cores={"a": 0.0}, memory_bytes=10**8)

    def events() -> list[str]:
        told = (json.loads(line)["event"] for line in lab.paths.truth.read_text().splitlines())
        return [event for event in told if event in {"device-memory-freed", "device-released"}]

    assert events() == []
    lab.run(0.1, cores={"a": 0.0}, memory_bytes=0)
    assert events() == ["device-memory-freed"]
    lab.devices.release("a")
    lab.run(0.1, cores={})
    assert events() == ["device-memory-freed", "device-released"]


def test_memory_that_is_kept_until_the_pod_lets_go_is_freed_afterwards(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=1)
    lab.give("a", GPU)
    lab.run(0.5, cores={"a": 0.0}, memory_bytes=10**8)
    lab.devices.release("a")
    assert "device-memory-freed" not in lab.paths.truth.read_text()

    lab.run(0.1, cores={})

    assert lab.paths.truth.read_text().count("device-memory-freed") == 1


def test_work_of_a_pod_is_spread_over_its_devices_and_sharers_add_up(make_lab: Make) -> None:
    lab = make_lab(gpus_per_node=2, time_slices=2)
    lab.give("a", {"nvidia.com/gpu": "2"})
    lab.give("b", GPU)
    lab.run(0.1, cores={"a": 0.0, "b": 0.0})

    lab.run(2.0, cores={"a": 0.2, "b": 0.1})

    lines = lab.paths.truth.read_text()
    assert '"utilization_ratio":0.5' in lines  # 0.1 of a, and 0.1 of b, of 0.4
    assert lines.count('"threshold_ratio":0.5') == 1  # the other device has a's half alone: 0.25
