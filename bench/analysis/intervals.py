"""
Intervals and tests: how much a number can be trusted.

Scrape errors within a run hang together, so the headline interval is over run means (`mean_interval` of them);
`block_bootstrap_interval` within one run comes second.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.analysis.distributions import (
    chi_square_survival,
    kolmogorov_survival,
    normal_quantile,
    student_quantile,
)
from bench.model.measurement import FloatArray, Floats

_RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its confidence interval and the number of observations behind it."""

    estimate: float
    low: float
    high: float
    count: int
    level: float = 0.95

    def covers(self, value: float) -> bool:
        """Whether `value` lies in the interval, ends included."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """A test's statistic and the chance of one at least as large if nothing is wrong."""

    statistic: float
    p_value: float
    count: int


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """
    Wilson's interval of a proportion; of no trials it is all of 0 to 1.

    Raises:
        ValueError: more successes than trials, or negative counts.

    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is no proportion")
    if trials == 0:
        return Interval(estimate=math.nan, low=0.0, high=1.0, count=0, level=level)
    z = normal_quantile(0.5 + level / 2.0)
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return Interval(estimate=share, low=low, high=high, count=trials, level=level)


def mean_interval(values: Floats, level: float = 0.95) -> Interval:
    """The mean with Student's interval; of one value the interval is unbounded."""
    array = _some(values)
    estimate = float(array.mean())
    if array.size == 1:
        return Interval(estimate=estimate, low=-math.inf, high=math.inf, count=1, level=level)
    error = float(array.std(ddof=1)) / math.sqrt(array.size)
    half = student_quantile(0.5 + level / 2.0, array.size - 1) * error
    return Interval(estimate=estimate, low=estimate - half, high=estimate + half, count=array.size, level=level)


def median_interval(values: Floats, level: float = 0.95) -> Interval:
    """The median with the interval between two order statistics; nothing is assumed of the distribution."""
    array = np.sort(_some(values))
    count = array.size
    rank = _order_rank(count, (1.0 - level) / 2.0)
    low, high = (float(array[rank - 1]), float(array[count - rank])) if rank else (-math.inf, math.inf)
    return Interval(estimate=float(np.median(array)), low=low, high=high, count=count, level=level)


def _order_rank(count: int, tail: float) -> int:
    """The largest rank r with P(Binomial(count, 1/2) < r) at most `tail`."""
    if count > 1000:
        return int(max(0.0, count / 2.0 + normal_quantile(tail) * math.sqrt(count) / 2.0))
    below, rank = 0, 0
    whole = 2**count
    while (below + math.comb(count, rank)) / whole <= tail:
        below += math.comb(count, rank)
        rank += 1
    return rank


def bootstrap_interval(
    values: Floats, statistic: Callable[[FloatArray], FloatArray], *, seed: int, level: float = 0.95
) -> Interval:
    """
    The percentile bootstrap of independent observations; `statistic` works along the last axis.

    Raises:
        ValueError: no values.

    """
    array = _some(values)
    generator = np.random.default_rng(seed)
    draws = statistic(array[generator.integers(0, array.size, size=(_RESAMPLES, array.size))])
    return _percentiles(draws, float(statistic(array[np.newaxis, :])[0]), array.size, level)


def block_bootstrap_interval(values: Floats, *, seed: int, level: float = 0.95) -> Interval:
    """
    The mean with a moving-block bootstrap, for values in order that hang together.

    Too narrow still where neighbours are strongly alike; repeated runs are the better way.
    """
    array = _some(values)
    length = max(1, round(array.size ** (1.0 / 3.0)))
    blocks = math.ceil(array.size / length)
    generator = np.random.default_rng(seed)
    starts = generator.integers(0, array.size - length + 1, size=(_RESAMPLES, blocks))
    indices = (starts[:, :, np.newaxis] + np.arange(length)).reshape(_RESAMPLES, -1)[:, : array.size]
    return _percentiles(array[indices].mean(axis=1), float(array.mean()), array.size, level)


def _percentiles(draws: FloatArray, estimate: float, count: int, level: float) -> Interval:
    low, high = np.quantile(draws, [(1.0 - level) / 2.0, 0.5 + level / 2.0])
    return Interval(estimate=estimate, low=float(low), high=float(high), count=count, level=level)


def _some(values: Floats) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError("an interval of no values tells nothing; report an absence")
    return array


def ks_test(values: Floats, reference: Floats) -> TestResult:
    """
    Kolmogorov-Smirnov: do `values` come from the distribution that `reference` was drawn from?

    `reference` is a large sample of the prediction. The finite-sample correction is Stephens'.
    """
    mine, theirs = np.sort(_some(values)), np.sort(_some(reference))
    points = np.concatenate([mine, theirs])
    mine_cdf = np.searchsorted(mine, points, side="right") / mine.size
    their_cdf = np.searchsorted(theirs, points, side="right") / theirs.size
    distance = float(np.abs(mine_cdf - their_cdf).max())
    effective = math.sqrt(mine.size * theirs.size / (mine.size + theirs.size))
    p_value = kolmogorov_survival((effective + 0.12 + 0.11 / effective) * distance)
    return TestResult(statistic=distance, p_value=p_value, count=int(mine.size))


def chi_square_test(observed: Floats, expected: Floats) -> TestResult:
    """
    Pearson's test of counts against expected counts of the same total.

    Raises:
        ValueError: fewer than two classes, an expectation that is not positive, or totals that differ.

    """
    seen, due = np.asarray(observed, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if seen.size < 2 or seen.shape != due.shape or bool((due <= 0).any()):
        raise ValueError("the chi-square test needs two or more classes with positive expectations")
    if not math.isclose(float(seen.sum()), float(due.sum()), rel_tol=1e-9):
        raise ValueError(f"observed counts sum to {seen.sum():g}, expected ones to {due.sum():g}")
    statistic = float(((seen - due) ** 2 / due).sum())
    p_value = chi_square_survival(statistic, seen.size - 1)
    return TestResult(statistic=statistic, p_value=p_value, count=int(seen.sum()))
