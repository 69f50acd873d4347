"""
Whether exported values are the device's: agreement with and without the age taken out, units, meaning.

With the age taken out the error is that of the way (rounding, mixing up); without it, it is what a consumer sees, and
the difference is the cost of being late.
"""

import math
from dataclasses import dataclass

import numpy as np

from bench.analysis.distributions import student_quantile
from bench.analysis.signals import Signal
from bench.model.measurement import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Errors of exported values against the device, in the metric's own unit; limits after Bland and Altman."""

    count: int
    bias: float
    mean_absolute: float
    root_mean_square: float
    normalised_ratio: float
    p95_absolute: float
    limit_low: float
    limit_high: float


def agreement(exported: FloatArray, true: FloatArray) -> Agreement | None:
    """Pairwise errors; pairs with a NaN are left out. None where no pair is left."""
    both = np.isfinite(exported) & np.isfinite(true)
    if not bool(both.any()):
        return None
    errors = exported[both] - true[both]
    spread = float(np.ptp(true[both]))
    rmse = float(np.sqrt(np.mean(errors**2)))
    deviation = float(errors.std(ddof=1)) if errors.size > 1 else 0.0
    bias = float(errors.mean())
    return Agreement(
        count=int(errors.size),
        bias=bias,
        mean_absolute=float(np.abs(errors).mean()),
        root_mean_square=rmse,
        normalised_ratio=rmse / spread if spread > 0 else math.nan,
        p95_absolute=float(np.quantile(np.abs(errors), 0.95)),
        limit_low=bias - 1.96 * deviation,
        limit_high=bias + 1.96 * deviation,
    )


def aligned(exported: Signal, truth: Signal, ages_seconds: FloatArray) -> Agreement | None:
    """Against the device as it was when each value was read: the error of the way."""
    return agreement(exported.values, nearest(truth, exported.times_seconds - ages_seconds))


def unaligned(exported: Signal, truth: Signal) -> Agreement | None:
    """Against the device as it is when the value is shown: what a consumer sees."""
    return agreement(exported.values, nearest(truth, exported.times_seconds))


def nearest(truth: Signal, times_seconds: FloatArray) -> FloatArray:
    """The probe's value nearest to each time; NaN outside what it saw."""
    size = truth.times_seconds.size
    if size == 0:
        return np.full(times_seconds.shape, np.nan)
    right = np.clip(np.searchsorted(truth.times_seconds, times_seconds), 1, max(1, size - 1))
    left = right - 1
    right = np.minimum(right, size - 1)
    is_left = np.abs(times_seconds - truth.times_seconds[left]) <= np.abs(truth.times_seconds[right] - times_seconds)
    found = np.where(is_left, truth.values[left], truth.values[right])
    inside = (times_seconds >= truth.times_seconds[0]) & (times_seconds <= truth.times_seconds[-1])
    return np.where(inside, found, np.nan)


def cumulated(truth: Signal, times_seconds: FloatArray) -> FloatArray:
    """The area under the device's curve up to each time, from the first look; NaN outside what the probe saw."""
    if truth.times_seconds.size < 2:
        return np.full(times_seconds.shape, np.nan)
    areas = np.concatenate([[0.0], np.cumsum(truth.values[:-1] * np.diff(truth.times_seconds))])
    found: FloatArray = np.interp(times_seconds, truth.times_seconds, areas, left=np.nan, right=np.nan)
    return found


# What two programs that mean the same may differ by: nothing, thousand, mebi, hundred, and kibi, either way.
_FACTORS = (1.0, 1e3, 1e-3, 1048576.0, 1 / 1048576.0, 100.0, 0.01, 1024.0, 1 / 1024.0, 1e6, 1e-6)
_NEAR = math.log(1.25)


def unit_factor(exported: FloatArray, true: FloatArray) -> float | None:
    """
    The factor between exported and true values, 1 where the unit is right; None where it is no unit's factor.

    By the median ratio of pairs that are not zero, so that a few late samples do not decide.
    """
    both = np.isfinite(exported) & np.isfinite(true) & (np.abs(true) > 0) & (np.abs(exported) > 0)
    if int(both.sum()) < 3:
        return None
    ratio = float(np.median(exported[both] / true[both]))
    if ratio <= 0:
        return None
    nearest_factor = min(_FACTORS, key=lambda factor: abs(math.log(ratio / factor)))
    return nearest_factor if abs(math.log(ratio / nearest_factor)) <= _NEAR else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """A straight line's slope with its 95 % interval, and how much of the variation it explains."""

    slope: float
    low: float
    high: float
    intercept: float
    r_squared: float


def regress(x: FloatArray, y: FloatArray) -> Slope | None:
    """Least squares of y on x; None with fewer than three pairs, or where x does not vary."""
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if x.size < 3 or float(np.ptp(x)) == 0.0:
        return None
    centred = x - x.mean()
    variation = float((centred**2).sum())
    slope = float((centred * (y - y.mean())).sum()) / variation
    intercept = float(y.mean()) - slope * float(x.mean())
    residual = float(((y - intercept - slope * x) ** 2).sum())
    total = float(((y - y.mean()) ** 2).sum())
    error = math.sqrt(residual / (x.size - 2) / variation)
    half = student_quantile(0.975, x.size - 2) * error
    r_squared = 1.0 - residual / total if total > 0 else math.nan
    return Slope(slope=slope, low=slope - half, high=slope + half, intercept=intercept, r_squared=r_squared)


def view_error(seen: FloatArray, backend: FloatArray) -> Agreement | None:
    """
    The autoscaler's view: relative errors of what its API tells against the metrics backend, same moments.

    Relative to the backend's value; a backend that says 0 is compared as it is.
    """
    scale = np.where(np.abs(backend) > 0, np.abs(backend), 1.0)
    return agreement(seen / scale, backend / scale)
