"""Pods that hold GPUs, and what such a pod sees of them."""

from typing import Any

from tests.contract.pods import answer_of, container, pod
from tests.contract.target import Object, Target

GPU = "nvidia.com/gpu"
DRIVER = "gpu.nvidia.com"
DRA = "resource.k8s.io/v1"

LOOK = """
import glob, json, os
import pynvml
seen = {"nvml": [], "error": "", "names": []}
try:
    pynvml.nvmlInit()
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        seen["nvml"].append(pynvml.nvmlDeviceGetUUID(handle))
        seen["names"].append(pynvml.nvmlDeviceGetName(handle))
except pynvml.NVMLError as error:
    seen["error"] = type(error).__name__
seen["nodes"] = sorted(path for path in glob.glob("/dev/nvidia*") if path[len("/dev/nvidia"):].isdigit())
seen["variables"] = {name: value for name, value in os.environ.items() if name.startswith("NVIDIA_")}
print(json.dumps(seen))
"""
"""What NVML, /dev and the environment show to a program."""


def probe(name: str = "main", *, after: str = "", **fields: Any) -> Object:
    """A container that looks for devices, and then goes on with `after`."""
    return container(name, "python3", "-u", "-c", LOOK + after, **fields)


def holding(count: int) -> Object:
    return {"limits": {GPU: str(count)}}


def as_gpu_pod(target: Target, manifest: Object) -> Object:
    """The pod with what this cluster asks of a pod that uses a GPU: a runtime class where there is one."""
    runtimes = {r["metadata"]["name"] for r in target.items("node.k8s.io/v1", "RuntimeClass")}
    manifest["spec"]["tolerations"] = [{"key": GPU, "operator": "Exists"}]
    if "nvidia" in runtimes:
        manifest["spec"]["runtimeClassName"] = "nvidia"
    return manifest


def looked(target: Target, namespace: str, name: str, resources: Object | None = None, **fields: Any) -> Any:
    """What a pod sees that asked for `resources`."""
    main = probe(image=target.probe_image, resources=resources or {}, **fields)
    return answer_of(target, as_gpu_pod(target, pod(namespace, name, main)))


def need_probe_image(target: Target) -> None:
    if not target.probe_image:
        target.unmet("no image with Python and pynvml was named: set BENCH_PROBE_IMAGE")


def need_gpus(target: Target, total: int, *, on_one_node: int = 1) -> None:
    """So many devices are offered by device plugins."""
    offered = [int(n["status"]["allocatable"].get(GPU, "0")) for n in target.items("v1", "Node")]
    if sum(offered) < total or max(offered, default=0) < on_one_node:
        target.unmet(f"{total} {GPU} are needed, {on_one_node} of them on one node; the nodes offer {offered}")


def claimable(target: Target) -> list[Object]:
    """The devices that the NVIDIA driver for dynamic resource allocation publishes."""
    target.need_api(DRA, "ResourceSlice")
    slices = [s for s in target.items(DRA, "ResourceSlice") if s["spec"]["driver"] == DRIVER]
    return [device for s in slices for device in s["spec"].get("devices", [])]


def need_claimable(target: Target, count: int = 1) -> list[Object]:
    devices = claimable(target)
    if len(devices) < count:
        target.unmet(f"{count} devices of {DRIVER} are needed in ResourceSlices, there are {len(devices)}")
    if DRIVER not in {c["metadata"]["name"] for c in target.items(DRA, "DeviceClass")}:
        target.unmet(f"there is no DeviceClass {DRIVER}")
    return devices
