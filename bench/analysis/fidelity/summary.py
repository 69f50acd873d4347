"""
The dimensions of fidelity as readings, so that checks can be asked of them: one pass over a run, pure.

What cannot be told is absent with its reason: a device without probe has no ages, a run without holdings no
attribution. Each fault has one dimension that shows it: blanks are taken out before ranges, a wrong unit's factor
before agreement, repeats before ages.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.fidelity import transport
from bench.analysis.fidelity.age import CollectInterval, collect_interval, lag, sample_ages, staleness
from bench.analysis.fidelity.agreement import Agreement, aligned, unaligned, unit_factor
from bench.analysis.fidelity.agreement import nearest as nearest_values
from bench.analysis.fidelity.attribution import attribute, conservation_ratio, label_delays
from bench.analysis.fidelity.devices import (
    BUSY,
    ENERGY,
    ENGINE,
    MEMORY_USED,
    POWER,
    Device,
    by_device,
    claims_of,
    holdings_of,
)
from bench.analysis.signals import Signal
from bench.model.measurement import NO_LABELS, Absent, FloatArray, Floats, Measurement, Reading, Source
from bench.model.units import find_unit

_STATEMENT = "bench.analysis.fidelity"
_RATIOS = frozenset({BUSY, ENGINE})
_COMPARED = (BUSY, ENGINE, MEMORY_USED, POWER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the analysis must know of the run: its window, the scrape interval, and the clocks' difference."""

    start_seconds: float
    end_seconds: float
    scrape_seconds: float
    clock_offset_seconds: float = 0.0


def _told(name: str, values: Floats, device: str = "", quantity: str = "") -> Measurement:
    labels = {key: text for key, text in (("uuid", device), ("quantity", quantity)) if text}
    unit = find_unit(name)
    if unit is None:
        raise ValueError(f"{name!r} does not end in a unit")
    return Measurement(
        name=name, unit=unit, values=values, source=Source.ANALYSIS, statement=_STATEMENT, labels=labels or NO_LABELS
    )


def _absent(name: str, reason: str, device: str = "") -> Absent:
    labels = {"uuid": device} if device else NO_LABELS
    return Absent(name=name, source=Source.ANALYSIS, statement=_STATEMENT, reason=reason, labels=labels)


def fidelity_readings(readings: Sequence[Reading], settings: Settings) -> Iterator[Reading]:
    """All dimensions, device by device, and then those of the whole run."""
    devices = by_device(readings)
    for device in devices.values():
        yield from _of_device(device, settings)
    probed = sum(bool(device.probed) for device in devices.values())
    if devices:
        yield _told("probed_devices_ratio", (probed / len(devices),))
    if not probed:
        yield _absent("sample_age_seconds", "no probe watched any device")
    yield from _of_attribution(readings, devices.values(), settings)


def _of_device(device: Device, settings: Settings) -> Iterator[Reading]:
    for name in sorted(device.pieces):
        yield from _of_transport(device, name, settings)
    yield from _of_series(device, settings)
    if not device.probed:
        return  # of many devices a few are probed; how many, `probed_devices_ratio` tells
    yield from _of_sharing(device)
    yield from _of_lag(device, settings)
    energy, probe = device.scraped(ENERGY), device.probed.get(ENERGY)
    if energy is None or probe is None:
        missing = "Prometheus has no energy counter of it" if energy is None else "NVML has no energy counter of it"
        yield _absent("sample_age_seconds", missing, device.uuid)
        return
    ages = sample_ages(probe, energy) - settings.clock_offset_seconds
    yield from _of_age(device, energy, ages, settings)
    for name in _COMPARED:
        scraped, probed = _clean(device, name), device.probed.get(name)
        if scraped is not None and probed is not None:
            yield from _of_agreement(device.uuid, name, scraped, (probed, energy, _fresh(ages, energy)))


def _fresh(ages: FloatArray, energy: Signal) -> FloatArray:
    """Ages of the samples that show a reading for the first time; NaN of repeats, whose age is that of the cache."""
    is_fresh = np.concatenate([[False], np.diff(energy.values) != 0])
    return np.where(is_fresh, ages, np.nan)


