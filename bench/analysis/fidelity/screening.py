"""
What is wrong with one exported quantity by itself, and which of its samples can be held against the device.

A fault blames one question: blanks are taken out before anything else, a factor of units is divided out, a series that
stands still is left out, and one that comes late is compared as late as it comes. What is left and still differs is an
error of the values.
"""

from dataclasses import dataclass

import numpy as np

from bench.analysis.fidelity import transport
from bench.analysis.fidelity.age import CollectInterval, sample_ages
from bench.analysis.fidelity.agreement import nearest, unit_factor
from bench.analysis.fidelity.devices import BUSY, ENERGY, MEMORY_USED, POWER, RATIOS, TEMPERATURE, Device
from bench.analysis.fidelity.transport import BoolArray
from bench.analysis.signals import Signal
from bench.model.measurement import FloatArray

COMPARED = (BUSY, MEMORY_USED, POWER, TEMPERATURE)
"""Quantities of which NVML has the same, and that move slowly enough to be read twice alike."""

_QUANTA = {BUSY: 0.011, MEMORY_USED: 1048576.0, TEMPERATURE: 1.0}
"""What rounding alone makes of a value: whole percents, MiB and degrees."""
_BLUR_SECONDS = 0.15
"""Two readings of one device are no nearer in time than the probe's period, NVML's renewal and a pass allow."""
_LEAST_STUCK = 3
_SOUND_RATIO = 0.02
_DELAY_STEP_SECONDS, _DELAY_MAX_SECONDS = 0.1, 90.0
_EXPLAINED = 0.35
_FEW_STANDS = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Screened:
    """Samples in the probe's unit without blanks, their ages (NaN: unknown), and what was found."""

    name: str
    times_seconds: FloatArray
    values: FloatArray
    ages_seconds: FloatArray
    is_sound: BoolArray
    sentinels_total: int
    factor: float | None
    frozen_seconds: float = 0.0
    delay_seconds: float = 0.0

    @property
    def signal(self) -> Signal:
        """All samples that are values."""
        return Signal(times_seconds=self.times_seconds, values=self.values, is_polled=False)

    @property
    def sound(self) -> Signal:
        """Those that nothing else blames."""
        return Signal(times_seconds=self.times_seconds[self.is_sound], values=self.values[self.is_sound])

    @property
    def sound_ages(self) -> FloatArray:
        """Of the sound samples, with the delay that is the quantity's own."""
        ages: FloatArray = self.ages_seconds[self.is_sound] + self.delay_seconds
        return ages


def clean(device: Device, name: str) -> tuple[Signal, int, float | None] | None:
    """Samples without blanks in the probe's unit, how many blanks there were, and the factor; None without samples."""
    raw = device.scraped(name)
    if raw is None:
        return None
    is_value = ~transport.sentinels(raw.values)
    times, values = raw.times_seconds[is_value], raw.values[is_value]
    found = Signal(times_seconds=times, values=values, is_polled=False)
    probed = device.probed.get(name)
    factor = None
    if probed is not None and times.size:
        factor = _counter_factor(found, probed) if name == ENERGY else _gauge_factor(found, probed)
        if name != ENERGY and factor in (None, 1.0):
            factor, values = _changed_unit(found, probed, factor)
        else:
            values = values / (factor or 1.0)
    return Signal(times_seconds=times, values=values, is_polled=False), int((~is_value).sum()), factor


def _changed_unit(scraped: Signal, probed: Signal, factor: float | None) -> tuple[float | None, FloatArray]:
    """The unit may change on the way: the factor of either half, divided out of the samples that it brings nearer."""
    near = nearest(probed, scraped.times_seconds)
    half = scraped.times_seconds.size // 2
    for part in (slice(half, None), slice(None, half)):
        seen = np.isfinite(near[part])
        other = unit_factor(np.sort(scraped.values[part][seen]), np.sort(near[part][seen]))
        if other not in (None, 1.0):
            with np.errstate(all="ignore"):
                distance = np.abs(np.log(np.abs(scraped.values / near)))
                is_other = np.abs(distance - abs(np.log(other))) < distance
            return other, np.where(is_other & np.isfinite(near), scraped.values / other, scraped.values)
    return factor, scraped.values


