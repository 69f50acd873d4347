"""
What is wrong with one exported quantity by itself, and which of its samples can be held against the device.

A fault blames one question: blanks are taken out before anything else, a factor of units is divided out, a series that
stands still is left out, and one that comes late is compared as late as it comes. What is left and still differs is an
error of the values.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from bench.analysis.fidelity import transport
from bench.analysis.fidelity.age import CollectInterval, sample_ages
from bench.analysis.fidelity.agreement import nearest, unit_factor
from bench.analysis.fidelity.comparing import COMPARED, beyond, excess_ratios, tolerance_of
from bench.analysis.fidelity.delays import Delay, find_delay
from bench.analysis.fidelity.devices import ENERGY, Device
from bench.analysis.fidelity.transport import BoolArray
from bench.analysis.signals import Signal
from bench.model.measurement import FloatArray

_LEAST_STUCK = 3
_LEAST_RISES = 4
"""One of which may be a jump."""
_LEAST_EXCESS = 0.5
"""In sum over the samples, in parts of each quantity's scale; less is no evidence for anything."""
_EXPLAINED_RATIO = 0.35
LEAST_DELAY_SECONDS = 0.5
"""What a pass and a busy node make of fields that are read together."""


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
    delay: Delay | None = None
    """Of the quantity's own, beyond the exporter's reading."""

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
        ages = self.ages_seconds if self.delay is None else self.ages_seconds + self.delay.seconds * self.delay.is_late
        return ages[self.is_sound]


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
    """
    By how much both rose over the time that both saw, falls and the greatest jump left out.

    A counter that was reset keeps its unit; one jump of a counter that has run for long could pass for any.
    """
    inside = (scraped.times_seconds >= probed.times_seconds[0]) & (scraped.times_seconds <= probed.times_seconds[-1])
    if int(inside.sum()) < _LEAST_RISES:
        return None
    steps = np.diff(scraped.values[inside])
    true = np.diff(np.interp(scraped.times_seconds[inside], probed.times_seconds, probed.values))
    kept = steps >= 0
    kept[int(np.argmax(steps - true))] = False
    return unit_factor(np.full(3, float(steps[kept].sum())), np.full(3, float(true[kept].sum())))


def screen_energy(device: Device, collect: CollectInterval | None) -> Screened | None:
    """
    The energy counter: its samples' ages by the probe's own curve; None where either side has none.

    After a fall the curve tells no age of a counter that began anew; see `late_from_a_fall`.
    """
    found, probed = clean(device, ENERGY), device.probed.get(ENERGY)
    if found is None or probed is None:
        return None
    signal, blanks, factor = found
    ages = _energy_ages(signal, probed, collect)
    frozen, is_frozen = _standstill(signal, collect)
    return Screened(
        name=ENERGY,
        times_seconds=signal.times_seconds,
        values=signal.values,
        ages_seconds=np.where(is_frozen | is_after_a_fall(signal), np.nan, ages),
        is_sound=~is_frozen,
        sentinels_total=blanks,
        factor=factor,
        frozen_seconds=frozen,
    )


def _energy_ages(signal: Signal, probed: Signal, collect: CollectInterval | None) -> FloatArray:
    return sample_ages(probed, signal, collect.seconds if collect is not None and collect.is_known else None)


def is_after_a_fall(signal: Signal) -> BoolArray:
    """Which samples of a counter follow its first fall."""
    falls = np.concatenate([[False], np.diff(signal.values) < 0])
    after: BoolArray = np.logical_or.accumulate(falls)[: signal.values.size]
    return after


def late_from_a_fall(device: Device, energy: Screened, collect: CollectInterval | None, shared: Signal) -> Screened:
    """
    A counter falls when it begins anew, and also when older values are shown from then on.

    What else is shown of the device decides: where it is explained by the ages that the counter tells, and not by those
    of its neighbours (`shared`, by the time of the scrape), the counter tells the truth, and all of the device is late.
    """
    after = is_after_a_fall(energy.signal)
    ages = np.where(after & energy.is_sound, _energy_ages(energy.signal, device.probed[ENERGY], collect), np.nan)
    own = Signal(times_seconds=energy.times_seconds[after], values=ages[after])
    by_own, by_others = 0.0, 0.0
    for name in COMPARED:
        found, probed = clean(device, name), device.probed.get(name)
        if found is None or probed is None:
            continue
        scraped = found[0]
        errors = [
            excess_ratios(
                name, scraped.values, probed, scraped.times_seconds - at_its_scrape(each, scraped.times_seconds)
            )
            for each in (own, shared)
        ]
        both = np.isfinite(errors).all(axis=0)
        by_own, by_others = by_own + float(errors[0][both].sum()), by_others + float(errors[1][both].sum())
    if by_others <= _LEAST_EXCESS or by_own > _EXPLAINED_RATIO * by_others:
        return energy
    return dataclasses.replace(energy, ages_seconds=np.where(np.isfinite(ages), ages, energy.ages_seconds))


def at_its_scrape(ages: Signal, times_seconds: FloatArray) -> FloatArray:
    """The age that belongs to each scrape and no other; NaN where it is not known."""
    if not ages.times_seconds.size:
        return np.full(times_seconds.shape, np.nan)
    places = np.clip(np.searchsorted(ages.times_seconds, times_seconds), 0, ages.times_seconds.size - 1)
    return np.where(ages.times_seconds[places] == times_seconds, ages.values[places], np.nan)


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
    own = at_its_scrape(ages, signal.times_seconds) if ages is not None else np.full(size, np.nan)
    frozen, delay, sound = 0.0, None, np.ones(size, dtype=bool)
    probed = device.probed.get(name)
    if probed is not None and name in COMPARED and size >= _LEAST_STUCK:
        delay = _beyond_a_pass(find_delay(name, signal, own, probed))
        if delay is None:
            frozen, is_frozen = _stuck(name, signal, own, probed)
            sound = ~is_frozen
    return Screened(
        name=name,
        times_seconds=signal.times_seconds,
        values=signal.values,
        ages_seconds=own,
        is_sound=sound,
        sentinels_total=blanks,
        factor=factor,
        frozen_seconds=frozen,
        delay=delay,
    )


def _beyond_a_pass(delay: Delay | None) -> Delay | None:
    """
    A delay that is certainly more than one pass explains.

    Where all quantities are early, it is the energy counter that comes late, and their samples are as old as they say.
    """
    if delay is None:
        return None
    is_certain = delay.low_seconds > LEAST_DELAY_SECONDS or delay.high_seconds < -LEAST_DELAY_SECONDS
    return delay if is_certain else None


def _stuck(name: str, scraped: Signal, ages: FloatArray, truth: Signal) -> tuple[float, BoolArray]:
    """The longest time a value stood while the device moved away from it, and the samples of such times."""
    tolerance = tolerance_of(name, truth)
    at = scraped.times_seconds - ages
    outside = beyond(scraped.values, truth, at)
    is_off = np.where(np.isfinite(outside), outside > 3.0 * tolerance, False)
    true = nearest(truth, at)
    is_stuck = np.zeros(scraped.values.shape, dtype=bool)
    longest = 0.0
    for start, end in runs(scraped.values):
        off = np.flatnonzero(is_off[start:end])
        if off.size < _LEAST_STUCK or float(np.nanmax(true[start:end]) - np.nanmin(true[start:end])) <= 5.0 * tolerance:
            continue
        is_stuck[start:end] = True
        longest = max(longest, float(scraped.times_seconds[start + off[-1]] - scraped.times_seconds[start]))
    return longest, is_stuck
