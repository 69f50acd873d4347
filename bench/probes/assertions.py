"""
What must hold of every device, as readings and checks: identity, sums, order of limits, errors that never should be.

A device that does not have the thing (no ECC, no NVLink) is not judged by it: the reading is absent as not supported.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bench.model.check import Check, CheckResult, Relation, Statistic
from bench.model.measurement import Absent, Measurement, Reading, Source, find_readings
from bench.model.units import find_unit
from bench.model.verdict import Verdict
from bench.probes.nvml import Answer, Kind, Plain

Answers = Mapping[str, Answer]

_UUID = re.compile(r"(GPU|MIG)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
REPLAYS = "gpu_link_replays_total"
NOT_UNDER_LOAD = "the device was not under load; a link may rest at idle. Use --burn SECONDS"


def _reading(name: str, uuid: str, statement: str, outcome: float | str) -> Reading:
    labels = {"uuid": uuid}
    if isinstance(outcome, str):
        return Absent(name=name, source=Source.NVML, statement=statement, reason=outcome, labels=labels)
    unit = find_unit(name)
    if unit is None:
        raise ValueError(f"{name!r} does not end in a unit")
    return Measurement(name=name, unit=unit, values=(outcome,), source=Source.NVML, statement=statement, labels=labels)


def _number(answers: Answers, statement: str) -> float | str:
    answer = answers.get(statement)
    if answer is None:
        return "it was not asked for"
    if not answer.is_there:
        return answer.reason
    return float(answer.value) if isinstance(answer.value, int | float) else "the answer is no number"


def _item(answers: Answers, statement: str, place: int | str) -> float | str:
    answer = answers.get(statement)
    if answer is None or not answer.is_there:
        return answer.reason if answer else "it was not asked for"
    held: Plain = None
    if isinstance(answer.value, list) and isinstance(place, int) and place < len(answer.value):
        held = answer.value[place]
    if isinstance(answer.value, dict) and isinstance(place, str):
        held = answer.value.get(place)
    return float(held) if isinstance(held, int | float) else "the answer has no such part"


def _combine(parts: Sequence[float | str]) -> list[float] | str:
    """All numbers, or the first reason why one is missing."""
    for part in parts:
        if isinstance(part, str):
            return part
    return [float(part) for part in parts if not isinstance(part, str)]


def device_readings(uuid: str, answers: Answers) -> Iterator[Reading]:
    """What follows from the answers of one device."""
    for name, statement in (
        ("remap_failures_total", "nvmlDeviceGetRemappedRows"),
        ("remaps_pending_total", "nvmlDeviceGetRemappedRows"),
    ):
        place = 3 if name.startswith("remap_failures") else 2
        yield _reading(name, uuid, statement, _item(answers, statement, place))
    for name, statement in (
        ("retirements_pending_total", "nvmlDeviceGetRetiredPagesPendingStatus"),
        ("uncorrected_errors_total", "nvmlDeviceGetTotalEccErrors(uncorrected aggregate)"),
        ("uncorrected_errors_recent_total", "nvmlDeviceGetTotalEccErrors(uncorrected volatile)"),
    ):
        yield _reading(name, uuid, statement, _number(answers, statement))
    yield _reading("memory_imbalance_bytes", uuid, "nvmlDeviceGetMemoryInfo(v2)", _memory_imbalance(answers))
    yield _reading("power_limits_out_of_order_total", uuid, "nvmlDeviceGetEnforcedPowerLimit", _limits(answers))
    yield _reading("hardware_slowdowns_total", uuid, "nvmlDeviceGetCurrentClocksEventReasons", _slowdowns(answers))
    yield _reading("idle_links_total", uuid, "nvmlDeviceGetNvLinkState", _idle_links(answers))


def _memory_imbalance(answers: Answers) -> float | str:
    parts = _combine(
        [_item(answers, "nvmlDeviceGetMemoryInfo(v2)", key) for key in ("used", "free", "reserved", "total")]
    )
    return parts if isinstance(parts, str) else abs(parts[0] + parts[1] + parts[2] - parts[3])


def _limits(answers: Answers) -> float | str:
    enforced = _number(answers, "nvmlDeviceGetEnforcedPowerLimit")
    limit = _number(answers, "nvmlDeviceGetPowerManagementLimit")
    most = _item(answers, "nvmlDeviceGetPowerManagementLimitConstraints", 1)
    parts = _combine([enforced, limit, most])
    return parts if isinstance(parts, str) else float((parts[0] > parts[1]) + (parts[1] > parts[2]))


# Hardware slowdown, hardware thermal slowdown, power brake. Power caps and idling are a device's daily life.
_HARDWARE_REASONS = (0x8, 0x40, 0x80)


def _slowdowns(answers: Answers) -> float | str:
    reasons = _number(answers, "nvmlDeviceGetCurrentClocksEventReasons")
    if isinstance(reasons, str):
        reasons = _number(answers, "nvmlDeviceGetCurrentClocksThrottleReasons")
    if isinstance(reasons, str):
        return reasons
    return float(sum(bool(int(reasons) & bit) for bit in _HARDWARE_REASONS))


def _idle_links(answers: Answers) -> float | str:
    """Links that are down while others are up; all up and none up are both sound."""
    states = [answer for name, answer in answers.items() if name.startswith("nvmlDeviceGetNvLinkState(")]
    known = [bool(answer.value) for answer in states if answer.is_there]
    if not known:
        return states[0].reason if states else "it was not asked for"
    return float(known.count(False)) if any(known) else 0.0


def identity_readings(devices: Sequence[tuple[int, Answers]], found: Sequence[Answers]) -> Iterator[Reading]:
    """
    Index, uuid and PCI address name each device one to one; `devices` are given with their index.

    `found` holds, for each device, the index that NVML tells when it is looked up by uuid and by PCI address.
    """
    uuids = [str(each["nvmlDeviceGetUUID"].value) for _, each in devices]
    malformed = sum(not _UUID.fullmatch(uuid) for uuid in uuids)
    addresses = [_pci_address(each) for _, each in devices]
    repeated = len(uuids) - len(set(uuids)) + len(addresses) - len(set(addresses))
    pairs = [(index, answer) for (index, _), each in zip(devices, found, strict=True) for answer in each.values()]
    astray = sum(answer.is_there and answer.value != index for index, answer in pairs)
    yield _reading("malformed_uuids_total", "", "nvmlDeviceGetUUID", float(malformed))
    yield _reading("repeated_identities_total", "", "nvmlDeviceGetUUID, nvmlDeviceGetPciInfo", float(repeated))
    yield _reading("identities_astray_total", "", "nvmlDeviceGetHandleByUUID, …ByPciBusId", float(astray))


def _pci_address(answers: Answers) -> str:
    value = answers["nvmlDeviceGetPciInfo"].value
    uuid = str(answers["nvmlDeviceGetUUID"].value)
    return str(value.get("busId", uuid)) if isinstance(value, dict) else uuid


def signal_readings(uuid: str, signals: Sequence[Reading], answers: Answers) -> Iterator[Reading]:
    """What follows from watching the device: energy against power, links under load."""
    mine = {reading.name: reading for reading in find_readings_of(signals, uuid)}
    is_loaded = _is_loaded(mine.get("gpu_busy_time_ratio"))
    energy, power = mine.get("gpu_energy_joules"), mine.get("gpu_power_watts")
    statement = "nvmlDeviceGetTotalEnergyConsumption"
    if not isinstance(energy, Measurement):
        reason = energy.reason if isinstance(energy, Absent) else "it was not watched"
        yield _reading("energy_falls_total", uuid, statement, reason)
    else:
        yield _reading("energy_falls_total", uuid, statement, float((np.diff(energy.values) < 0).sum()))
        yield _reading("energy_to_power_ratio", uuid, statement, _energy_to_power(energy, power))
    yield _reading("link_replays_recent_total", uuid, "nvmlDeviceGetPcieReplayCounter", _rise(mine.get(REPLAYS)))
    for name, current, most in (
        ("link_width_deficit_total", "gpu_link_width_total", "nvmlDeviceGetMaxPcieLinkWidth"),
        ("link_generation_deficit_total", "gpu_link_generation_total", "nvmlDeviceGetMaxPcieLinkGeneration"),
    ):
        yield _reading(name, uuid, most, _deficit(mine.get(current), _number(answers, most), is_loaded=is_loaded))


def _rise(counter: Reading | None) -> float | str:
    """By how much it rose while it was watched."""
    if not isinstance(counter, Measurement):
        return counter.reason if isinstance(counter, Absent) else "it was not watched"
    return float(np.maximum(0.0, np.diff(counter.values)).sum())


def _is_loaded(busy: Reading | None) -> bool:
    """Whether the device was seen busy for most of some moment; a load that ran elsewhere does not count."""
    return isinstance(busy, Measurement) and float(busy.values.max()) >= 0.5


def find_readings_of(signals: Sequence[Reading], uuid: str) -> list[Reading]:
    """The readings that belong to one device."""
    return [
        each for name in dict.fromkeys(s.name for s in signals) for each in find_readings(signals, name, {"uuid": uuid})
    ]


# Below this the renewals of the counter, ten a second, are too coarse for a bound of 10 %.
_LONG_ENOUGH_SECONDS = 2.5
# NVML tells power as a mean over up to a second, and energy at once.
_LATE_SECONDS = 1.0
_UNSTEADY_RATIO = 0.1


def _energy_to_power(energy: Measurement, power: Reading | None) -> float | str:
    """
    Mean power by the counter to that by the readings, which tell of up to a second before.

    By how much they are late is not known, and where the load changes it matters: of all ratios that are possible the
    one nearest to 1 is told, so that a device is blamed for none of it.
    """
    if not isinstance(power, Measurement):
        return power.reason if isinstance(power, Absent) else "power was not watched"
    elapsed = float(energy.times_seconds[-1] - energy.times_seconds[0])
    if elapsed < _LONG_ENOUGH_SECONDS:
        return f"watched for {elapsed:.1f} s only; {_LONG_ENOUGH_SECONDS:g} s are needed"
    start, end = float(energy.times_seconds[0]), float(energy.times_seconds[-1]) - _LATE_SECONDS
    joules = float(np.interp(end, energy.times_seconds, energy.values)) - float(energy.values[0])
    areas = np.concatenate([[0.0], np.cumsum(power.values[:-1] * np.diff(power.times_seconds))])
    late = np.linspace(0.0, _LATE_SECONDS, 11)
    drawn = np.interp(end + late, power.times_seconds, areas) - np.interp(start + late, power.times_seconds, areas)
    if drawn.min() <= 0.0:
        return "no power was drawn"
    ratios = joules / drawn
    if float(np.ptp(ratios)) > _UNSTEADY_RATIO:
        first, last = float(power.values[0]), float(power.values[-1])
        return f"power went from {first:.0f} W to {last:.0f} W; watch a load that is steady, or for longer"
    return float(np.clip(1.0, ratios.min(), ratios.max()))


def _deficit(current: Reading | None, most: float | str, *, is_loaded: bool) -> float | str:
    if isinstance(most, str):
        return most
    if not isinstance(current, Measurement):
        return current.reason if isinstance(current, Absent) else "it was not watched"
    best = float(current.values.max())
    if best >= most:
        return 0.0
    return most - best if is_loaded else NOT_UNDER_LOAD


def _never(name: str, claim: str, because: str) -> Check:
    return Check(
        claim=claim,
        measurement=name,
        statistic=Statistic.MAX,
        relation=Relation.AT_MOST,
        bound=0.0,
        because=because,
    )


CHECKS = (
    _never("malformed_uuids_total", "every uuid has the form NVML gives it", "a uuid is what metrics are joined by"),
    _never("repeated_identities_total", "no two devices share a uuid or PCI address", "samples would be mixed up"),
    _never("identities_astray_total", "index, uuid and PCI address name one device", "samples would be mixed up"),
    Check(
        claim="used, free and reserved memory add up to the total",
        measurement="memory_imbalance_bytes",
        statistic=Statistic.MAX,
        relation=Relation.AT_MOST,
        bound=2.0 * 1048576.0,
        because="nvml.h defines the total as their sum; 2 MiB for what changes between the parts",
    ),
    _never("power_limits_out_of_order_total", "enforced limit ≤ limit ≤ largest", "nvml.h: the enforced is the least"),
    _never("hardware_slowdowns_total", "the hardware does not slow the device down", "see to cooling and power"),
    _never("energy_falls_total", "the energy counter never falls", "nvml.h: since the driver was loaded"),
    Check(
        claim="the energy counter rises at the rate of the power",
        measurement="energy_to_power_ratio",
        statistic=Statistic.LAST,
        relation=Relation.WITHIN,
        bound=1.0,
        tolerance=0.1,
        because="both come from one sensor; dcgmproftester allows 10 % as well",
    ),
    _never("link_width_deficit_total", "the PCIe link has its full width under load", "a lane short halves transfers"),
    _never("link_generation_deficit_total", "the PCIe link runs at its full generation under load", "as for the width"),
    _never("link_replays_recent_total", "no PCIe transfer is repeated", "a bad slot, riser or cable costs bandwidth"),
    _never("idle_links_total", "all NVLinks are up, or none is there", "one that is down halves a pair's bandwidth"),
    _never("remap_failures_total", "no row remapping failed", "the device must be replaced"),
    _never("remaps_pending_total", "no row remapping waits for a reset", "the device must be reset"),
    _never("retirements_pending_total", "no page retirement waits for a reset", "the device must be reset"),
    _never("uncorrected_errors_total", "no uncorrected memory error in the device's life", "data were lost"),
    _never("uncorrected_errors_recent_total", "no uncorrected memory error since the driver came", "data were lost"),
)


def judge_devices(readings: Sequence[Reading]) -> tuple[CheckResult, ...]:
    """Every check of every device; one that the device cannot be asked about is skipped, with the reason."""
    results = []
    for check in CHECKS:
        for reading in find_readings(readings, check.measurement):
            result = check.judge([reading])
            if isinstance(reading, Absent) and _is_lacking(reading.reason):
                result = replace(result, verdict=Verdict.SKIPPED)
            results.append(result)
    return tuple(results)


def _is_lacking(reason: str) -> bool:
    """Whether the device does not have the thing, or was not put under the load that the check is about."""
    return reason.startswith((Kind.NOT_SUPPORTED.value, Kind.NOTHING_THERE.value)) or reason == NOT_UNDER_LOAD