def _clean(device: Device, name: str) -> Signal | None:
    """What Prometheus holds without blanks and in the unit of the probe; None where nothing is left."""
    scraped = device.scraped(name)
    if scraped is None:
        return None
    is_value = ~transport.sentinels(scraped.values)
    times, values = scraped.times_seconds[is_value], scraped.values[is_value]
    return Signal(times_seconds=times, values=values / (_factor(device, name) or 1.0)) if times.size else None


def _factor(device: Device, name: str) -> float | None:
    """The factor between exported and probed values; of counters too, since they are compared over minutes."""
    scraped, probed = device.scraped(name), device.probed.get(name)
    if scraped is None or probed is None:
        return None
    near = nearest_values(probed, scraped.times_seconds)
    seen = ~transport.sentinels(scraped.values) & np.isfinite(near)
    # both are sorted: late samples disorder the pairs, not the distribution
    return unit_factor(np.sort(scraped.values[seen]), np.sort(near[seen]))


def _of_transport(device: Device, name: str, settings: Settings) -> Iterator[Reading]:
    signal, clean, uuid = device.scraped(name), _clean(device, name), device.uuid
    if signal is None:
        return
    covered = transport.coverage(
        signal.times_seconds,
        start_seconds=settings.start_seconds,
        end_seconds=settings.end_seconds,
        scrape_seconds=settings.scrape_seconds,
    )
    bound = transport.Bound.RATIO if name in _RATIOS else transport.Bound.NOT_NEGATIVE
    yield _told("coverage_ratio", (covered.share.estimate,), uuid, name)
    yield _told("longest_gap_seconds", (covered.longest_gap_seconds,), uuid, name)
    yield _told("sentinels_total", (int(transport.sentinels(signal.values).sum()),), uuid, name)
    if clean is not None:
        yield _told("out_of_range_total", (transport.out_of_range_total(clean.values, bound),), uuid, name)
    factor = _factor(device, name)
    if factor is not None:
        yield _told("unit_factor_ratio", (factor,), uuid, name)


def _of_series(device: Device, settings: Settings) -> Iterator[Reading]:
    pieces = [signal for group in device.pieces.values() for _, signal in group if signal.times_seconds.size]
    if not pieces:
        return
    found = transport.cardinality(
        np.array([each.times_seconds[0] for each in pieces]),
        np.array([each.times_seconds[-1] for each in pieces]),
        start_seconds=settings.start_seconds,
        end_seconds=settings.end_seconds,
    )
    yield _told("series_total", (found.present_total,), device.uuid)
    # all quantities change hands together; the one with most pieces shows every hand-over
    longest = max(device.pieces.values(), key=len)
    yield _told("new_series_per_second", (found.new_per_hour / 3600.0,), device.uuid)
    overs = transport.hand_overs([signal for _, signal in longest], scrape_seconds=settings.scrape_seconds)
    if overs:
        yield _told("hand_over_gap_seconds", [each.gap_seconds for each in overs], device.uuid)
        yield _told("hand_over_overlap_seconds", [each.overlap_seconds for each in overs], device.uuid)


def _of_sharing(device: Device) -> Iterator[Reading]:
    """What the pods of a shared device were told, added up, against the device; 1 where it was divided."""
    probed = device.probed.get(BUSY)
    pods = [signal for pod, signal in device.pieces.get(BUSY, []) if pod and signal.times_seconds.size]
    if probed is None or len(pods) < 2:
        return
    start = max(float(each.times_seconds[0]) for each in pods)
    end = min(float(each.times_seconds[-1]) for each in pods)
    times = np.unique(np.concatenate([each.times_seconds for each in pods]))
    times = times[(times >= start) & (times <= end)]
    if times.size < 3:
        return  # one after the other is no sharing
    ratio = conservation_ratio(np.array([each.at(times) for each in pods]), nearest_values(probed, times))
    if np.isfinite(ratio):
        yield _told("conservation_ratio", (ratio,), device.uuid, BUSY)


def _of_lag(device: Device, settings: Settings) -> Iterator[Reading]:
    scraped, probed = _clean(device, BUSY), device.probed.get(BUSY)
    if scraped is None or probed is None:
        return
    found = lag(probed, scraped, max_seconds=4.0 * settings.scrape_seconds)
    if found is not None:
        yield _told("lag_seconds", (found.seconds,), device.uuid, BUSY)
        yield _told("lag_explained_ratio", (found.r_squared,), device.uuid, BUSY)


