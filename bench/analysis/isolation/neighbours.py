"""
How much slower a device works while its neighbour works too, and whether that is known well enough to be judged.

Windows without the neighbour tell how much the device varies by itself: held against each other as those with the
neighbour are held against them, they vary alike where the neighbour does nothing. Both are the noise of one interval.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from bench.analysis.distributions import student_quantile
from bench.analysis.intervals import Interval
from bench.model.measurement import Absent, FloatArray, Measurement, Reading, Source, find_readings
from bench.model.units import Unit

BoolArray = npt.NDArray[np.bool_]
STATEMENT: Final = "bench.analysis.isolation.neighbours: windows with the neighbour at work against those beside them"
RATE: Final = "burn_rate_flops"
LEAST_WINDOWS: Final = 3
_LEVEL: Final = 0.99
"""Noise of windows is not of Student's kind; at 95 of 100 a job that comes and goes is blamed on the neighbour."""
_NAMES: Final = ("slowdown_ratio", "slowdown_interval_ratio", "slowdown_at_least_ratio")


def slowdown(readings: Sequence[Reading], budget_ratio: float) -> Iterator[Reading]:
    """
    The part of its rate that a device loses while its neighbour works: the estimate, its interval, the least of it.

    Windows alternate, and each one with the neighbour at work is held against the mean of those before and after it:
    what drifts slowly, heat or a busy node, does not count. The least is absent where the budget lies inside the
    interval: then the windows do not tell whether it is kept.
    """
    found = [each for each in find_readings(readings, RATE, {"role": "measured"}) if isinstance(each, Measurement)]
    busy = [
        each
        for each in find_readings(readings, "neighbour_duty_ratio", {"role": "neighbour"})
        if isinstance(each, Measurement)
    ]
    rates, is_on = _aligned(found[0], busy[0]) if found and busy else (np.empty(0), np.empty(0, dtype=bool))
    losses, controls = _losses(rates, is_on), _controls(rates, is_on)
    if losses.size < LEAST_WINDOWS:
        absent = [each.reason for each in find_readings(readings, RATE) if isinstance(each, Absent)]
        reason = (absent or [f"{losses.size} windows with the neighbour at work, {LEAST_WINDOWS} are needed"])[0]
        yield from (_absent(name, reason) for name in _NAMES)
        return
    interval = loss_interval(losses, controls)
    yield _told("slowdown_ratio", [interval.estimate], losses.size)
    yield _told("slowdown_interval_ratio", [interval.low, interval.estimate, interval.high], losses.size)
    if interval.low <= budget_ratio < interval.high:
        yield _absent("slowdown_at_least_ratio", _undecided(interval, controls, budget_ratio))
    else:
        yield _told("slowdown_at_least_ratio", [interval.low], losses.size)


def loss_interval(losses: FloatArray, controls: FloatArray) -> Interval:
    """
    The mean loss with Student's interval; the controls, whose mean is known to be 0, tell of the noise as well.

    Neighbouring losses have a window in common, which makes their mean less sure than that of as many separate ones.
    """
    count, estimate = int(losses.size), float(losses.mean())
    freedom = count - 1 + int(controls.size)
    variance = float(((losses - estimate) ** 2).sum() + (controls**2).sum()) / freedom
    # of independent windows a loss has 3/2 of their variance, and with the next one 1/4 of it in common
    shared = 1.0 + (count - 1) / (3.0 * count)
    half = student_quantile(0.5 + _LEVEL / 2.0, freedom) * math.sqrt(variance * shared / count)
    return Interval(estimate=estimate, low=estimate - half, high=estimate + half, count=count, level=_LEVEL)


def _undecided(interval: Interval, controls: FloatArray, budget_ratio: float) -> str:
    worst = float(np.abs(controls).max()) if controls.size else 0.0
    return (
        f"the budget of {budget_ratio:g} lies inside the interval of the loss, {interval.low:.3f} to "
        f"{interval.high:.3f}; windows without the neighbour differ by up to {worst:.3f} by themselves: more windows, "
        "longer ones, or a quiet node would tell"
    )


def _aligned(measured: Measurement, neighbour: Measurement) -> tuple[FloatArray, BoolArray]:
    """Rates and whether the neighbour was at work; both series are of the same windows, by time."""
    places = np.searchsorted(neighbour.times_seconds, measured.times_seconds, side="right") - 1
    known = places >= 0
    return measured.values[known], neighbour.values[places[known]] > 0.5


def _losses(rates: FloatArray, is_on: BoolArray) -> FloatArray:
    """Of each window with the neighbour at work between two without."""
    return _against(
        rates, [at for at in range(1, rates.size - 1) if is_on[at] and not is_on[[at - 1, at + 1]].any()], 1
    )


def _controls(rates: FloatArray, is_on: BoolArray) -> FloatArray:
    """Of each window without the neighbour between two others without it, as far apart as they are."""
    return _against(rates, [at for at in range(2, rates.size - 2) if not is_on[[at - 2, at, at + 2]].any()], 2)


def _against(rates: FloatArray, places: Sequence[int], apart: int) -> FloatArray:
    at = np.asarray(places, dtype=np.intp)
    with np.errstate(divide="ignore", invalid="ignore"):
        lost = 1.0 - rates[at] / ((rates[at - apart] + rates[at + apart]) / 2.0)
    return np.asarray(lost[np.isfinite(lost)], dtype=np.float64)


def _told(name: str, values: Sequence[float], windows: int) -> Measurement:
    statement = f"{STATEMENT}; {windows}"
    return Measurement(name=name, unit=Unit.RATIO, values=values, source=Source.ANALYSIS, statement=statement)


def _absent(name: str, reason: str) -> Absent:
    return Absent(name=name, source=Source.ANALYSIS, statement=STATEMENT, reason=reason)
