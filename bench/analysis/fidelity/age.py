"""
How old a sample is when Prometheus stamps it.

The exporter shows cached values and no times, so the stamp hides their age. The energy counter tells it: it only rises,
so the probe's own curve of energy over time says when the exported value was the present one. No excitation is needed.

Limits: devices without an energy counter and MIG instances have no clock; other fields are as old as energy only where
the exporter reads them in one pass.
"""

import math
from dataclasses import dataclass

import numpy as np

from bench.analysis.fidelity.clockwork import steadied
from bench.analysis.signals import Signal
from bench.model.measurement import FloatArray

# NVML renews the energy counter about every 100 ms; nothing finer can be told.
RESOLUTION_SECONDS = 0.1
EARLY_SECONDS = 0.5
"""A value cannot be shown before the device has counted to it; clocks and renewals explain so much."""
_HALF_A_STEP_JOULES = 0.0005


def sample_ages(probe: Signal, scraped: Signal, period_seconds: float | None = None) -> FloatArray:
    """
    Age of each scraped energy value in seconds; NaN where it lies outside what the probe saw by then.

    The counter came to the value between two looks of the probe, and left it between two later ones: the exporter read
    it between these, and the middle is taken. Where the exporter's period is known, its other passes tell more.
    """
    sampled, halves = _between_looks(probe, scraped)
    sampled = np.where(sampled > scraped.times_seconds + EARLY_SECONDS, np.nan, sampled)
    known = np.flatnonzero(np.isfinite(sampled))
    if period_seconds is not None and known.size:
        is_new = np.concatenate([[True], np.diff(scraped.values[known]) != 0])
        firsts = known[is_new]
        passes = steadied(sampled[firsts], halves[firsts], period_seconds)
        sampled[known] = passes[np.cumsum(is_new) - 1]
    ages: FloatArray = scraped.times_seconds - sampled
    return ages


def _between_looks(probe: Signal, scraped: Signal) -> tuple[FloatArray, FloatArray]:
    """
    The middle of the time in which the counter showed each value, and how far the reading may be from it.

    The value came between two looks and left between two later ones. Late looks of a busy node widen both gaps, to
    either side alike.
    """
    times, values = _rising(probe)
    if times.size < 2:
        nothing = np.full(scraped.times_seconds.shape, np.nan)
        return nothing, nothing
    came = np.searchsorted(values, scraped.values - _HALF_A_STEP_JOULES)
    left = np.searchsorted(values, scraped.values + _HALF_A_STEP_JOULES)
    last = times.size - 1
    looks = [times[np.clip(look, 0, last)] for look in (came - 1, came, left - 1, left)]
    middle = np.where((left > 0) & (came <= last), np.mean(looks, axis=0), np.nan)
    return middle, np.maximum(middle - looks[0], looks[3] - middle)


def _rising(probe: Signal) -> tuple[FloatArray, FloatArray]:
    """Without what follows a fall: a device that was reset tells no inverse of the curve before."""
    kept = np.maximum.accumulate(probe.values) == probe.values if probe.values.size else np.empty(0, dtype=bool)
    return probe.times_seconds[kept], probe.values[kept]


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectInterval:
    """
    How often the exporter really reads the device.

    Where it reads at least as often as it is scraped, scrapes tell only bounds: between the oldest sample and the
    scrape interval.
    """

    at_least_seconds: float
    at_most_seconds: float

    @property
    def is_known(self) -> bool:
        """Whether both bounds are so close that one number can be told."""
        return self.at_most_seconds - self.at_least_seconds <= 4 * RESOLUTION_SECONDS

    @property
    def seconds(self) -> float:
        """The middle of the bounds."""
        return (self.at_least_seconds + self.at_most_seconds) / 2.0


def collect_interval(ages: FloatArray, scraped: Signal) -> CollectInterval | None:
    """The collect interval as the scrapes show it; None where fewer than three samples have an age."""
    known = np.isfinite(ages)
    if int(known.sum()) < 3:
        return None
    ages = ages[known]
    times = scraped.times_seconds[known]
    readings = times - ages
    fresh = np.concatenate([[True], np.diff(readings) > RESOLUTION_SECONDS])
    gaps = np.diff(readings[fresh])
    oldest = float(ages.max())
    scrape_seconds = float(np.median(np.diff(times)))
    if bool(fresh.all()) or gaps.size < 2:
        smallest = float(gaps.min()) if gaps.size else scrape_seconds
        return CollectInterval(at_least_seconds=min(oldest, smallest), at_most_seconds=min(smallest, scrape_seconds))
    period = float(np.median(gaps))
    return CollectInterval(at_least_seconds=period - RESOLUTION_SECONDS, at_most_seconds=period + RESOLUTION_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Staleness:
    """How many scrapes repeated the sample before, and how many should have."""

    repeats_total: int
    scrapes_total: int
    expected_ratio: float

    @property
    def ratio(self) -> float:
        """Share of scrapes that brought nothing new."""
        return self.repeats_total / self.scrapes_total if self.scrapes_total else math.nan


def staleness(scraped_energy: Signal, *, collect_seconds: float, scrape_seconds: float) -> Staleness:
    """Scrapes with the same energy as the one before; on a live device that means the same old reading."""
    repeats = int((np.diff(scraped_energy.values) == 0).sum())
    return Staleness(
        repeats_total=repeats,
        scrapes_total=max(0, scraped_energy.values.size - 1),
        expected_ratio=1.0 - min(1.0, scrape_seconds / collect_seconds) if collect_seconds else 0.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """The shift that fits best, by least squares and by correlation (which ignores gain and offset)."""

    seconds: float
    correlated_seconds: float
    r_squared: float


# Shifts are tried this far apart.
_LAG_STEP_SECONDS = 0.05


def lag(truth: Signal, scraped: Signal, *, max_seconds: float) -> Lag | None:
    """
    How much later than the device the exported values move; None where nothing moves or nothing overlaps.

    Good to 0.05 s where collect and scrape intervals are alike and short; several seconds off at 30 s and 15 s, where
    the energy clock is the better way.
    """
    shifts = np.arange(0.0, max_seconds + _LAG_STEP_SECONDS / 2, _LAG_STEP_SECONDS)
    whole = scraped.times_seconds - max_seconds >= (truth.times_seconds[0] if truth.times_seconds.size else np.inf)
    seen, times = scraped.values[whole], scraped.times_seconds[whole]
    if seen.size < 3 or float(np.ptp(seen)) == 0.0 or float(np.ptp(truth.values)) == 0.0:
        return None
    shifted = truth.at((times[np.newaxis, :] - shifts[:, np.newaxis]).ravel()).reshape(shifts.size, seen.size)
    errors = np.mean((shifted - seen) ** 2, axis=1)
    centred = shifted - shifted.mean(axis=1, keepdims=True)
    mine = seen - seen.mean()
    norms = np.sqrt((centred**2).sum(axis=1) * (mine**2).sum())
    correlations = np.where(norms > 0, (centred * mine).sum(axis=1) / np.maximum(norms, 1e-30), 0.0)
    best = float(correlations.max())
    return Lag(
        seconds=_middle_of_best(shifts, -errors),
        correlated_seconds=_middle_of_best(shifts, correlations),
        r_squared=best * best,
    )


def _middle_of_best(shifts: FloatArray, scores: FloatArray) -> float:
    """The middle of the shifts that score alike: a step signal does not tell them apart."""
    best = shifts[scores >= scores.max() - 1e-12]
    return float((best[0] + best[-1]) / 2.0)
