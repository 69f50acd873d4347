"""The nodes of a lab: registered, kept alive by Leases, booted when an autoscaler makes one, off when it goes."""

import asyncio
import logging
import os
import platform
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.lab.api import STRATEGIC_PATCH, ApiError, EventKind
from bench.lab.kubelet import times
from bench.lab.kubelet.events import about_node, event
from bench.lab.kubelet.host import Host
from bench.lab.network import BRIDGE_ADDRESS

KUBELET_VERSION: Final = "v1.37.1"
FIRST_PORT: Final = 10250
_SIZE: Final = {"cpu": "16", "memory": "64Gi", "ephemeral-storage": "100Gi", "pods": "110"}
"""What a node says it has; the machine has less, and devices' quotas are what really holds pods back."""
_LEASE_SECONDS: Final = 40
_RENEW_SECONDS: Final = 10.0
_HEARTBEAT_SECONDS: Final = 300.0
_BOOT_ANNOTATION: Final = "gpu-bench/boot-seconds"
_DRA: Final = "/apis/resource.k8s.io/v1"
_RUNTIME_CLASS: Final[Mapping[str, Any]] = {
    "apiVersion": "node.k8s.io/v1",
    "kind": "RuntimeClass",
    "metadata": {"name": "nvidia"},
    "handler": "nvidia",
}
"""As the GPU operator makes it; that runtime is the default too, so that a pod need not name it."""
_HEALTHY: Final = {
    "MemoryPressure": ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    "Ready": ("True", "KubeletReady", "kubelet is posting ready status"),
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One that is up."""

    name: str
    uid: str
    port: int
    allocatable: Mapping[str, str]


def is_ours_to_boot(node: Mapping[str, Any]) -> bool:
    """Whether a Node object that somebody made is to be played by the agent: by its providerID, or Karpenter's kwok."""
    provider = str((node.get("spec") or {}).get("providerID", ""))
    metadata = node["metadata"]
    marked = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    return provider.startswith(("lab://", "kwok://")) or "kwok.x-k8s.io/node" in marked


class Nodes:
    """All nodes of the lab."""

    def __init__(self, host: Host, on_up: Callable[[Node], None], on_gone: Callable[[str], None]) -> None:
        self._host = host
        self._on_up = on_up
        self._on_gone = on_gone
        self._up: dict[str, Node] = {}
        self._booting: dict[str, asyncio.Task[None]] = {}
        self._ready_since: dict[str, str] = {}
        self._boot_id = str(uuid.uuid4())
        self._next_port = FIRST_PORT

    def get(self, name: str) -> Node | None:
        """A node that is up."""
        return self._up.get(name)

    @property
    def up(self) -> list[Node]:
        return list(self._up.values())

    async def start_initial(self) -> None:
        """Register the nodes that the lab starts with, what they offer by DRA, and the runtime's class."""
        await self._put("/apis/node.k8s.io/v1/runtimeclasses", _RUNTIME_CLASS)
        for body in self._host.devices.device_classes():
            await self._put(f"{_DRA}/deviceclasses", body)
        for name in self._host.devices.nodes():
            await self._register(name)

    async def _put(self, path: str, body: Mapping[str, Any]) -> None:
        await self._host.api.apply(f"{path}/{body['metadata']['name']}", body, field_manager="gpu-bench-lab")

    async def _register(self, name: str) -> None:
        port = self._take_port()
        body = self._body(name, port)
        api = self._host.api
        try:
            created = await api.create("/api/v1/nodes", body)
        except ApiError as error:
            if error.status != 409:
                raise
            patch = {"metadata": {"labels": body["metadata"]["labels"]}}
            created = await api.patch(f"/api/v1/nodes/{name}", patch)
            await self._tell_status(name, body["status"])
        await self._come_up(created, port, body["status"]["allocatable"])

    def _take_port(self) -> int:
        self._next_port += 1
        return self._next_port - 1

    async def _come_up(self, node: Mapping[str, Any], port: int, allocatable: Mapping[str, str]) -> None:
        name, uid = node["metadata"]["name"], node["metadata"]["uid"]
        self._host.paths.node_root(name).mkdir(parents=True, exist_ok=True)
        for body in self._host.devices.resource_slices(name, uid):
            await self._put(f"{_DRA}/resourceslices", body)
        await self._renew(name, uid)
        self._host.rooms.open(name, allocatable)
        self._up[name] = Node(name=name, uid=uid, port=port, allocatable=allocatable)
        self._host.events.tell(event(about_node(name), "Normal", "Starting", "Starting kubelet.", name))
        self._host.truth.write("node-booted", node=name)
        self._on_up(self._up[name])

    def _body(self, name: str, port: int) -> dict[str, Any]:
        labels = {**_common_labels(name), **self._host.devices.node_labels(name)}
        size = {**_SIZE, **self._host.devices.extended_resources(name)}
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "providerID": f"lab://{name}",
                "taints": [dict(each) for each in self._host.devices.node_taints(name)],
            },
            "status": self._status(name, port, size),
        }

    def _status(self, name: str, port: int, size: Mapping[str, str]) -> dict[str, Any]:
        return {
            "capacity": dict(size),
            "allocatable": dict(size),
            "addresses": [
                {"type": "InternalIP", "address": BRIDGE_ADDRESS},
                {"type": "Hostname", "address": name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "nodeInfo": self._info(name),
            "conditions": self._health(name),
        }

    def _info(self, name: str) -> dict[str, str]:
        machine = uuid.uuid5(uuid.NAMESPACE_DNS, f"{self._host.config.name}/{name}")
        return {
            "machineID": machine.hex,
            "systemUUID": str(machine),
            "bootID": self._boot_id,
            "kernelVersion": platform.release(),
            "osImage": "gpu-bench lab",
            "containerRuntimeVersion": "lab://0.11.0",
            "kubeletVersion": KUBELET_VERSION,
            "kubeProxyVersion": KUBELET_VERSION,
            "operatingSystem": "linux",
            "architecture": _architecture(),
        }

    def _health(self, name: str) -> list[dict[str, Any]]:
        now = times.now()
        since = self._ready_since.setdefault(name, now)
        return [
            {
                "type": kind,
                "status": holds,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": now,
                "lastTransitionTime": since,
            }
            for kind, (holds, reason, message) in _HEALTHY.items()
        ]

    async def _tell_status(self, name: str, status: Mapping[str, Any]) -> None:
        await self._host.api.patch(f"/api/v1/nodes/{name}/status", {"status": status}, content_type=STRATEGIC_PATCH)

    async def follow(self) -> None:
        """Boot what autoscalers make, switch off what is removed; until cancelled."""
        async for change in self._host.api.watch("/api/v1/nodes"):
            if change.kind is EventKind.SYNCED:
                continue
            name = change.object["metadata"]["name"]
            if change.kind is EventKind.DELETED:
                self._remove(name)
            elif name not in self._up and name not in self._booting and is_ours_to_boot(change.object):
                self._booting[name] = asyncio.create_task(self._boot(change.object))

    async def _boot(self, node: Mapping[str, Any]) -> None:
        """A machine needs its time to come up: the annotation's, or the lab's."""
        name = node["metadata"]["name"]
        told = (node["metadata"].get("annotations") or {}).get(_BOOT_ANNOTATION)
        await asyncio.sleep(self._host.config.node_boot_seconds if told is None else float(told))
        status = node.get("status") or {}
        gpus = int((status.get("capacity") or {}).get("nvidia.com/gpu", "0"))
        self._host.devices.add_node(name, gpus)
        size = {**_SIZE, **(status.get("allocatable") or {}), **self._host.devices.extended_resources(name)}
        port = self._take_port()
        labels = {
            **_common_labels(name),
            **self._host.devices.node_labels(name),
            **(node["metadata"].get("labels") or {}),
        }
        try:
            await self._host.api.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": labels}})
            await self._tell_status(name, self._status(name, port, size))
            await self._come_up(node, port, size)
        except ApiError as error:
            # Removed while it booted; a removal that comes later is told by the watch.
            _log.warning("node %s did not come up: %s", name, error)
        finally:
            self._booting.pop(name, None)

    def _remove(self, name: str) -> None:
        booting = self._booting.pop(name, None)
        if booting is not None:
            booting.cancel()
        if self._up.pop(name, None) is None:
            return
        self._ready_since.pop(name, None)
        self._on_gone(name)
        self._host.rooms.close(name)
        self._host.devices.remove_node(name)
        self._host.truth.write("node-gone", node=name)

    async def keep_alive(self) -> None:
        """Renew Leases, each node's at a time of its own, and tell statuses now and then; until cancelled."""
        loop = asyncio.get_running_loop()
        told = dict.fromkeys(self._up, loop.time())
        while True:
            nodes = self.up
            for node in nodes:
                await asyncio.sleep(_RENEW_SECONDS / len(nodes))
                if node.name not in self._up:
                    continue
                try:
                    await self._renew(node.name, node.uid)
                    if loop.time() - told.setdefault(node.name, loop.time()) > _HEARTBEAT_SECONDS:
                        told[node.name] = loop.time()
                        await self._tell_status(node.name, {"conditions": self._health(node.name)})
                except ApiError as error:
                    _log.warning("node %s: no sign of life told: %s", node.name, error)
            if not nodes:
                await asyncio.sleep(_RENEW_SECONDS)

    async def _renew(self, name: str, uid: str) -> None:
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec = {"holderIdentity": name, "leaseDurationSeconds": _LEASE_SECONDS, "renewTime": times.now_micro()}
        try:
            await self._host.api.patch(f"{path}/{name}", {"spec": spec})
        except ApiError as error:
            if error.status != 404:
                raise
            owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}
            metadata = {"name": name, "namespace": "kube-node-lease", "ownerReferences": [owner]}
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
            await self._host.api.create(path, body)


def _architecture() -> str:
    """As Go names it."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _common_labels(name: str) -> dict[str, str]:
    return {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": _architecture(),
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": _architecture(),
        "node.kubernetes.io/instance-type": "lab",
        "topology.kubernetes.io/region": "lab",
        "topology.kubernetes.io/zone": "lab-a",
    }
