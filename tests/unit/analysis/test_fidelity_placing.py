"""Pods with work are put on devices of their own, then on one more than a node has, where devices are shared."""

from collections.abc import Mapping

from bench.analysis.fidelity import alone, crowded, is_shared
from bench.model.inventory import Device, Inventory, Node


def inventory(devices: Mapping[str, int], shares: int, *, ready: bool = True) -> Inventory:
    return Inventory(
        server_version="v1.37.1",
        cluster_uid="u",
        nodes=tuple(Node(name=name, is_ready=ready, is_schedulable=True, allocatable={}) for name in devices),
        devices=tuple(
            Device(node=name, uuid="", product="", shares=shares)
            for name, count in devices.items()
            for _ in range(count)
        ),
    )


SHARED = inventory({"big": 4, "small": 2}, 2)
FREE = {"big": 8, "small": 4}


def test_whole_devices_need_no_placing() -> None:
    whole = inventory({"big": 4, "small": 2}, 1)

    assert (alone(whole, FREE, 4), crowded(whole, FREE), is_shared(whole)) == ((), (), False)


def test_of_shared_devices_each_is_given_to_one_pod() -> None:
    assert alone(SHARED, FREE, 9) == ("big",) * 4 + ("small",) * 2
    assert alone(SHARED, FREE, 5) == ("big",) * 4 + ("small",)
    assert alone(SHARED, {"big": 1}, 5) == ("big",)


def test_one_pod_more_than_the_smallest_node_with_room_has_devices() -> None:
    assert crowded(SHARED, FREE) == ("small",) * 3
    assert crowded(SHARED, {"big": 8, "small": 2}) == ("big",) * 5
    assert crowded(SHARED, {"big": 4, "small": 2}) == ()


def test_nodes_that_are_not_ready_have_no_devices() -> None:
    assert not is_shared(inventory({"n": 2}, 2, ready=False))
