"""ResourceClaims of a pod: found, checked, and their devices told back in the claim's status."""

from collections.abc import Mapping
from typing import Any, Final

from bench.lab.api import ApiClient, ApiError
from bench.lab.gpu.devices import Devices

_GROUP: Final = "/apis/resource.k8s.io/v1"


class ClaimNotReady(Exception):  # told as an Event, and tried again
    """A claim of the pod is missing, or the scheduler has not allocated it to this pod."""


async def claims_of(api: ApiClient, pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every claim that the pod refers to, allocated and reserved for it; raises ClaimNotReady."""
    namespace = pod["metadata"]["namespace"]
    return [await _claim(api, pod, namespace, name) for name in claim_names(pod)]


def claim_names(pod: Mapping[str, Any]) -> list[str]:
    """Direct ones by the spec, those made from templates by the status that their controller writes."""
    made = (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    by_reference = {each["name"]: each.get("resourceClaimName") for each in made}
    names = []
    for reference in pod["spec"].get("resourceClaims") or ():
        name = reference.get("resourceClaimName")
        if name is None and reference["name"] not in by_reference:
            raise ClaimNotReady(f'the ResourceClaim for "{reference["name"]}" is not made yet')
        names += [each for each in (name or by_reference.get(reference["name"]),) if each]
    return names


async def _claim(api: ApiClient, pod: Mapping[str, Any], namespace: str, name: str) -> dict[str, Any]:
    try:
        claim = await api.get(f"{_GROUP}/namespaces/{namespace}/resourceclaims/{name}")
    except ApiError as error:
        raise ClaimNotReady(f"ResourceClaim {namespace}/{name}: {error.message}") from error
    status = claim.get("status") or {}
    holders = [each.get("uid") for each in status.get("reservedFor") or ()]
    if not status.get("allocation") or pod["metadata"]["uid"] not in holders:
        raise ClaimNotReady(f"ResourceClaim {namespace}/{name} is not allocated, or not reserved for this pod")
    return claim


async def tell_devices(api: ApiClient, devices: Devices, claims: list[dict[str, Any]]) -> None:
    """Write ``status.devices`` of claims where it is not told yet."""
    for claim in claims:
        told = devices.claim_devices(claim)
        if not told or (claim.get("status") or {}).get("devices") == told:
            continue
        metadata = claim["metadata"]
        path = f"{_GROUP}/namespaces/{metadata['namespace']}/resourceclaims/{metadata['name']}/status"
        await api.patch(path, {"metadata": {"uid": metadata["uid"]}, "status": {"devices": told}})
