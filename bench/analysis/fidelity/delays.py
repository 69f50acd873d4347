"""
By how much one quantity comes later than the exporter's own reading of the device, and since when.

Each sample whose value the device did not show when it was read speaks for a delay. Of all shifts that one is taken
that explains most over one stretch of samples: a delay begins and ends, and what was sound before stays sound. Beside
it stand the least and the greatest shift that the same samples do not refute; a load that repeats itself, or a value
that hardly moves, leaves them far apart, and nothing is told.
"""

from dataclasses import dataclass

import numpy as np

from bench.analysis.fidelity.comparing import excess_ratios, tolerance_of
from bench.analysis.fidelity.transport import BoolArray
from bench.analysis.signals import Signal
from bench.model.measurement import FloatArray

EARLIEST_SECONDS, LATEST_SECONDS = -30.0, 90.0
_COARSE_SECONDS, _FINE_SECONDS = 0.5, 0.1
_EXPLAINED = 0.35
"""Of the error that is left, at most so much: values that are wrong are not explained by being late."""
_LEAST_SAMPLES = 3
_LEAST_MOVES = 2
"""A value that stands still was shown at any time: it may be frozen, and no delay is told of it."""
_LEAST_SEEN = 2.0 / 3.0
"""Of the stretch's samples, so many have to fall into the watched time for a shift to be judged by them."""
_REFUTED_BY = 2.0
"""Standard errors by which a shift explains less than the best one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Delay:
    """The likeliest shift, the least and the greatest that are not refuted, and the samples that come late."""

    seconds: float
    low_seconds: float
    high_seconds: float
    is_late: BoolArray


def find_delay(name: str, scraped: Signal, ages_seconds: FloatArray, truth: Signal) -> Delay | None:
    """None where all values are explained by the exporter's reading, or no delay explains those that are not."""
    times = scraped.times_seconds - ages_seconds
    present = excess_ratios(name, scraped.values, truth, times)
    if int((present > 0.0).sum()) < _LEAST_SAMPLES:
        return None

    def table(shifts: FloatArray) -> FloatArray:
        return np.array([excess_ratios(name, scraped.values, truth, times - shift) for shift in shifts])

    coarse = np.arange(EARLIEST_SECONDS, LATEST_SECONDS, _COARSE_SECONDS)
    errors = table(coarse)
    about = float(coarse[_best(present, errors)[0]])
    fine = np.arange(about - _COARSE_SECONDS, about + _COARSE_SECONDS + _FINE_SECONDS / 2.0, _FINE_SECONDS)
    finer = table(fine)
    best, stretch = _best(present, finer)
    if not _is_explained(present, finer[best], stretch):
        return None
    if not _has_moved(scraped.values[stretch], tolerance_of(name, truth)):
        return None
    shifts = np.concatenate([coarse, fine])
    open_ = shifts[_not_refuted(np.concatenate([errors, finer])[:, stretch], finer[best][stretch])]
    likely = fine[np.nansum(finer[:, stretch], axis=1) <= np.nansum(finer[best][stretch]) + 1e-12]
    is_late = np.zeros(present.shape, dtype=bool)
    is_late[stretch] = True
    return Delay(
        seconds=float(np.median(likely)),
        low_seconds=float(open_.min()),
        high_seconds=float(open_.max()),
        is_late=is_late,
    )


def _best(present: FloatArray, errors: FloatArray) -> tuple[int, slice]:
    """The shift that takes away most error over one stretch of samples, and the stretch."""
    gains = np.nan_to_num(present - errors)
    # the greatest sum of neighbours, by sums from the start: less the least one before
    sums = np.concatenate([np.zeros((gains.shape[0], 1)), np.cumsum(gains, axis=1)], axis=1)
    rises = sums - np.minimum.accumulate(sums, axis=1)
    best = int(np.argmax(rises.max(axis=1)))
    end = int(np.argmax(rises[best]))
    # of equal starts the last: what both explain alike is no part of it
    before = sums[best, : end + 1]
    start = int(np.flatnonzero(before <= before.min())[-1])
    return best, slice(start, end)


def _is_explained(present: FloatArray, left: FloatArray, stretch: slice) -> bool:
    """Whether most of the whole run's error is gone, and enough samples of the stretch spoke for it."""
    after = present.copy()
    after[stretch] = np.where(np.isfinite(left[stretch]), left[stretch], 0.0)
    is_enough = int((present[stretch] > 0.0).sum()) >= _LEAST_SAMPLES
    return is_enough and float(np.nansum(after)) < _EXPLAINED * float(np.nansum(present))


def _has_moved(values: FloatArray, tolerance: float) -> bool:
    """Whether the values themselves change, more than once and by more than rounding."""
    changes = int((np.diff(values) != 0).sum())
    return changes >= _LEAST_MOVES and float(np.ptp(values)) > 2.0 * tolerance


def _not_refuted(errors: FloatArray, left: FloatArray) -> BoolArray:
    """By shift, whether these samples are explained no worse by it than by the best, as far as chance allows."""
    worse = errors - left
    known = np.isfinite(worse)
    counts = known.sum(axis=1)
    enough = counts >= max(_LEAST_SAMPLES, _LEAST_SEEN * worse.shape[1])
    sums = np.where(known, worse, 0.0).sum(axis=1)
    means = sums / np.maximum(counts, 1)
    squares = np.where(known, (worse - means[:, np.newaxis]) ** 2, 0.0).sum(axis=1)
    deviations = np.sqrt(squares) / np.maximum(counts, 1)
    not_refuted: BoolArray = enough & (means <= _REFUTED_BY * deviations)
    return not_refuted
