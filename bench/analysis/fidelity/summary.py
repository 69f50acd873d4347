"""
The dimensions of fidelity as readings, so that checks can be asked of them: one pass over a run, pure.

What cannot be told is absent with its reason: a device without probe has no ages, a run without holdings no
attribution. Each fault has one dimension that shows it: see `screening` for values and `naming` for labels.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.fidelity import transport
from bench.analysis.fidelity.advised import advised
from bench.analysis.fidelity.age import CollectInterval, lag, staleness
from bench.analysis.fidelity.agreement import Agreement, aligned, cumulated, nearest, regress, unaligned
from bench.analysis.fidelity.clocks import node_shifts
from bench.analysis.fidelity.comparing import COMPARED, NVML_WINDOW_SECONDS, excess_ratios, scale_of
from bench.analysis.fidelity.devices import (
    BUSY,
    ENERGY,
    ENGINE,
    MEMORY_FREE,
    MEMORY_RESERVED,
    MEMORY_USED,
    POWER,
    RATIOS,
    Device,
    by_device,
    holdings_of,
    scrape_grid,
)
from bench.analysis.fidelity.kernels import find_parts, of_parts
from bench.analysis.fidelity.naming import of_naming, of_series, of_sharing
from bench.analysis.fidelity.passes import Passes, find_passes
from bench.analysis.fidelity.responding import of_response
from bench.analysis.fidelity.screening import Screened, at_its_scrape, screen
from bench.analysis.fidelity.told import absent, told
from bench.analysis.fidelity.view import view_readings
from bench.analysis.intervals import block_bootstrap_interval, wilson_interval
from bench.analysis.signals import Signal
from bench.model.measurement import FloatArray, Reading

AGE_FLOOR_SECONDS = 0.3
"""NVML renews energy each 0.1 s, an exporter's pass and a scrape take their time; nothing finer can be told."""
AGE_FLOOR_RATIO = 0.05
"""Of the collect interval: passes are late on a busy node."""
_MEANING_RATIO = 0.1
"""dcgmproftester's own tolerance."""
_QUANTUM_RATIO = 0.02
_HALF = 0.5
_LEAST_TELLING = 3
_LEAST_RISES = 3
"""Of a counter, from one pass to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the analysis must know of the run: its window and the scrape interval."""

    start_seconds: float
    end_seconds: float
    scrape_seconds: float


def fidelity_readings(readings: Sequence[Reading], settings: Settings) -> Iterator[Reading]:
    """All dimensions, device by device, and then those of the whole run."""
    devices = by_device(readings, node_shifts(readings))
    listed = list(devices.values())
    passes = find_passes(listed, readings)
    grids = scrape_grid(listed)
    holdings = holdings_of(readings)
    fields = _fields_by_target(listed)
    for device in listed:
        due = fields[device.instance or device.uuid] | (set(device.probed) if device.pieces else set())
        yield from _of_coverage(device, due & _known(fields), grids[device.uuid], settings)
        yield from of_series(device, settings.start_seconds, settings.end_seconds)
        yield from of_sharing(device, holdings)
        yield from _of_device(device, passes, settings)
    probed = [device for device in listed if device.probed]
    if listed:
        yield told("probed_devices_ratio", (len(probed) / len(listed),))
    if not probed:
        yield absent("sample_age_seconds", "no probe watched any device")
    for device in probed:
        yield told("device_unseen_total", (float(not device.pieces),), device.uuid)
    yield from of_naming(listed, holdings, grids, settings.scrape_seconds)
    yield from of_response(listed, readings)
    parts = find_parts(listed, readings, passes)
    yield from of_parts(parts)
    yield from view_readings(readings)
    yield from advised(readings, passes.collects, settings.scrape_seconds, parts)


def _fields_by_target(devices: Sequence[Device]) -> dict[str, set[str]]:
    fields: dict[str, set[str]] = {}
    for device in devices:
        fields.setdefault(device.instance or device.uuid, set()).update(device.pieces)
    return fields


def _known(fields: dict[str, set[str]]) -> set[str]:
    """Quantities that any exporter shows: one that none does is not configured, and not lost."""
    return set().union(*fields.values())


