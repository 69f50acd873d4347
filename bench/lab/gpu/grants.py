"""What a container is granted, and what its pod used: the words that the agent and the devices exchange."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.errors import BenchError


class InsufficientDevices(BenchError):
    """A pod was bound to a node that has not the devices it asks for; the message is the kubelet's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file or folder of the lab, shown inside a container."""

    host: str
    container: str
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerDevices:
    """What one container gets; `uuids` and `mounts` are empty where it asked for nothing."""

    uuids: tuple[str, ...] = ()
    """In the order of allocation; of MIG instances their own (``MIG-…``)."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Set over the image's and the pod's own; a value ending in ``:`` is put before what is there."""
    mounts: tuple[Mount, ...] = ()
    device_nodes: tuple[str, ...] = ()
    """Names under /dev, as ``/dev/nvidia0``, to be made from /dev/null."""
    cgroup: str = ""
    """The control group that the whole pod belongs under; sharers of one device are under the same. Empty: none."""
    cpu_cores: float = 0.0
    """The quota of that control group; 0 where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodUsage:
    """What the processes of one pod used, as the agent's accounting tells."""

    cpu_seconds: float
    """Total since the pod began; never falls."""
    memory_bytes: int
    """Resident now."""
