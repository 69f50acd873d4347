"""
Who gets which device, and who sees it: decisions without effects, so that a fault can stand in for one of them.

The rules are those of the kubelet's device manager, NVIDIA's device plugin, and its container toolkit when it is
set up not to honour the variable NVIDIA_VISIBLE_DEVICES of containers without privileges.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.lab.config import Allocation
from bench.lab.gpu.fleet import Gpu, units_of
from bench.lab.gpu.grants import InsufficientDevices

GPU_RESOURCE: Final = "nvidia.com/gpu"
VISIBLE_DEVICES: Final = "NVIDIA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What the device plugin hands out: a device, a replica of one, or a MIG instance."""

    device_id: str
    """As PodResources tells it: ``GPU-…``, ``GPU-…::1`` for a replica, ``MIG-…``."""
    uuid: str
    resource: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one container asks of the device plugin."""

    container: str
    resource: str
    count: int
    reusable: bool
    """Of an init container that ends before the pod's containers start: they get its devices."""


def slots_of(gpus: Sequence[Gpu], time_slices: int) -> tuple[Slot, ...]:
    """All that the device plugin of this node offers."""
    return tuple(
        slot for gpu in gpus if gpu.offered_by is Allocation.DEVICE_PLUGIN for slot in _slots_of_gpu(gpu, time_slices)
    )


def _slots_of_gpu(gpu: Gpu, time_slices: int) -> Iterator[Slot]:
    for unit in units_of(gpu):
        if unit.instance is not None:
            resource = f"nvidia.com/mig-{unit.instance.profile.name}"
            yield Slot(device_id=unit.uuid, uuid=unit.uuid, resource=resource)
        elif time_slices > 1:
            for replica in range(time_slices):
                yield Slot(device_id=f"{unit.uuid}::{replica}", uuid=unit.uuid, resource=GPU_RESOURCE)
        else:
            yield Slot(device_id=unit.uuid, uuid=unit.uuid, resource=GPU_RESOURCE)


def requests_of(pod: Mapping[str, Any]) -> Iterator[Request]:
    """In the order in which the kubelet admits containers: init containers first."""
    spec = pod["spec"]
    for container in spec.get("initContainers") or []:
        # a sidecar lives as long as the pod, so nobody inherits from it
        yield from _requests_of_container(container, reusable=container.get("restartPolicy") != "Always")
    for container in spec["containers"]:
        yield from _requests_of_container(container, reusable=False)


def _requests_of_container(container: Mapping[str, Any], *, reusable: bool) -> Iterator[Request]:
    # limits alone count: for extended resources the API server makes requests equal to them
    for resource, quantity in (container.get("resources", {}).get("limits") or {}).items():
        if resource.startswith("nvidia.com/") and int(quantity) > 0:
            yield Request(container=container["name"], resource=resource, count=int(quantity), reusable=reusable)


def choose(slots: Sequence[Slot], taken: frozenset[str] | set[str], request: Request) -> tuple[Slot, ...]:
    """Free slots for one request: of the least shared devices first, then by index, as the device plugin prefers."""
    offered = [slot for slot in slots if slot.resource == request.resource]
    free = [slot for slot in offered if slot.device_id not in taken]
    if len(free) < request.count:
        raise InsufficientDevices(
            f"Allocate failed due to requested number of devices unavailable for {request.resource}. "
            f"Requested: {request.count}, Available: {len(free)}, which is unexpected"
        )
    sharers = {slot.uuid: 0 for slot in offered}
    for slot in offered:
        sharers[slot.uuid] += slot.device_id in taken
    chosen: list[Slot] = []
    for _ in range(request.count):
        best = min((slot for slot in free if slot not in chosen), key=lambda slot: sharers[slot.uuid])
        sharers[best.uuid] += 1
        chosen.append(best)
    return tuple(chosen)


def allocate_slots(
    pod: Mapping[str, Any], slots: Sequence[Slot], taken: frozenset[str] | set[str]
) -> Mapping[str, tuple[Slot, ...]]:
    """By container; nothing is taken where one container cannot be served."""
    granted: dict[str, tuple[Slot, ...]] = {}
    inheritable: list[Slot] = []
    used = set(taken)
    for request in requests_of(pod):
        inherited = [slot for slot in inheritable if slot.resource == request.resource][: request.count]
        missing = Request(
            container=request.container,
            resource=request.resource,
            count=request.count - len(inherited),
            reusable=request.reusable,
        )
        chosen = (*inherited, *choose(slots, used, missing))
        used |= {slot.device_id for slot in chosen}
        granted[request.container] = granted.get(request.container, ()) + chosen
        inheritable = [slot for slot in inheritable if slot not in chosen]
        if request.reusable:
            inheritable += chosen
    return granted


def literal_environment(container: Mapping[str, Any]) -> Mapping[str, str]:
    """Variables that the pod states by value."""
    return {entry["name"]: entry["value"] for entry in container.get("env") or [] if "value" in entry}


def is_privileged(container: Mapping[str, Any]) -> bool:
    """Whether the toolkit lets this container choose its devices by a variable."""
    context = container.get("securityContext") or {}
    added = (context.get("capabilities") or {}).get("add") or []
    return bool(context.get("privileged")) or any(
        capability.removeprefix("CAP_") in {"SYS_ADMIN", "ALL"} for capability in added
    )


def visible_by_variable(container: Mapping[str, Any], gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Whole devices that the container sees without holding them; none for one without privileges."""
    if not is_privileged(container):
        return ()
    return chosen_by_variable(literal_environment(container).get(VISIBLE_DEVICES, ""), gpus)


def chosen_by_variable(wanted: str, gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """The devices that the variable's value names: all, or some by UUID or index."""
    if wanted == "all":
        return tuple(gpus)
    names = [name for name in wanted.split(",") if name not in {"", "none", "void"}]
    return tuple(gpu for name in names for gpu in gpus if name in {gpu.uuid, str(gpu.index)})
