"""
The inventory: what the target was seen to have.

Observed, never configured, and nothing in it tells a lab from a cluster: needs ask what a target can, not what it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.model.measurement import no_labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One accelerator as a node offers it; the uuid is empty where only a count was published."""

    node: str
    uuid: str
    product: str
    memory_bytes: float | None = None
    driver_version: str = ""
    mig_profile: str = ""
    shares: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A Kubernetes Node with what it can give."""

    name: str
    is_ready: bool
    is_schedulable: bool
    allocatable: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=no_labels)
    taints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What was seen, at one moment; an empty field was looked for and not found."""

    server_version: str
    cluster_uid: str
    api_group_versions: tuple[str, ...] = ()
    nodes: tuple[Node, ...] = ()
    devices: tuple[Device, ...] = ()
    device_classes: tuple[str, ...] = ()
    gateway_classes: tuple[str, ...] = ()
    storage_classes: tuple[str, ...] = ()
    runtime_classes: tuple[str, ...] = ()
    custom_resource_definitions: tuple[str, ...] = ()
    controllers: tuple[str, ...] = ()
    gang_schedulers: tuple[str, ...] = ()
    autoscalers: tuple[str, ...] = ()
    metric_names: tuple[str, ...] = ()
    no_device_metrics_because: str = ""
    """Why Prometheus has no series of devices and what helps; empty where it has, or where it was not asked."""
    prometheus_url: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def kubernetes_release(self) -> str:
        """``1.36`` of ``v1.36.2+k3s1``."""
        return ".".join(self.server_version.removeprefix("v").split(".")[:2])

    def allocatable_total(self, resource: str) -> float:
        """How much of `resource` the ready, schedulable nodes can give together."""
        usable = (node for node in self.nodes if node.is_ready and node.is_schedulable)
        return sum(node.allocatable.get(resource, 0.0) for node in usable)