def _of_age(device: Device, energy: Signal, ages: Floats, settings: Settings) -> Iterator[Reading]:
    known = np.asarray(ages)[np.isfinite(ages)]
    if known.size == 0:
        yield _absent("sample_age_seconds", "no exported energy value lies in what the probe saw", device.uuid)
        return
    yield _told("sample_age_seconds", known, device.uuid)
    fresh = _fresh(np.asarray(ages), energy)
    if np.isfinite(fresh).any():
        yield _told("fresh_age_seconds", fresh[np.isfinite(fresh)], device.uuid)
    interval = collect_interval(np.asarray(ages), energy)
    yield from _of_interval(device.uuid, interval)
    collect = interval.at_most_seconds if interval else settings.scrape_seconds
    stale = staleness(energy, collect_seconds=collect, scrape_seconds=settings.scrape_seconds)
    if stale.scrapes_total:
        yield _told("stale_ratio", (stale.ratio,), device.uuid)
    power = device.probed.get(POWER)
    if power is not None:
        counted = transport.counter(energy, mean_rate_per_second=float(power.values.mean()))
        yield _told("counter_resets_total", (counted.resets_total,), device.uuid, ENERGY)
        yield _told("energy_to_power_ratio", (counted.rate_ratio,), device.uuid, ENERGY)


def _of_interval(uuid: str, interval: CollectInterval | None) -> Iterator[Reading]:
    if interval is None:
        yield _absent("collect_interval_most_seconds", "fewer than three samples have an age", uuid)
        return
    yield _told("collect_interval_least_seconds", (interval.at_least_seconds,), uuid)
    yield _told("collect_interval_most_seconds", (interval.at_most_seconds,), uuid)


def _of_agreement(uuid: str, name: str, scraped: Signal, truth: tuple[Signal, Signal, Floats]) -> Iterator[Reading]:
    probed, energy, energy_ages = truth
    # fields are read in one pass with energy, so the age of the energy sample of that scrape is theirs
    ages = _ages_at(scraped, energy, np.asarray(energy_ages))
    way, consumer = aligned(scraped, probed, ages), unaligned(scraped, probed)
    yield from _errors("aligned", way, uuid, name, scale=_scale(name, probed))
    yield from _errors("unaligned", consumer, uuid, name, scale=_scale(name, probed))


def _ages_at(scraped: Signal, energy: Signal, ages: FloatArray) -> FloatArray:
    if scraped.times_seconds.size == energy.times_seconds.size and np.array_equal(
        scraped.times_seconds, energy.times_seconds
    ):
        return ages
    return Signal(times_seconds=energy.times_seconds, values=ages).at(scraped.times_seconds)


def _scale(name: str, probed: Signal) -> float:
    """Errors of ratios are told as they are, others relative to the largest true value."""
    return 1.0 if name in _RATIOS else max(float(np.abs(probed.values).max()), 1e-12)


def _errors(kind: str, found: Agreement | None, uuid: str, name: str, *, scale: float) -> Iterator[Reading]:
    if found is not None:
        yield _told(f"{kind}_bias_ratio", (found.bias / scale,), uuid, name)
        yield _told(f"{kind}_error_ratio", (found.mean_absolute / scale,), uuid, name)


def _of_attribution(readings: Sequence[Reading], devices: Iterable[Device], settings: Settings) -> Iterator[Reading]:
    holdings = holdings_of(readings)
    if not holdings:
        yield _absent("attribution_precision_ratio", "nobody told which pod held which device")
        return
    listed = list(devices)
    claims = claims_of(listed)
    found = attribute(
        claims,
        {device.uuid: device.scrape_times for device in listed},
        holdings,
        guard_seconds=2.0 * settings.scrape_seconds,
    )
    yield _told("attribution_precision_ratio", (found.precision_ratio,))
    yield _told("attribution_recall_ratio", (found.recall_ratio,))
    yield _told("missing_labels_total", (found.missing_total,))
    yield _told("wrong_pods_total", (found.wrong_total,))
    yield _told("ghosts_total", (found.ghost_total,))
    yield _told("duplicates_total", (found.duplicate_total,))
    delays = label_delays(claims, holdings)
    if delays.appear_seconds:
        yield _told("label_appears_seconds", delays.appear_seconds)
        yield _told("label_lingers_seconds", delays.linger_seconds)
    yield _told("labels_never_total", (delays.never_total,))