def _of_coverage(device: Device, due: set[str], grid: FloatArray, settings: Settings) -> Iterator[Reading]:
    """By quantity, the share of its exporter's scrapes with a sample; and how many of the due scrapes were made."""
    scrapes = grid[(grid >= settings.start_seconds) & (grid <= settings.end_seconds)]
    if not scrapes.size:
        return
    whole = transport.coverage(
        scrapes,
        start_seconds=settings.start_seconds,
        end_seconds=settings.end_seconds,
        scrape_seconds=settings.scrape_seconds,
    )
    yield told("scrape_coverage_ratio", (whole.share.high,), device.uuid)
    yield told("longest_gap_seconds", (whole.longest_gap_seconds,), device.uuid)
    for name in sorted(due):
        raw = device.scraped(name)
        there = int(np.isin(scrapes, raw.times_seconds).sum()) if raw is not None else 0
        # the upper end: of few scrapes one that is lost is no finding
        yield told("coverage_ratio", (wilson_interval(there, int(scrapes.size)).high,), device.uuid, name)


def _of_device(device: Device, passes: Passes, settings: Settings) -> Iterator[Reading]:
    energy = passes.energies.get(device.uuid)
    is_watched = bool(device.probed)
    ages = passes.ages_of(device) if is_watched and not device.is_clock_bad else None
    screened = {ENERGY: energy} if energy is not None else {}
    for name in device.pieces:
        if name != ENERGY or energy is None:
            found = screen(device, name, ages)
            if found is not None:
                screened[name] = found
    for name in sorted(screened):
        yield from _of_values(device.uuid, screened[name])
    if not is_watched:
        return  # of many devices a few are probed; how many, `probed_devices_ratio` tells
    yield from _of_memory(device, screened)
    yield from _of_age(device, energy, passes, settings)
    for name in COMPARED:
        if name in screened and name in device.probed:
            yield from _of_agreement(device, screened[name])
    yield from _of_controls(device, screened.get(BUSY))
    yield from _of_lag(device, screened.get(BUSY), settings)
    yield from _of_meaning(device, screened.get(ENGINE), passes)


def _of_values(uuid: str, found: Screened) -> Iterator[Reading]:
    bound = transport.Bound.RATIO if found.name in RATIOS else transport.Bound.NOT_NEGATIVE
    yield told("sentinels_total", (found.sentinels_total,), uuid, found.name)
    if found.values.size:
        yield told("out_of_range_total", (transport.out_of_range_total(found.values, bound),), uuid, found.name)
    if found.factor is not None:
        yield told("unit_factor_ratio", (found.factor,), uuid, found.name)
    if found.name in (*COMPARED, ENERGY):
        yield told("frozen_seconds", (found.frozen_seconds,), uuid, found.name)


def _of_memory(device: Device, screened: dict[str, Screened]) -> Iterator[Reading]:
    """Used, free and reserved together against the whole, where nothing else is wrong with any of them."""
    parts = [screened.get(name) for name in (MEMORY_USED, MEMORY_FREE, MEMORY_RESERVED)]
    total = device.memory_total_bytes
    there = [each for each in parts if each is not None and each.values.size]
    is_clean = all(
        not each.sentinels_total and each.factor in (None, 1.0) and not each.frozen_seconds and each.delay is None
        for each in there
    )
    if total is None or len(there) < 3 or not is_clean:
        return
    times = there[0].times_seconds
    for each in there[1:]:
        times = times[np.isin(times, each.times_seconds)]
    used, free, reserved = (each.signal.at(times) for each in there)
    if times.size:
        imbalance = transport.memory_imbalance_bytes(used, free, reserved, total)
        yield told("memory_imbalance_bytes", (float(np.median(np.abs(imbalance))),), device.uuid)


def _of_age(device: Device, energy: Screened | None, passes: Passes, settings: Settings) -> Iterator[Reading]:
    if energy is None:
        missing = (
            "NVML has no energy counter of it" if device.pieces.get(ENERGY) else "Prometheus has no energy counter"
        )
        yield absent("sample_age_seconds", f"{missing}: {device.uuid}", device.uuid)
        return
    if device.is_clock_bad:
        reason = f"the clocks are known to {device.shift.bound_seconds:.2f} s only"
        yield absent("sample_age_seconds", reason, device.uuid)
        return
    collect = passes.collects.get(device.node)
    known = energy.ages_seconds[np.isfinite(energy.ages_seconds)]
    if known.size == 0:
        yield absent("sample_age_seconds", "no exported energy value lies in what the probe saw", device.uuid)
    else:
        yield from _of_known_ages(device.uuid, energy, collect)
    yield from _of_interval(device.uuid, collect)
    interval = collect.at_most_seconds if collect else settings.scrape_seconds
    stale = staleness(energy.signal, collect_seconds=interval, scrape_seconds=settings.scrape_seconds)
    if stale.scrapes_total:
        yield told("stale_ratio", (stale.ratio,), device.uuid)
        yield told("stale_expected_ratio", (stale.expected_ratio,), device.uuid)
    yield from _of_counter(device, energy, passes.ages_of(device))


