"""Which pod holds which units now, and how the CPU time of a pod becomes the work of its devices."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.lab.gpu.allocation import Slot
from bench.lab.gpu.dra import DRIVER, ClaimedDevice
from bench.lab.gpu.fleet import Unit
from bench.lab.gpu.grants import ContainerDevices, PodUsage
from bench.lab.gpu.model import Use


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What one pod was given at admission; kept until its processes are gone."""

    pod_uid: str
    node: str
    namespace: str
    pod: str
    slots: Mapping[str, tuple[Slot, ...]]
    claimed: Mapping[str, tuple[ClaimedDevice, ...]]
    units: tuple[Unit, ...]
    containers: Mapping[str, ContainerDevices] = field(default_factory=dict)


def control_group(units: Sequence[Unit]) -> tuple[str, float]:
    """
    Name and CPU cores of the group that a holder of these units belongs under; no name where it holds none.

    Pods that hold the same units are under one group and share its quota. Pods whose units only overlap (two time
    slices of different devices in one pod) have groups of their own, and together may use more than the device has.
    """
    if not units:
        return "", 0.0
    digest = hashlib.sha256(" ".join(sorted(unit.uuid for unit in units)).encode()).hexdigest()
    return f"gpu-{digest[:12]}", sum(unit.cores for unit in units)


def pod_resources(holding: Holding) -> dict[str, Any]:
    """One pod of the kubelet's PodResources List, in the field names of its API (podresources/v1)."""
    names = dict.fromkeys((*holding.slots, *holding.claimed))
    return {
        "name": holding.pod,
        "namespace": holding.namespace,
        "containers": [
            {
                "name": name,
                "devices": _device_entries(holding.slots.get(name, ())),
                "dynamic_resources": [_claim_entry(device) for device in holding.claimed.get(name, ())],
            }
            for name in names
        ],
    }


def _device_entries(slots: Sequence[Slot]) -> list[dict[str, Any]]:
    by_resource: dict[str, list[str]] = {}
    for slot in slots:
        by_resource.setdefault(slot.resource, []).append(slot.device_id)
    return [{"resource_name": resource, "device_ids": ids} for resource, ids in by_resource.items()]


def _claim_entry(device: ClaimedDevice) -> dict[str, Any]:
    return {
        "claim_name": device.claim,
        "claim_namespace": device.namespace,
        "claim_resources": [{"driver_name": DRIVER, "pool_name": device.pool, "device_name": device.device}],
    }


class Meter:
    """Turns the totals that the agent reads into what each unit's holders did since the last reading."""

    def __init__(self) -> None:
        self._totals: dict[str, float] = {}
        self._memory_bytes: dict[str, int] = {}

    def forget(self, pod_uid: str) -> None:
        self._totals.pop(pod_uid, None)
        self._memory_bytes.pop(pod_uid, None)

    def memory_bytes(self, pod_uid: str) -> int:
        """What the pod's devices showed at the last reading."""
        return self._memory_bytes.get(pod_uid, 0)

    def uses(
        self, holdings: Sequence[Holding], usage: Mapping[str, PodUsage], *, keeps_memory: bool = False
    ) -> dict[str, dict[str, Use]]:
        """
        By device uuid, then by unit uuid. A pod's work is spread evenly over the units it holds.

        With `keeps_memory` a device has the memory of processes that ended until its holder lets it go.
        """
        found: dict[str, dict[str, Use]] = {}
        for holding in holdings:
            used = usage.get(holding.pod_uid)
            if keeps_memory:
                used = self._kept(holding.pod_uid, used)
            else:
                self._memory_bytes[holding.pod_uid] = used.memory_bytes if used is not None else 0
            if used is None or not holding.units:
                continue
            for unit, use in self._shares(holding, used):
                of_device = found.setdefault(unit.gpu.uuid, {})
                before = of_device.get(unit.uuid, Use())
                of_device[unit.uuid] = Use(
                    cpu_seconds=before.cpu_seconds + use.cpu_seconds,
                    memory_bytes=before.memory_bytes + use.memory_bytes,
                )
        return found

    def _kept(self, pod_uid: str, used: PodUsage | None) -> PodUsage | None:
        memory = max(self._memory_bytes.get(pod_uid, 0), used.memory_bytes if used is not None else 0)
        self._memory_bytes[pod_uid] = memory
        if used is None and pod_uid not in self._totals:
            return None
        return PodUsage(cpu_seconds=used.cpu_seconds if used else self._totals[pod_uid], memory_bytes=memory)

    def _shares(self, holding: Holding, used: PodUsage) -> Iterator[tuple[Unit, Use]]:
        # the first total is the start: an agent that comes back must not see a life's work as one step's
        before = self._totals.get(holding.pod_uid, used.cpu_seconds)
        self._totals[holding.pod_uid] = used.cpu_seconds
        count = len(holding.units)
        share = Use(cpu_seconds=max(0.0, used.cpu_seconds - before) / count, memory_bytes=used.memory_bytes // count)
        for unit in holding.units:
            yield unit, share
