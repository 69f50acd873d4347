"""
Sorts readings by device: what the probe saw of it, what Prometheus holds of it, and whom its labels name.

Exporters and scrape settings put the pod under different labels. With `honorLabels` false the workload's pod arrives as
``exported_pod``, and ``pod`` is the exporter's own; with true it is ``pod`` itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.analysis.fidelity.attribution import Holding, Key
from bench.analysis.fidelity.clocks import UNKNOWN, Shift
from bench.analysis.signals import Signal, merged
from bench.model.measurement import FloatArray, Measurement, Reading, Source

ENERGY = "gpu_energy_joules"
BUSY = "gpu_busy_time_ratio"
ENGINE = "gpu_engine_active_ratio"
SM_ACTIVE = "gpu_sm_active_ratio"
POWER = "gpu_power_watts"
MEMORY_USED = "gpu_memory_used_bytes"
MEMORY_FREE = "gpu_memory_free_bytes"
MEMORY_RESERVED = "gpu_memory_reserved_bytes"
MEMORY_TOTAL = "gpu_memory_total_bytes"
TEMPERATURE = "gpu_temperature_celsius"
RATIOS = frozenset({BUSY, ENGINE, "gpu_memory_busy_time_ratio", SM_ACTIVE, "gpu_memory_active_ratio"})
HOLDING = "gpu_held_seconds"
"""What a pod held: values are its start and its end, UTC; labels `uuid`, `namespace`, `pod`."""
ASKED_DUTY, ASKED_OCCUPANCY = "asked_duty_ratio", "asked_occupancy_ratio"
"""What a pod did on its device: duty cycles and shares of the device, with the times at which each began."""

_CLOCK_BOUND_SECONDS = 0.25
_UUID_LABELS = ("uuid", "UUID", "gpu_uuid")
_OVERLAPPING_SCRAPES = 2
"""An exporter that is replaced is scraped under its old and its new address for a while."""
_INSTANCE_LABEL = "GPU_I_ID"
"""Of a MIG instance, which is shown beside its device and under the uuid of it."""
_POD_LABELS = (("exported_namespace", "exported_pod"), ("namespace", "pod"), ("pod_namespace", "pod_name"))


def find_uuid(labels: Mapping[str, str]) -> str:
    """The device's uuid among the labels, whatever its name; empty where there is none."""
    return next((labels[name] for name in _UUID_LABELS if labels.get(name)), "")


def find_pod(labels: Mapping[str, str], exporters: frozenset[str]) -> str:
    """``namespace/pod`` that the labels name as the device's user; empty where that is nobody or an exporter."""
    for namespace, pod in _POD_LABELS:
        if labels.get(pod):
            named = f"{labels.get(namespace, '')}/{labels[pod]}"
            return "" if named in exporters else named
    return ""


def find_exporters(readings: Iterable[Reading]) -> frozenset[str]:
    """Pods that are named beside an ``exported_pod``: those are the exporters that were scraped."""
    return frozenset(
        f"{each.labels.get('namespace', '')}/{each.labels['pod']}"
        for each in readings
        if each.labels.get("exported_pod") and each.labels.get("pod")
    )


@dataclass(slots=True)
class Device:
    """All that is known of one device; by quantity, the probe's signal and the pieces that Prometheus holds."""

    uuid: str
    node: str = ""
    instance: str = ""
    """The target that Prometheus scraped; empty where the labels do not tell."""
    shift: Shift = UNKNOWN
    """Already added to the probe's times."""
    memory_total_bytes: float | None = None
    probed: dict[str, Signal] = field(default_factory=dict)
    pieces: dict[str, list[tuple[str, Signal]]] = field(default_factory=lambda: defaultdict(list))
    scrapes_by_target: dict[tuple[str, str], list[FloatArray]] = field(default_factory=lambda: defaultdict(list))
    """By job and instance, when samples were stored."""

    @property
    def shown_again_total(self) -> int:
        """Scrapes of a further target that shows the device while another one does: of a second job or exporter."""
        times = sorted((np.unique(np.concatenate(each)) for each in self.scrapes_by_target.values()), key=np.min)
        again, until = 0, -np.inf
        for each in times:
            beside = int((each <= until).sum())
            again += beside if beside > _OVERLAPPING_SCRAPES else 0
            until = max(until, float(each[-1]))
        return again

    @property
    def named_and_not_times(self) -> FloatArray:
        """When a quantity was stored twice at one time, with the name of a pod and without any."""
        found = [np.empty(0)]
        for pieces in self.pieces.values():
            times = {
                is_named: np.concatenate(
                    [np.empty(0), *(signal.times_seconds for pod, signal in pieces if bool(pod) is is_named)]
                )
                for is_named in (True, False)
            }
            found.append(np.intersect1d(times[True], times[False]))
        together: FloatArray = np.unique(np.concatenate(found))
        return together

    def scraped(self, name: str) -> Signal | None:
        """What Prometheus holds of a quantity, its pieces joined; None where it holds nothing."""
        found = [signal for _, signal in self.pieces.get(name, [])]
        return merged(found) if found else None

    @property
    def is_clock_bad(self) -> bool:
        """Whether its node's clock is not known well enough for ages and alignment to be worth anything."""
        return bool(self.shift.bound_seconds > _CLOCK_BOUND_SECONDS)

    @property
    def scrape_times(self) -> FloatArray:
        """Every time at which Prometheus stored anything of the device."""
        times = [signal.times_seconds for pieces in self.pieces.values() for _, signal in pieces]
        return np.unique(np.concatenate(times)) if times else np.empty(0)


