"""
Needs: conditions on the inventory without which a scenario proves nothing.

An unmet need skips the scenario, with the sentence that `bench plan` shows. A need asks what the target can do, never
what it is.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from bench.model.inventory import Inventory

GPU_RESOURCE = "nvidia.com/gpu"


@runtime_checkable
class Need(Protocol):
    """A condition on the inventory."""

    def unmet_by(self, inventory: Inventory) -> str | None:
        """Why the inventory does not meet it; None where it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServed:
    """An API group version is served, such as ``resource.k8s.io/v1``."""

    group_version: str

    def unmet_by(self, inventory: Inventory) -> str | None:
        """Why not; None where it is served."""
        if self.group_version in inventory.api_group_versions:
            return None
        group = self.group_version.rpartition("/")[0]
        others = [each for each in inventory.api_group_versions if each.startswith(group + "/")]
        seen = f"only {', '.join(others)}" if others else f"nothing of {group}"
        return f"{self.group_version} is not served; the API server has {seen}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyApiServed:
    """At least one of several API group versions is served."""

    group_versions: tuple[str, ...]

    def unmet_by(self, inventory: Inventory) -> str | None:
        """Why not; None where one is served."""
        if set(self.group_versions) & set(inventory.api_group_versions):
            return None
        return f"none of {', '.join(self.group_versions)} is served"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerators:
    """
    That many accelerators on ready, schedulable nodes; `on_one_node` where they must be neighbours.

    Shares of one device count once: two pods on two shares are not on two devices.
    """

    at_least: int
    on_one_node: bool = False

    def unmet_by(self, inventory: Inventory) -> str | None:
        """Why not; None where there are enough."""
        per_node = Counter(dict(_devices_per_node(inventory)))
        found = max(per_node.values(), default=0) if self.on_one_node else per_node.total()
        if found >= self.at_least:
            return None
        place = " on one node" if self.on_one_node else ""
        return f"{self.at_least} accelerator(s){place} needed, {found} seen on ready, schedulable nodes"


def _devices_per_node(inventory: Inventory) -> Iterator[tuple[str, int]]:
    listed = Counter(device.node for device in inventory.devices)
    for node in inventory.nodes:
        if node.is_ready and node.is_schedulable:
            counted = int(node.allocatable.get(GPU_RESOURCE, 0.0))
            yield node.name, listed[node.name] or counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocatable:
    """So much of an extended resource on ready, schedulable nodes."""

    resource: str
    at_least: int

    def unmet_by(self, inventory: Inventory) -> str | None:
        """Why not; None where there is enough."""
        found = inventory.allocatable_total(self.resource)
        if found >= self.at_least:
            return None
        return f"{self.at_least} of {self.resource} needed, ready, schedulable nodes offer {found:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceClassOffered:
    """A DeviceClass by which pods claim devices, and at least so many devices in ResourceSlices."""

    name: str
    at_least: int = 0

    def unmet_by(self, inventory: Inventory) -> str | None:
        """Why not; None where there is one, with devices enough."""
        if self.name not in inventory.device_classes:
            return f"there is no DeviceClass {self.name}; install the DRA driver that brings it"
        # only slices tell the UUID of a device
        found = sum(bool(device.uuid) for device in inventory.devices)
        if found >= self.at_least:
            return None
        return f"{self.at_least} devices to be claimed needed, {found} seen in ResourceSlices"


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeDevices:
    """An accelerator that is not cut into MIG instances: of an instance neither NVML nor DCGM tells a utilisation."""

    def unmet_by(self, inventory: Inventory) -> str | None:
        """Why not; None where one is whole, or where none was listed."""
        profiles = [device.mig_profile for device in inventory.devices]
        if not profiles or not all(profiles):
            return None
        return (
            f"all {len(profiles)} accelerators are MIG instances ({', '.join(sorted(set(profiles)))}), and of an "
            "instance neither NVML nor DCGM tells a utilisation; a device that is not cut is needed"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateways:
    """A GatewayClass that a controller accepted."""

    def unmet_by(self, inventory: Inventory) -> str | None:
        """Why not; None where there is one."""
        return None if inventory.gateway_classes else "no accepted GatewayClass was seen; install a Gateway controller"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusReachable:
    """A Prometheus that answers queries."""

    def unmet_by(self, inventory: Inventory) -> str | None:
        """Why not; None where one answers."""
        return None if inventory.prometheus_url else "no Prometheus was found; name one with --prometheus URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricServed:
    """At least one of several metric names has series in Prometheus."""

    names: tuple[str, ...]

    def unmet_by(self, inventory: Inventory) -> str | None:
        """Why not; None where one has series."""
        if set(self.names) & set(inventory.metric_names):
            return None
        why = inventory.no_device_metrics_because or "is it among the exporter's metrics?"
        return f"Prometheus has no series named {' or '.join(self.names)}: {why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GangScheduler:
    """Something that admits pods all or nothing."""

    def unmet_by(self, inventory: Inventory) -> str | None:
        """Why not; None where one was seen."""
        return None if inventory.gang_schedulers else "no gang scheduler was seen (looked for Kueue, Volcano, KAI)"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAutoscaler:
    """Something that adds and removes nodes."""

    def unmet_by(self, inventory: Inventory) -> str | None:
        """Why not; None where one was seen."""
        if inventory.autoscalers:
            return None
        return "no node autoscaler was seen (looked for cluster-autoscaler, Karpenter)"


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomResource:
    """A CustomResourceDefinition by its full name, such as ``rayjobs.ray.io``."""

    name: str

    def unmet_by(self, inventory: Inventory) -> str | None:
        """Why not; None where it is installed."""
        if self.name in inventory.custom_resource_definitions:
            return None
        return f"the CustomResourceDefinition {self.name} is not installed"
