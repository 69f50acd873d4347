"""Devices without a cluster: pods as the API spells them, a clock moved by hand, and a folder of state pages."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.lab.config import LabConfig
from bench.lab.gpu.devices import ContainerDevices, Devices, PodUsage
from bench.lab.paths import LabPaths
from bench.lab.truth import TruthLog

NODE = "gpu-node-1"
STEP_SECONDS = 0.1


class SmallLab:
    """The devices of a lab, driven step by step."""

    def __init__(self, root: Path, config: LabConfig) -> None:
        self.paths = LabPaths(root)
        self._now = 1000.0
        self.devices = Devices(config, self.paths, TruthLog(self.paths.truth), clock=lambda: self._now)
        self._cpu_seconds: dict[str, float] = {}

    def run(self, seconds: float, *, cores: Mapping[str, float], memory_bytes: int = 0) -> None:
        """Let pods use so many cores each, sampled as the agent does."""
        for _ in range(round(seconds / STEP_SECONDS)):
            self._now += STEP_SECONDS
            for uid, used in cores.items():
                self._cpu_seconds[uid] = self._cpu_seconds.get(uid, 0.0) + used * STEP_SECONDS
            self.devices.sample(
                {uid: PodUsage(cpu_seconds=self._cpu_seconds[uid], memory_bytes=memory_bytes) for uid in cores}
            )

    def give(self, uid: str, limits: Mapping[str, str]) -> ContainerDevices:
        """One container's devices on the first node."""
        return self.devices.allocate(NODE, pod(uid, container(limits=limits)), [])["main"]

    def folder(self, granted: ContainerDevices, name: str = "devices") -> Path:
        """What the container would see at /run/nvidia-devices."""
        folder = self.paths.root / name
        folder.mkdir()
        for mount in granted.mounts:
            if "nvidia-devices" in mount.container:
                os.symlink(mount.host, folder / os.path.basename(mount.container))
        return folder


def container(name: str = "main", *, limits: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "ubuntu", "resources": {"limits": dict(limits or {})}, **more}


def pod(uid: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"uid": uid, "name": f"pod-{uid}", "namespace": "trial"},
        "spec": {"containers": list(containers), **spec},
    }