def by_device(readings: Sequence[Reading], shifts: Mapping[str, Shift] = {}) -> dict[str, Device]:  # noqa: B006 (read only)
    """The measurements with a uuid, by device; a probe's times are moved to Prometheus' clock where that is known."""
    exporters = find_exporters(readings)
    devices: dict[str, Device] = {}
    for reading in readings:
        uuid = find_uuid(reading.labels)
        if not uuid or not isinstance(reading, Measurement) or reading.labels.get(_INSTANCE_LABEL):
            continue
        if reading.source is Source.NVML:
            _add_probed(devices.setdefault(uuid, Device(uuid=uuid)), reading, shifts)
        elif reading.source is Source.PROMETHEUS and reading.times_seconds.size:
            device = devices.setdefault(uuid, Device(uuid=uuid))
            device.instance = reading.labels.get("instance", "")
            pod = find_pod(reading.labels, exporters)
            device.pieces[reading.name].append((pod, Signal.of(reading, is_polled=False)))
            target = reading.labels.get("job", ""), device.instance
            device.scrapes_by_target[target].append(reading.times_seconds)
    return devices


def _add_probed(device: Device, reading: Measurement, shifts: Mapping[str, Shift]) -> None:
    device.node = reading.labels.get("node", "")
    if reading.name == MEMORY_TOTAL:
        device.memory_total_bytes = float(reading.values[-1])
    if not reading.times_seconds.size:
        return
    device.shift = shifts.get(device.node, UNKNOWN)
    seen = Signal.of(reading)
    if device.shift.seconds:
        seen = Signal(times_seconds=seen.times_seconds + device.shift.seconds, values=seen.values)
    device.probed[reading.name] = seen


def scrape_grid(devices: Iterable[Device]) -> dict[str, FloatArray]:
    """By device the times at which its exporter was scraped: those of any device of the same target."""
    listed = list(devices)
    together: dict[str, list[FloatArray]] = defaultdict(list)
    for device in listed:
        together[device.instance or device.uuid].append(device.scrape_times)
    joined = {key: np.unique(np.concatenate(times)) for key, times in together.items()}
    return {device.uuid: joined[device.instance or device.uuid] for device in listed}


def scrape_interval_seconds(readings: Iterable[Reading]) -> float | None:
    """The median time between samples that Prometheus has stored; None where it has no two of any series."""
    gaps = [
        np.diff(each.times_seconds)
        for each in readings
        if isinstance(each, Measurement) and each.source is Source.PROMETHEUS and each.times_seconds.size > 1
    ]
    return float(np.median(np.concatenate(gaps))) if gaps else None


def claims_of(devices: Iterable[Device]) -> dict[Key, FloatArray]:
    """When samples of a device carried a pod's labels."""
    found: dict[Key, list[FloatArray]] = defaultdict(list)
    for device in devices:
        for pieces in device.pieces.values():
            for pod, signal in pieces:
                if pod:
                    found[device.uuid, pod].append(signal.times_seconds)
    return {key: np.unique(np.concatenate(times)) for key, times in found.items()}


def holdings_of(readings: Iterable[Reading]) -> list[Holding]:
    """The truth of who held what, from the readings of that name."""
    return [
        Holding(
            uuid=find_uuid(each.labels),
            pod=f"{each.labels.get('namespace', '')}/{each.labels.get('pod', '')}",
            start_seconds=float(each.values[0]),
            end_seconds=float(each.values[-1]),
        )
        for each in readings
        if isinstance(each, Measurement) and each.name == HOLDING
    ]
