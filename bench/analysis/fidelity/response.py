"""
How a metric follows a step of the load: times to 10, 50, 63 and 90 % of the rise, and overshoot.

A scrape sees only that the rise happened since the scrape before, so each time is known to lie in an interval; many
steps at random phase narrow the median down.
"""

from dataclasses import dataclass

import numpy as np

from bench.analysis.intervals import Interval, median_interval
from bench.analysis.signals import Signal
from bench.model.measurement import FloatArray

SHARES = (0.10, 0.50, 0.63, 0.90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """Median times to the shares of the rise with intervals over the steps, and the largest overshoot as a ratio."""

    shares: tuple[float, ...]
    medians: tuple[Interval, ...]
    overshoot_ratio: float
    steps_total: int
    missed_total: int


def step_response(metric: Signal, *, steps_seconds: FloatArray, base: float, peak: float) -> Response | None:
    """
    The response to steps from `base` to `peak`; a step whose rise is not complete before the next one is missed.

    None where every step was missed.
    """
    rows, overshoots = [], []
    ends = np.append(steps_seconds[1:], np.inf)
    for start, end in zip(steps_seconds, ends, strict=True):
        inside = (metric.times_seconds >= start) & (metric.times_seconds < end)
        times, rise = metric.times_seconds[inside], (metric.values[inside] - base) / (peak - base)
        firsts = [np.flatnonzero(rise >= share) for share in SHARES]
        if any(first.size == 0 for first in firsts):
            continue
        rows.append([_middle(times, int(first[0]), float(start)) for first in firsts])
        overshoots.append(float(rise.max()) - 1.0)
    if not rows:
        return None
    table = np.array(rows)
    return Response(
        shares=SHARES,
        medians=tuple(median_interval(table[:, column]) for column in range(len(SHARES))),
        overshoot_ratio=max(0.0, *overshoots),
        steps_total=int(steps_seconds.size),
        missed_total=int(steps_seconds.size) - len(rows),
    )


def _middle(times: FloatArray, place: int, start: float) -> float:
    """The middle between the sample that shows it and the one before, counted from the step."""
    earlier = float(times[place - 1]) if place else start
    return (float(times[place]) + earlier) / 2.0 - start
