"""All simulated devices of a lab: who holds which, what each container sees of them, and what they measure."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.lab.config import LabConfig
from bench.lab.gpu.grants import ContainerDevices, InsufficientDevices, Mount, PodUsage
from bench.lab.paths import LabPaths
from bench.lab.truth import TruthLog

__all__ = ["ContainerDevices", "Devices", "InsufficientDevices", "Mount", "PodUsage"]


class Devices:
    """One object for all nodes of a lab; not for use from several threads."""

    def __init__(self, config: LabConfig, paths: LabPaths, truth: TruthLog) -> None:
        self._config = config
        self._paths = paths
        self._truth = truth

    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes that the lab starts with."""
        raise NotImplementedError

    def add_node(self, node: str, gpus: int) -> None:
        """A node that an autoscaler made; a second call for the same node changes nothing."""
        raise NotImplementedError

    def remove_node(self, node: str) -> None:
        """The node is gone, and its devices and their state pages with it."""
        raise NotImplementedError

    def node_labels(self, node: str) -> Mapping[str, str]:
        """As GPU feature discovery and the GPU operator set them."""
        raise NotImplementedError

    def node_taints(self, node: str) -> Sequence[Mapping[str, str]]:
        """Taints as in `Node.spec.taints`; the operator sets none by itself."""
        raise NotImplementedError

    def extended_resources(self, node: str) -> Mapping[str, str]:
        """Capacity and allocatable beyond cpu and memory, as ``{"nvidia.com/gpu": "2"}``."""
        raise NotImplementedError

    def device_classes(self) -> list[dict[str, Any]]:
        """Bodies of resource.k8s.io/v1 DeviceClass; empty where no device is offered by DRA."""
        raise NotImplementedError

    def resource_slices(self, node: str, node_uid: str) -> list[dict[str, Any]]:
        """Bodies of resource.k8s.io/v1 ResourceSlice, owned by the Node."""
        raise NotImplementedError

    def claim_devices(self, claim: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What belongs into ``status.devices`` of an allocated ResourceClaim of ours."""
        raise NotImplementedError

    def allocate(
        self, node: str, pod: Mapping[str, Any], claims: Sequence[Mapping[str, Any]]
    ) -> Mapping[str, ContainerDevices]:
        """By container name, init containers too; raises InsufficientDevices. Again for the same pod: the same answer."""
        raise NotImplementedError

    def release(self, pod_uid: str) -> None:
        """The pod's processes are gone; a pod that holds nothing is no error."""
        raise NotImplementedError

    def pod_resources(self, node: str) -> list[dict[str, Any]]:
        """What the kubelet's PodResources List tells, one entry a container that holds devices."""
        raise NotImplementedError

    def sample(self, usage: Mapping[str, PodUsage]) -> None:
        """Called each 100 ms with every pod uid that holds a device; advances the model, writes the state pages."""
        raise NotImplementedError
