"""How much slower a device works while its neighbour works too."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from bench.analysis.intervals import mean_interval
from bench.model.measurement import Absent, FloatArray, Measurement, Reading, Source, find_readings
from bench.model.units import Unit

STATEMENT: Final = "bench.analysis.isolation.neighbours: windows with the neighbour at work against those beside them"
RATE: Final = "burn_rate_flops"
LEAST_WINDOWS: Final = 3


def slowdown(readings: Sequence[Reading]) -> Iterator[Reading]:
    """
    The part of its rate that a device loses while its neighbour works: the estimate, and the least that is sure.

    Windows alternate, and each one with the neighbour at work is held against the mean of those before and after it:
    what drifts slowly, heat or a busy node, does not count.
    """
    found = [each for each in find_readings(readings, RATE, {"role": "measured"}) if isinstance(each, Measurement)]
    busy = [
        each
        for each in find_readings(readings, "neighbour_duty_ratio", {"role": "neighbour"})
        if isinstance(each, Measurement)
    ]
    losses = _losses(found[0], busy[0]) if found and busy else np.empty(0)
    if losses.size < LEAST_WINDOWS:
        absent = [each.reason for each in find_readings(readings, RATE) if isinstance(each, Absent)]
        reason = (absent or [f"{losses.size} windows with the neighbour at work, {LEAST_WINDOWS} are needed"])[0]
        for name in ("slowdown_ratio", "slowdown_at_least_ratio"):
            yield Absent(name=name, source=Source.ANALYSIS, statement=STATEMENT, reason=reason)
        return
    interval = mean_interval(losses)
    for name, value in (("slowdown_ratio", interval.estimate), ("slowdown_at_least_ratio", interval.low)):
        yield Measurement(
            name=name, unit=Unit.RATIO, values=[value], source=Source.ANALYSIS, statement=f"{STATEMENT}; {losses.size}"
        )


def _losses(measured: Measurement, neighbour: Measurement) -> FloatArray:
    """Of each window with the neighbour at work between two without; both series are of the same windows, by time."""
    places = np.searchsorted(neighbour.times_seconds, measured.times_seconds, side="right") - 1
    known = places >= 0
    rates = measured.values[known]
    is_on = neighbour.values[places[known]] > 0.5
    inner = [
        place for place in range(1, rates.size - 1) if is_on[place] and not is_on[place - 1] and not is_on[place + 1]
    ]
    beside = np.asarray([(rates[place - 1] + rates[place + 1]) / 2.0 for place in inner], dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        losses = 1.0 - rates[inner] / beside if inner else np.empty(0)
    return losses[np.isfinite(losses)]