def _gauge_factor(scraped: Signal, probed: Signal) -> float | None:
    near = nearest(probed, scraped.times_seconds)
    seen = np.isfinite(near)
    # both are sorted: late samples disorder the pairs, not the distribution
    return unit_factor(np.sort(scraped.values[seen]), np.sort(near[seen]))


def _counter_factor(scraped: Signal, probed: Signal) -> float | None:
    """By how much both rose over the time that both saw: a counter that was reset keeps its unit."""
    inside = (scraped.times_seconds >= probed.times_seconds[0]) & (scraped.times_seconds <= probed.times_seconds[-1])
    if int(inside.sum()) < 3:
        return None
    times = scraped.times_seconds[inside]
    steps = np.diff(scraped.values[inside])
    rise = float(steps[steps > 0].sum())
    true = float(np.interp(times[-1], probed.times_seconds, probed.values)) - float(
        np.interp(times[0], probed.times_seconds, probed.values)
    )
    return unit_factor(np.full(3, rise), np.full(3, true))


def screen_energy(device: Device, collect: CollectInterval | None) -> Screened | None:
    """The energy counter: its samples' ages by the probe's own curve; None where either side has none."""
    found, probed = clean(device, ENERGY), device.probed.get(ENERGY)
    if found is None or probed is None:
        return None
    signal, blanks, factor = found
    ages = sample_ages(probed, signal)
    after_reset = np.concatenate([[False], np.logical_or.accumulate(np.diff(signal.values) < 0)])
    ages = np.where(after_reset[: ages.size], np.nan, ages)
    frozen, is_frozen = _standstill(signal, collect)
    return Screened(
        name=ENERGY,
        times_seconds=signal.times_seconds,
        values=signal.values,
        ages_seconds=np.where(is_frozen, np.nan, ages),
        is_sound=~is_frozen,
        sentinels_total=blanks,
        factor=factor,
        frozen_seconds=frozen,
    )


def _standstill(signal: Signal, collect: CollectInterval | None) -> tuple[float, BoolArray]:
    """The longest time a counter stood that never stands, beyond two collect intervals; and its samples."""
    is_frozen = np.zeros(signal.values.shape, dtype=bool)
    longest = 0.0
    if collect is None or signal.values.size < 2:
        return longest, is_frozen
    scrape = float(np.median(np.diff(signal.times_seconds)))
    for start, end in runs(signal.values):
        lasted = float(signal.times_seconds[end - 1] - signal.times_seconds[start])
        if end - start >= _LEAST_STUCK and lasted > 2.0 * collect.at_most_seconds + scrape:
            is_frozen[start:end] = True
            longest = max(longest, lasted)
    return longest, is_frozen


def runs(values: FloatArray) -> list[tuple[int, int]]:
    """Start and end (one after the last) of each run of equal values."""
    if values.size == 0:
        return []
    edges = np.flatnonzero(np.diff(values) != 0) + 1
    return list(zip([0, *edges.tolist()], [*edges.tolist(), int(values.size)], strict=True))


def screen(device: Device, name: str, ages: Signal | None) -> Screened | None:
    """
    A quantity that is compared with the probe's of the same name; None where Prometheus has no sample of it.

    `ages` are those of the exporter's passes by the time of the scrape: all fields are read in one pass.
    """
    found = clean(device, name)
    if found is None:
        return None
    signal, blanks, factor = found
    size = signal.times_seconds.size
    own = ages.at(signal.times_seconds) if ages is not None and size else np.full(size, np.nan)
    if ages is not None and size and ages.times_seconds.size:
        # an age belongs to its scrape and no other
        places = np.clip(np.searchsorted(ages.times_seconds, signal.times_seconds), 0, ages.times_seconds.size - 1)
        own = np.where(ages.times_seconds[places] == signal.times_seconds, ages.values[places], np.nan)
    sound = np.ones(size, dtype=bool)
    frozen = delay = 0.0
    probed = device.probed.get(name)
    if probed is not None and name in COMPARED and size >= _LEAST_STUCK:
        frozen, is_frozen, stands = _stuck(name, signal, own, probed)
        # a value that comes late stands often and shortly, one that is frozen once and long
        if not 0 < stands <= _FEW_STANDS or error_of(name, _part(signal, ~is_frozen), own[~is_frozen], probed) > 0.0:
            delay = own_delay(name, signal, own, probed)
        if delay:
            frozen = 0.0
        else:
            sound &= ~is_frozen
    return Screened(
        name=name,
        times_seconds=signal.times_seconds,
        values=signal.values,
        ages_seconds=own,
        is_sound=sound,
        sentinels_total=blanks,
        factor=factor,
        frozen_seconds=frozen,
        delay_seconds=delay,
    )


