"""Dynamic resource allocation: what the NVIDIA driver for it publishes, and what a claim was given."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.lab.config import Allocation
from bench.lab.gpu.fleet import Gpu
from bench.lab.gpu.profiles import CUDA_DRIVER_VERSION, DRIVER_VERSION, MEBIBYTE

DRIVER: Final = "gpu.nvidia.com"
API_VERSION: Final = "resource.k8s.io/v1"
_BRANDS: Final = {2: "Tesla", 14: "Nvidia"}
_ARCHITECTURES: Final = {6: "Turing", 7: "Ampere", 8: "Ada Lovelace", 9: "Hopper"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDevice:
    """One result of an allocated claim that is our driver's."""

    claim: str
    namespace: str
    request: str
    pool: str
    device: str


def device_class() -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "DeviceClass",
        "metadata": {"name": DRIVER},
        "spec": {"selectors": [{"cel": {"expression": f"device.driver == '{DRIVER}'"}}]},
    }


def resource_slice(node: str, node_uid: str, gpus: Sequence[Gpu]) -> dict[str, Any]:
    """All devices of the node that are offered this way, in one slice: the API's limit is 128 a slice."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ResourceSlice",
        "metadata": {
            "name": f"{node}-{DRIVER}",
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node_uid, "controller": True},
            ],
        },
        "spec": {
            "driver": DRIVER,
            "nodeName": node,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
            "devices": [_device(gpu) for gpu in gpus if gpu.offered_by is Allocation.DRA],
        },
    }


def _device(gpu: Gpu) -> dict[str, Any]:
    product = gpu.product
    bus = f"{gpu.pci_domain:04x}:{gpu.pci_bus:02x}"
    return {
        "name": gpu.device_name,
        "attributes": {
            "type": {"string": "gpu"},
            "uuid": {"string": gpu.uuid},
            "index": {"int": gpu.index},
            "minor": {"int": gpu.minor},
            "productName": {"string": product.name},
            "brand": {"string": _BRANDS[product.brand]},
            "architecture": {"string": _ARCHITECTURES[product.architecture]},
            "cudaComputeCapability": {"version": "{}.{}.0".format(*product.compute_capability)},
            "driverVersion": {"version": _semantic_version(DRIVER_VERSION)},
            "cudaDriverVersion": {"version": "{}.{}.0".format(*CUDA_DRIVER_VERSION)},
            "resource.kubernetes.io/pciBusID": {"string": f"{bus}:00.0"},
            # each device sits behind a root port of its own, as on the large boards
            "resource.kubernetes.io/pcieRoot": {"string": f"pci{bus}"},
        },
        "capacity": {"memory": {"value": f"{product.memory_bytes // MEBIBYTE}Mi"}},
    }


def _semantic_version(version: str) -> str:
    """The API takes semantic versions alone, and those have no leading zeros."""
    return ".".join(str(int(part)) for part in version.split("."))


def claimed_devices(claim: Mapping[str, Any]) -> Iterator[ClaimedDevice]:
    """Results of the claim's allocation that are our driver's; none for a claim that is not allocated."""
    allocation = claim.get("status", {}).get("allocation") or {}
    for result in allocation.get("devices", {}).get("results", []):
        if result["driver"] == DRIVER:
            yield ClaimedDevice(
                claim=claim["metadata"]["name"],
                namespace=claim["metadata"]["namespace"],
                # a request with alternatives is named "request/alternative"; containers name the request
                request=result["request"].split("/", maxsplit=1)[0],
                pool=result["pool"],
                device=result["device"],
            )


def device_status(device: ClaimedDevice, gpu: Gpu) -> dict[str, Any]:
    """An entry of ``status.devices`` of a ResourceClaim."""
    return {
        "driver": DRIVER,
        "pool": device.pool,
        "device": device.device,
        "conditions": [],
        "data": {"uuid": gpu.uuid, "index": gpu.index, "pciBusID": gpu.pci_bus_id},
    }


def claims_of_pod(
    pod: Mapping[str, Any], claims: Sequence[Mapping[str, Any]]
) -> Mapping[str, Mapping[str, Any] | None]:
    """By the name that the pod gives the claim; None where the claim is not among those given."""
    by_name = {claim["metadata"]["name"]: claim for claim in claims}
    generated = {
        status["name"]: status.get("resourceClaimName")
        for status in pod.get("status", {}).get("resourceClaimStatuses") or []
    }
    found: dict[str, Mapping[str, Any] | None] = {}
    for reference in pod["spec"].get("resourceClaims") or []:
        name = reference.get("resourceClaimName") or generated.get(reference["name"])
        found[reference["name"]] = by_name.get(name or "")
    return found
