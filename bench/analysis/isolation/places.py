"""Which node is looked at, and by which ways devices are asked for there."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bench.model.inventory import Inventory

PLUGIN: Final = "device-plugin"
DRA: Final = "dra"
DRIVER: Final = "gpu.nvidia.com"
SEED_RESOURCE: Final = "nvidia.com/gpu"
"""What the pods of the seed's procedure ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The node, how many devices (or shares of them) each way offers there, and how many pods share one."""

    node: str
    ways: Mapping[str, int]
    shares: int

    @property
    def holders(self) -> Mapping[str, int]:
        """By way, how many pods are to hold at one time: two, or one more than a device has shares."""
        return {way: min(count, self.shares_of(way) + 1) for way, count in self.ways.items()}

    def shares_of(self, way: str) -> int:
        """How many pods may hold a device at one time that is asked for by this way; claims are of whole ones."""
        return self.shares if way == PLUGIN else 1


def choose_ground(inventory: Inventory, resource: str, allocation: str) -> Ground | None:
    """The node with the most ways, then with the most devices by the way that has fewest; None where there is none."""
    grounds = [
        _ground(inventory, node.name, int(node.allocatable.get(resource, 0.0)), allocation)
        for node in inventory.nodes
        if node.is_ready and node.is_schedulable
    ]
    usable = [ground for ground in grounds if ground.ways]
    return max(usable, key=lambda ground: (len(ground.ways), min(ground.ways.values())), default=None)


def other_resources(inventory: Inventory, resource: str) -> tuple[str, ...]:
    """Extended resources of accelerators that nodes offer beside the one that was asked for, as of MIG instances."""
    offered = {name for node in inventory.nodes for name, count in node.allocatable.items() if count}
    return tuple(sorted(name for name in offered - {resource} if name.startswith("nvidia.com/")))


def seed_resource(inventory: Inventory, told: str) -> str:
    """What the seed's pods ask for, unless no node offers it while one offers what the run was told to look at."""
    is_offered = inventory.allocatable_total(SEED_RESOURCE) or not inventory.allocatable_total(told)
    return SEED_RESOURCE if is_offered else told


def why_none_is_left(resource: str, free: int, placeholders: int) -> str:
    """Why the seed's procedure cannot have one free device while others are occupied; empty where it can."""
    if not free:
        return f"no {resource} is free, and the seed's procedure needs one"
    if free - 1 > placeholders:
        return (
            f"{free} {resource} are free; the seed's procedure needs one, and of others {placeholders} at most are "
            f"occupied: --set secure-accelerator-access.seed_placeholders={free - 1} occupies all"
        )
    return ""


def _ground(inventory: Inventory, node: str, counted: int, allocation: str) -> Ground:
    devices = [device for device in inventory.devices if device.node == node]
    # devices of a device plugin are known by their number alone; those that have a name came from ResourceSlices
    sliced = (
        Counter(device.node for device in devices if device.uuid)[node] if DRIVER in inventory.device_classes else 0
    )
    offered = {PLUGIN: counted, DRA: sliced}
    ways = {way: count for way, count in offered.items() if count and allocation in {"auto", way}}
    return Ground(node=node, ways=ways, shares=max((device.shares for device in devices), default=1))
