"""
The scenario `accelerator-metrics` on a lab, recorded once and judged as often as wanted.

Faults are planted when all pods with work are busy. The lab's own log tells when each exporter really read its devices.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np

from bench.analysis.fidelity.clocks import node_shifts
from bench.analysis.fidelity.devices import by_device
from bench.analysis.fidelity.passes import find_passes
from bench.evidence.judging import Judgement
from bench.lab.faults.planting import clear, plant, planted
from bench.model.check import Check
from bench.model.measurement import FloatArray, Measurement, Reading
from tests.lab.asking import query, wait_until
from tests.lab.running import RunningLab, running_lab, unique_name
from tests.scenarios.trying import judged, made, rig_on

SCENARIO: Final = "accelerator-metrics"
SM_ACTIVE: Final = "DCGM_FI_PROF_SM_ACTIVE"
LAB: Final = ("--gpus", "4", "--gpu-cores", "0.2", "--exporter-fields", SM_ACTIVE)
"""Eight devices, at most six of them with work, half of the time: about one core."""
SHARED: Final = ("--gpus", "2", "--gpu-cores", "0.3", "--time-slices", "2")
"""Each device for two pods."""
UNNAMED, WRONG_SHARES = "sharers_unnamed_total", "shares_wrong_total"
QUICK_INTERVALS: Final = ("--exporter-interval", "1", "--scrape-interval", "1")
START_SECONDS: Final = 90.0
TRIED: Final[Mapping[str, object]] = {"duration_seconds": 30, "start_seconds": 60, "memory_bytes": 1 << 29}

BUSY, POWER, MEMORY = "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_FB_USED"
ENERGY, TEMPERATURE = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "DCGM_FI_DEV_GPU_TEMP"
MEMORY_FREE, ENGINE = "DCGM_FI_DEV_FB_FREE", "DCGM_FI_PROF_GR_ENGINE_ACTIVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planting:
    """A fault, the check that is meant for it, and the device and quantity that the check is to name."""

    fault: str
    place: int | None
    """Which of the devices with work, in the order of their pods; None where it is of none of these."""
    measurement: str
    quantity: str = ""
    arguments: Mapping[str, str]
    devices: int = 2
    """How many have work, where it is planted alone."""
    is_early: bool = False
    """Planted before the run instead of when the devices are busy."""

    def plant(self, lab: str, devices: Sequence[str]) -> None:
        """At its device, if it has one."""
        at = {} if self.place is None else {"device": devices[self.place]}
        plant(lab, self.fault, {**at, **self.arguments})


def _plantings() -> Iterator[Planting]:
    frozen = {"field": BUSY}
    yield Planting(
        fault="series-frozen",
        place=0,
        measurement="frozen_seconds",
        quantity="gpu_busy_time_ratio",
        arguments=frozen,
    )
    late = {"field": POWER, "seconds": "6"}
    yield Planting(
        fault="delayed-series",
        place=1,
        measurement="field_delay_seconds",
        quantity="gpu_power_watts",
        arguments=late,
    )
    yield Planting(
        fault="wrong-unit",
        place=2,
        measurement="unit_factor_ratio",
        quantity="gpu_power_watts",
        arguments={"field": POWER, "factor": "1000"},
    )
    yield Planting(
        fault="sm-active-is-utilization",
        place=1,
        measurement="partial_kernels_hidden_total",
        quantity="gpu_sm_active_ratio",
        arguments={},
    )
    yield Planting(
        fault="sentinel-leaked",
        place=3,
        measurement="sentinels_total",
        quantity="gpu_memory_used_bytes",
        arguments={"field": MEMORY},
    )
    yield Planting(
        fault="counter-reset",
        place=2,
        measurement="counter_resets_total",
        quantity="gpu_energy_joules",
        arguments={"field": ENERGY},
    )
    yield Planting(
        fault="series-dropped",
        place=3,
        measurement="coverage_ratio",
        quantity="gpu_temperature_celsius",
        arguments={"field": TEMPERATURE},
    )
    yield Planting(fault="duplicated-series", place=0, measurement="duplicates_total", arguments={})
    yield Planting(fault="wrong-pod", place=4, measurement="wrong_pods_total", arguments={})
    yield Planting(fault="missing-pod-label", place=5, measurement="missing_labels_total", arguments={})


PLANTINGS: Final = tuple(_plantings())
"""Together in one run: no two of them are of one quantity of one device."""
MORE: Final = (
    Planting(
        fault="wrong-unit",
        place=0,
        measurement="unexplained_error_ratio",
        quantity="gpu_temperature_celsius",
        arguments={"field": TEMPERATURE, "factor": "1.3"},
    ),
    Planting(
        fault="wrong-unit",
        place=0,
        measurement="memory_imbalance_bytes",
        arguments={"field": MEMORY_FREE, "factor": "1.1"},
    ),
    Planting(
        fault="wrong-unit",
        place=0,
        measurement="energy_to_power_ratio",
        quantity="gpu_energy_joules",
        arguments={"field": ENERGY, "factor": "1.3"},
    ),
    Planting(
        fault="wrong-unit",
        place=0,
        measurement="engine_unexplained_ratio",
        quantity="gpu_engine_active_ratio",
        arguments={"field": ENGINE, "factor": "0.5"},
    ),
    Planting(
        fault="wrong-unit",
        place=0,
        measurement="out_of_range_total",
        quantity="gpu_busy_time_ratio",
        arguments={"field": BUSY, "factor": "3"},
    ),
    Planting(
        fault="delayed-series",
        place=0,
        measurement="sample_age_excess_seconds",
        arguments={"field": "", "seconds": "6"},
    ),
    Planting(
        fault="wrong-unit",
        place=0,
        measurement="load_seen_ratio",
        quantity="gpu_busy_time_ratio",
        arguments={"field": BUSY, "factor": "0.5"},
    ),
    Planting(
        fault="slow-stage",
        place=None,
        measurement="view_mismatch_ratio",
        arguments={"stage": "metrics-api", "seconds": "6"},
    ),
    Planting(
        fault="series-dropped",
        place=None,
        measurement="device_unseen_total",
        arguments={"field": "", "device": "3"},
        is_early=True,
    ),
    Planting(fault="scraped-twice", place=None, measurement="duplicates_total", arguments={}),
    # no other pod has a device: the exporter's own pod is named beside the one that has
    Planting(fault="duplicated-series", place=0, measurement="duplicates_total", arguments={}, devices=1),
)
"""Each in a run of its own: one of them may show in other checks of its device too."""
GHOST: Final = "ghosts_total"
"""What finds the fault of the kubelet, which has no device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One run: what it read, what the lab logged meanwhile, and the devices with work."""

    scenario: Any
    readings: tuple[Reading, ...]
    events: tuple[Mapping[str, Any], ...]
    devices: tuple[str, ...]

    def judged(self) -> Judgement:
        return judged(self.scenario, list(self.readings))


def record(
    lab: RunningLab,
    name: str,
    *,
    when_busy: Callable[[Sequence[str]], None] | None = None,
    **settings: object,
) -> Recording:
    """One run; `when_busy` is given the devices with work, in the order of their pods, once all of them are held."""
    scenario: Any = made(SCENARIO, **{**TRIED, **settings})
    readings: list[Reading] = []
    failures: list[BaseException] = []

    def play() -> None:
        try:
            with rig_on(lab.name, name) as rig:
                readings.extend(scenario.run(rig))
        except BaseException as error:  # noqa: BLE001 - told in the thread that waits
            failures.append(error)

    player = threading.Thread(target=play, name=name)
    player.start()
    devices: Sequence[str] = ()
    if when_busy is not None:
        devices = wait_until(lambda: _at_work(lab, scenario.devices), within_seconds=START_SECONDS)
        when_busy(devices)
    player.join()
    if failures:
        raise failures[0]
    events = tuple(json.loads(line) for line in lab.paths.truth.read_text(encoding="utf-8").splitlines())
    return Recording(scenario=scenario, readings=tuple(readings), events=events, devices=tuple(devices))


def _at_work(lab: RunningLab, count: int) -> list[str]:
    """The devices that the pods with work are named at, once there are as many and one of them is full."""
    series = query(lab, f'{BUSY}{{exported_pod=~"burn-.*"}}')
    found = {each["metric"]["exported_pod"]: each["metric"]["UUID"] for each in series}
    is_full = any(float(each["value"][1]) > 50.0 for each in series)
    return [uuid for _, uuid in sorted(found.items())] if is_full and len(found) == count else []


def record_faults(lab: RunningLab) -> Recording:
    """All faults of the devices at once, and a kubelet that lists pods which ended."""

    def plant_all(devices: Sequence[str]) -> None:
        for each in PLANTINGS:
            each.plant(lab.name, devices)
        plant(lab.name, "ghost-pod", {})

    try:
        return record(lab, "fidelity-faults", when_busy=plant_all, devices=6)
    finally:
        clear(lab.name)


def record_one(lab: RunningLab, planting: Planting) -> Recording:
    """One fault by itself."""

    def plant_it(devices: Sequence[str]) -> None:
        planting.plant(lab.name, devices)

    try:
        if planting.is_early:
            plant_it(())
        return record(lab, "fidelity-one", when_busy=None if planting.is_early else plant_it, devices=planting.devices)
    finally:
        clear(lab.name)


def record_shared(name: str, *faults: str, duration_seconds: float) -> Recording:
    """Pods that share devices, on a lab of their own."""
    with running_lab(unique_name(f"fidelity-{name}"), *SHARED, *QUICK_INTERVALS) as lab, ExitStack() as wrong:
        for fault in faults:
            wrong.enter_context(planted(lab.name, fault))
        return record(lab, f"fidelity-{name}", duration_seconds=duration_seconds, dwell_seconds=2.0)


def record_slow(lab: RunningLab) -> Recording:
    """An exporter that collects six times less often than it says."""
    plant(lab.name, "exporter-slow", {"factor": "6"})
    try:
        return record(lab, "fidelity-slow", devices=2, dwell_seconds=8.0, duration_seconds=30)
    finally:
        clear(lab.name)


def verdicts(judgement: Judgement, verdict: str) -> set[str]:
    """The measurements of the checks with this verdict."""
    return {check.measurement for check in judgement.checks if check.verdict == verdict}


def blamed(judgement: Judgement, measurement: str) -> set[tuple[str, str]]:
    """Device and quantity of each reading that keeps no bound."""
    return {
        (each.labels.get("uuid", ""), each.labels.get("quantity", ""))
        for each in judgement.derived
        if each.name == measurement and isinstance(each, Measurement) and _is_bad(each)
    }


def _is_bad(reading: Measurement) -> bool:
    """As the check that judges it says."""
    check = _checks()[reading.name]
    return not check.relation.holds(check.statistic.of(reading.values), check)


@cache
def _checks() -> Mapping[str, Check]:
    return {check.measurement: check for check in made(SCENARIO).checks()}


SERVED_SECONDS: Final = 0.1
"""From Prometheus' stamp until the exporter has answered: a pass that comes meanwhile may be what it shows."""


def age_errors_seconds(recording: Recording) -> FloatArray:
    """The ages that were told, of all devices, less the true ones: to the middle of the pass that the lab logged."""
    devices = by_device(recording.readings, node_shifts(recording.readings))
    energies = find_passes(list(devices.values()), recording.readings).energies
    errors = []
    for uuid, energy in energies.items():
        logged = [event for event in recording.events if _is_pass(event, devices[uuid].node)]
        passes = np.array([(each["began_utc_seconds"] + each["ended_utc_seconds"]) / 2.0 for each in logged])
        last = np.searchsorted(passes, energy.times_seconds) - 1
        before = energy.times_seconds - passes[np.maximum(last, 0)]
        after = energy.times_seconds - passes[np.minimum(last + 1, passes.size - 1)]
        is_after = (after >= -SERVED_SECONDS) & (
            np.abs(energy.ages_seconds - after) < np.abs(energy.ages_seconds - before)
        )
        known = (last >= 0) & np.isfinite(energy.ages_seconds)
        errors.append((energy.ages_seconds - np.where(is_after, after, before))[known])
    return np.concatenate(errors)


def _is_pass(event: Mapping[str, Any], node: str) -> bool:
    return event["event"] == "exporter-refreshed" and event["node"] == node
