"""What is put into a container for the devices it may see: variables, files, device nodes."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.lab.gpu.allocation import VISIBLE_DEVICES, literal_environment
from bench.lab.gpu.fleet import Unit
from bench.lab.gpu.grants import ContainerDevices, Mount
from bench.lab.gpu.model import MEMORY_SCALE
from bench.lab.paths import LabPaths

logger = logging.getLogger(__name__)

LIBRARIES: Final = ("libnvidia-ml.so.1", "libcuda.so.1")
LIBRARY_DIR: Final = "/run/nvidia/driver/usr/lib64"
"""Below /run, where a read-only root still has room; the driver container of the GPU operator uses the same root."""
DEVICES_DIR: Final = "/run/nvidia-devices"
"""State pages, named 0, 1 … in the order of allocation, and beside each its files, 0.memory and 0.kernels …"""
_CONTROL_NODES: Final = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The devices that one container sees, and by which way it came to them."""

    plugin_units: tuple[Unit, ...] = ()
    claimed_units: tuple[Unit, ...] = ()
    page_uuids: tuple[str, ...] = ()
    """Instead of the pages of its units: a container that chose its devices by the variable sees whole ones."""
    minors: tuple[int, ...] = ()

    @property
    def units(self) -> tuple[Unit, ...]:
        return tuple(dict.fromkeys((*self.plugin_units, *self.claimed_units)))


def container_devices(container: Mapping[str, Any], view: View, paths: LabPaths) -> ContainerDevices:
    """Without its pod's control group, which is the same for all containers of the pod."""
    pages = view.page_uuids or tuple(unit.uuid for unit in view.units)
    if not pages:
        return ContainerDevices()
    minors = view.minors or tuple(dict.fromkeys(unit.gpu.minor for unit in view.units))
    return ContainerDevices(
        uuids=tuple(unit.uuid for unit in view.units),
        environment=_environment(container, view),
        mounts=_mounts(pages, paths),
        device_nodes=(*(f"/dev/nvidia{minor}" for minor in minors), *_CONTROL_NODES),
    )


def _environment(container: Mapping[str, Any], view: View) -> Mapping[str, str]:
    literal = literal_environment(container)
    search = ":".join(filter(None, (LIBRARY_DIR, literal.get("LD_LIBRARY_PATH"))))
    environment = {"LD_LIBRARY_PATH": search}
    if view.units:
        # programs that compute on the CPU where there is no CUDA learn what a whole device is, and tell what they use
        environment["CPU_CORES_PER_DEVICE"] = f"{view.units[0].cores:g}"
        environment["DEVICE_BYTES_PER_CPU_BYTE"] = str(MEMORY_SCALE)
        environment["DEVICE_KERNELS_FILE"] = f"{DEVICES_DIR}/0.kernels"
    if view.plugin_units:
        environment[VISIBLE_DEVICES] = ",".join(dict.fromkeys(unit.uuid for unit in view.plugin_units))
    elif view.claimed_units:
        # devices of a claim come by CDI, which tells the older way to stand back
        environment[VISIBLE_DEVICES] = "void"
    return environment


def _mounts(pages: Sequence[str], paths: LabPaths) -> tuple[Mount, ...]:
    mounts = []
    for number, uuid in enumerate(pages):
        place = f"{DEVICES_DIR}/{number}"
        mounts.append(Mount(host=str(paths.gpu(uuid)), container=place))
        mounts.append(Mount(host=str(paths.gpu_memory(uuid)), container=f"{place}.memory", writable=True))
        mounts.append(Mount(host=str(paths.gpu_kernels(uuid)), container=f"{place}.kernels", writable=True))
    return (*mounts, *_libraries(paths))


def _libraries(paths: LabPaths) -> Iterator[Mount]:
    for name in LIBRARIES:
        # the real file: a link into the cache would lead nowhere inside the container
        library = os.path.realpath(paths.bin / name)
        if os.path.exists(library):
            yield Mount(host=library, container=f"{LIBRARY_DIR}/{name}")
        else:
            logger.warning("%s is missing: containers do not see it; `bench lab build` makes it", library)
