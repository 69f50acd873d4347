"""What a container may know of the pod that it is in."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.lab.gpu.devices import ContainerDevices
from bench.lab.kubelet import environment
from bench.lab.kubelet.events import about_pod, event
from bench.lab.kubelet.host import Host
from bench.lab.kubelet.network import HOST_NETWORK, PodNetwork
from bench.lab.kubelet.volumes import Volumes
from bench.lab.network import BRIDGE_ADDRESS


@dataclass(slots=True, kw_only=True)
class PodSetting:
    """Filled by the pod as it comes to be; containers only read it."""

    host: Host
    node: str
    pod: dict[str, Any]
    """The object as last seen."""
    capacity: Mapping[str, str]
    changed: Callable[[], None]
    """A container's state changed."""
    volumes: Volumes | None = None
    network: PodNetwork = HOST_NETWORK
    devices: Mapping[str, ContainerDevices] = field(default_factory=dict)
    group: str = ""
    """The pod's control group; empty where there are none."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Nothing is to be started any more."""
    out_of_grace: asyncio.Event = field(default_factory=asyncio.Event)
    """What still runs is to be killed."""

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])

    @property
    def folder(self) -> Path:
        return self.host.paths.pod(self.uid)

    @property
    def grace_seconds(self) -> float:
        """How long processes have to end by themselves."""
        spoken = self.pod["metadata"].get("deletionGracePeriodSeconds")
        own = self.pod["spec"].get("terminationGracePeriodSeconds", 30)
        return float(own if spoken is None else spoken)

    def field(self, path: str) -> str:
        """A field of the downward API."""
        known = {
            "spec.nodeName": self.node,
            "status.hostIP": BRIDGE_ADDRESS,
            "status.hostIPs": BRIDGE_ADDRESS,
            "status.podIP": self.network.address,
            "status.podIPs": self.network.address,
        }
        return environment.field(path, self.pod, known)

    def tell(self, kind: str, reason: str, message: str, *, container: str = "") -> None:
        """An Event about the pod, or about one of its containers."""
        inits = {each["name"] for each in self.pod["spec"].get("initContainers") or ()}
        where = f"spec.{'initContainers' if container in inits else 'containers'}{{{container}}}" if container else ""
        self.host.events.tell(event(about_pod(self.pod, where), kind, reason, message, self.node))

    def note(self, what: str, **facts: Any) -> None:
        """A line of the truth log."""
        metadata = self.pod["metadata"]
        self.host.truth.write(
            what, node=self.node, namespace=metadata["namespace"], pod=metadata["name"], uid=self.uid, **facts
        )