def _of_known_ages(uuid: str, energy: Screened, collect: CollectInterval | None) -> Iterator[Reading]:
    is_known = np.isfinite(energy.ages_seconds)
    yield told("sample_age_seconds", energy.ages_seconds[is_known], uuid)
    is_fresh = is_known & np.concatenate([[False], np.diff(energy.values) != 0])
    if is_fresh.any():
        yield told("fresh_age_seconds", energy.ages_seconds[is_fresh], uuid)
    if collect is not None:
        floor = AGE_FLOOR_SECONDS + AGE_FLOOR_RATIO * collect.at_most_seconds
        oldest = float(np.quantile(energy.ages_seconds[is_known], 0.95, method="inverted_cdf"))
        yield told("sample_age_excess_seconds", (oldest - collect.at_most_seconds - floor,), uuid)


def _of_counter(device: Device, energy: Screened, ages: Signal | None) -> Iterator[Reading]:
    """How often the counter fell, and how it rose against power from pass to pass, those that it fell in left out."""
    power = device.probed.get(POWER)
    steps = np.diff(energy.values)
    yield told("counter_resets_total", (int((steps < 0).sum()),), device.uuid, ENERGY)
    if power is None or energy.frozen_seconds:
        return
    read = energy.times_seconds - _ages_or_none(ages, energy.times_seconds)
    true = np.diff(cumulated(power, read))
    rises = np.isfinite(true) & (steps >= 0)
    if int(rises.sum()) < _LEAST_RISES or float(np.diff(read)[rises].sum()) < np.ptp(power.times_seconds) / 2.0:
        return  # over a short time the device's own lag of power behind energy is seen
    if true[rises].sum() > 0:
        yield told("energy_to_power_ratio", (float(steps[rises].sum() / true[rises].sum()),), device.uuid, ENERGY)


def _ages_or_none(ages: Signal | None, times_seconds: FloatArray) -> FloatArray:
    """
    Ages at these scrapes, NaN where one is not known; zeros where hardly any is.

    A value that the device never had has no age of its own, and was read with those of its neighbours all the same. A
    lone device whose every value is such a one has the scrapes only: they are late by much the same each time, and
    what the counter rose between two of them says enough of a wrong rate.
    """
    none = np.zeros(times_seconds.shape)
    known = at_its_scrape(ages, times_seconds) if ages is not None else none
    return known if int(np.isfinite(known).sum()) > _LEAST_RISES else none


def _of_interval(uuid: str, interval: CollectInterval | None) -> Iterator[Reading]:
    if interval is None:
        yield absent("collect_interval_most_seconds", "fewer than three samples have an age", uuid)
        return
    yield told("collect_interval_least_seconds", (interval.at_least_seconds,), uuid)
    yield told("collect_interval_most_seconds", (interval.at_most_seconds,), uuid)


def _of_agreement(device: Device, found: Screened) -> Iterator[Reading]:
    probed, scale = device.probed[found.name], scale_of(found.name, device.probed[found.name])
    sound, ages = found.sound, found.sound_ages
    yield from _errors("aligned", aligned(sound, probed, ages), device.uuid, found.name, scale=scale)
    yield from _errors("unaligned", unaligned(sound, probed), device.uuid, found.name, scale=scale)
    excess = excess_ratios(found.name, sound.values, probed, sound.times_seconds - ages)
    excess = excess[np.isfinite(excess)]
    if excess.size:
        late = found.delay
        yield told("field_delay_seconds", (max(0.0, late.low_seconds) if late else 0.0,), device.uuid, found.name)
        if late:
            bounds = (late.low_seconds, late.seconds, late.high_seconds)
            yield told("field_delay_interval_seconds", bounds, device.uuid, found.name)
        interval = block_bootstrap_interval(excess, seed=1) if excess.any() else None
        spread = (interval.low, interval.estimate, interval.high) if interval else (0.0, 0.0, 0.0)
        # the lower end: what may be chance is no finding
        yield told("unexplained_error_ratio", spread[:1], device.uuid, found.name)
        yield told("unexplained_error_interval_ratio", spread, device.uuid, found.name)