def scale_of(name: str, probed: Signal) -> float:
    """Errors of ratios are told as they are, others relative to the largest true value."""
    return 1.0 if name in RATIOS else max(float(np.abs(probed.values).max()), 1e-12)


def beyond(scraped: FloatArray, truth: Signal, times_seconds: FloatArray) -> FloatArray:
    """How far each value is outside of all that the device showed about that time; NaN where it was not watched."""
    offsets = np.linspace(-_BLUR_SECONDS, _BLUR_SECONDS, 7)
    about = nearest(truth, (times_seconds[:, np.newaxis] + offsets).ravel()).reshape(times_seconds.size, offsets.size)
    low, high = about.min(axis=1), about.max(axis=1)
    outside: FloatArray = np.maximum(0.0, np.maximum(low - scraped, scraped - high))
    return outside


def tolerance_of(name: str, probed: Signal) -> float:
    """What rounding explains."""
    return max(_QUANTA.get(name, 0.0), 0.01 * scale_of(name, probed))


def error_of(name: str, scraped: Signal, ages: FloatArray, truth: Signal, delay: float = 0.0) -> float:
    """
    The mean distance from the device that rounding does not explain, if the values are so much later than their ages;
    0 where it is as small as on a sound way, infinite where too few values fall into the watched time.
    """
    known = np.isfinite(ages)
    outside = beyond(scraped.values[known], truth, scraped.times_seconds[known] - ages[known] - delay)
    seen = outside[np.isfinite(outside)]
    if seen.size < max(_LEAST_STUCK, outside.size // 3):
        return float("inf")
    error = float(np.maximum(0.0, seen - tolerance_of(name, truth)).mean())
    return error if error > _SOUND_RATIO * scale_of(name, truth) else 0.0


def own_delay(name: str, scraped: Signal, ages: FloatArray, truth: Signal) -> float:
    """
    By how much a quantity is later than the exporter's own reading of it; 0 where it is not, or where that explains
    nothing.
    """
    present = error_of(name, scraped, ages, truth)
    if present == 0.0 or not np.isfinite(present):
        return 0.0
    # by seconds first, then finer about the best
    shifts = np.arange(-_DELAY_MAX_SECONDS / 3.0, _DELAY_MAX_SECONDS, 0.5)
    best = float(shifts[int(np.argmin([error_of(name, scraped, ages, truth, float(each)) for each in shifts]))])
    finer = np.arange(best - 0.5, best + 0.5 + _DELAY_STEP_SECONDS / 2, _DELAY_STEP_SECONDS)
    errors = np.array([error_of(name, scraped, ages, truth, float(each)) for each in finer])
    likely = finer[errors == errors.min()]
    return float(likely[likely.size // 2]) if errors.min() < _EXPLAINED * present else 0.0


def _part(signal: Signal, chosen: BoolArray) -> Signal:
    return Signal(times_seconds=signal.times_seconds[chosen], values=signal.values[chosen], is_polled=False)


def _stuck(name: str, scraped: Signal, ages: FloatArray, truth: Signal) -> tuple[float, BoolArray, int]:
    """The longest time a value stood while the device moved away from it, the samples of such times, how many."""
    tolerance = tolerance_of(name, truth)
    at = scraped.times_seconds - ages
    outside = beyond(scraped.values, truth, at)
    is_off = np.where(np.isfinite(outside), outside > 3.0 * tolerance, False)
    true = nearest(truth, at)
    is_stuck = np.zeros(scraped.values.shape, dtype=bool)
    longest, count = 0.0, 0
    for start, end in runs(scraped.values):
        off = np.flatnonzero(is_off[start:end])
        if off.size < _LEAST_STUCK or float(np.nanmax(true[start:end]) - np.nanmin(true[start:end])) <= 5.0 * tolerance:
            continue
        is_stuck[start:end] = True
        count += 1
        longest = max(longest, float(scraped.times_seconds[start + off[-1]] - scraped.times_seconds[start]))
    return longest, is_stuck, count
