"""
Where pods with work are put, so that of devices that may be shared each is one pod's first, and one is shared last.

Of two pods on one device neither would know the other's work: what the device does is known only where one of ours has
it alone. Whole devices need no placing, since the scheduler gives none of them twice.
"""

from collections import Counter
from collections.abc import Mapping

from bench.model.inventory import Inventory

Nodes = tuple[str, ...]
"""By pod."""


def alone(inventory: Inventory, free: Mapping[str, int], at_most: int) -> Nodes:
    """A device each, for so many pods at most; none where no device is shared."""
    shared = _shared(inventory)
    found = [node for node, devices in sorted(shared.items()) for _ in range(min(devices, free.get(node, 0)))]
    return tuple(found[:at_most])


def crowded(inventory: Inventory, free: Mapping[str, int]) -> Nodes:
    """One pod more than the smallest node has devices, so that two share one; none where no node has room for it."""
    fitting = {node: count for node, count in _shared(inventory).items() if free.get(node, 0) > count}
    if not fitting:
        return ()
    node = min(fitting, key=lambda name: (fitting[name], name))
    return (node,) * (fitting[node] + 1)


def is_shared(inventory: Inventory) -> bool:
    """Whether any node offers a device to several pods."""
    return bool(_shared(inventory))


def _shared(inventory: Inventory) -> Counter[str]:
    """By node how many devices it has that are shared."""
    usable = {node.name for node in inventory.nodes if node.is_ready and node.is_schedulable}
    return Counter(each.node for each in inventory.devices if each.shares > 1 and each.node in usable)