def _errors(kind: str, found: Agreement | None, uuid: str, name: str, *, scale: float) -> Iterator[Reading]:
    """In parts of the metric's scale; the limits are those between which 95 % of differences lie, and their middle."""
    if found is None:
        return
    limits = (found.limit_low, found.bias, found.limit_high)
    yield told(f"{kind}_bias_ratio", (found.bias / scale,), uuid, name)
    yield told(f"{kind}_error_ratio", (found.mean_absolute / scale,), uuid, name)
    yield told(f"{kind}_error_rms_ratio", (found.root_mean_square / scale,), uuid, name)
    yield told(f"{kind}_error_p95_ratio", (found.p95_absolute / scale,), uuid, name)
    yield told(f"{kind}_limits_ratio", tuple(each / scale for each in limits), uuid, name)
    if math.isfinite(found.normalised_ratio):
        # to what the device went through meanwhile; a device that stood still has no such range
        yield told(f"{kind}_error_rms_to_range_ratio", (found.normalised_ratio,), uuid, name)


_IDLE_RATIO, _LOADED_RATIO = 0.10, 0.90


def _of_controls(device: Device, busy: Screened | None) -> Iterator[Reading]:
    """What the metric showed of a device that was read at rest and full; of others it can show neither."""
    truth = device.probed.get(BUSY)
    if busy is None or truth is None or not busy.is_sound.any():
        return
    true = nearest(truth, busy.sound.times_seconds - busy.sound_ages)
    true = true[np.isfinite(true)]
    if true.size and true.min() <= _IDLE_RATIO / 2 and true.max() >= _LOADED_RATIO + _IDLE_RATIO / 2:
        yield told("idle_seen_ratio", (float(busy.sound.values.min()),), device.uuid, BUSY)
        yield told("load_seen_ratio", (float(busy.sound.values.max()),), device.uuid, BUSY)


def _of_lag(device: Device, busy: Screened | None, settings: Settings) -> Iterator[Reading]:
    probed = device.probed.get(BUSY)
    if busy is None or probed is None:
        return
    found = lag(probed, busy.sound, max_seconds=4.0 * settings.scrape_seconds)
    if found is not None:
        yield told("lag_seconds", (found.seconds,), device.uuid, BUSY)
        yield told("lag_explained_ratio", (found.r_squared,), device.uuid, BUSY)


def _of_meaning(device: Device, engine: Screened | None, passes: Passes) -> Iterator[Reading]:
    """
    The profiling counter, a mean over the collect interval, against NVML's utilisation in and about that interval.

    NVML's own window (up to a second) blurs what happened when, so the mean has to lie between the least and the most
    that NVML showed. A device that rests, or changes all the time, refutes little: those times are judged by themselves
    at which it was surely busy, and at which it surely was not. A slope is told where the levels alone decide it.
    """
    probed, collect = device.probed.get(BUSY), passes.collects.get(device.node)
    if engine is None or probed is None or collect is None or not engine.values.size:
        return
    ends = engine.times_seconds - engine.ages_seconds
    offsets = np.linspace(-collect.seconds - NVML_WINDOW_SECONDS / 2, NVML_WINDOW_SECONDS, 60)
    about = nearest(probed, (ends[:, np.newaxis] + offsets).ravel()).reshape(ends.size, offsets.size)
    low, high = about.min(axis=1), about.max(axis=1)
    outside = np.maximum(low * (1.0 - _MEANING_RATIO) - engine.values, engine.values - high * (1.0 + _MEANING_RATIO))
    excess = np.maximum(0.0, outside - _QUANTUM_RATIO)
    seen = np.isfinite(excess)
    if seen.any():
        telling = (excess[seen & (low >= _HALF)], excess[seen & (high <= _HALF)])
        # the lower end: of few such times one at an edge is no finding
        worst = [block_bootstrap_interval(each, seed=1).low for each in telling if each.size >= _LEAST_TELLING]
        yield told("engine_unexplained_ratio", (max([float(excess[seen].mean()), *worst]),), device.uuid, ENGINE)
    is_steady = high - low <= _MEANING_RATIO
    found = regress(((low + high) / 2.0)[is_steady], engine.values[is_steady])
    if found is not None and float(np.ptp(low[is_steady])) > 0.5:
        yield told("engine_to_busy_slope_ratio", (found.low, found.slope, found.high), device.uuid, ENGINE)
