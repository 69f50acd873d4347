"""Advice that the run supports: a target from the curve of latency over utilisation, and intervals worth shortening."""

from collections.abc import Iterator

import numpy as np

from bench.analysis.advice import advise_intervals, advise_target
from bench.analysis.autoscaling.reacting import PROCESSING_SECONDS, measured_intervals, rise_of
from bench.analysis.autoscaling.view import STATEMENT, View, absent, one
from bench.model.measurement import FloatArray, Measurement, Reading, Source
from bench.model.units import Unit

WINDOW_SECONDS = 4.0
"""Of one point of the curve: longer than NVML's own window and than most answers, shorter than a step."""
IDLE_RATIO = 0.05
"""Below it nothing was being answered: a request of such a window waited for another one."""


def advice(view: View) -> Iterator[Reading]:
    """The curve, the target that follows from it, and what shorter intervals would gain."""
    yield from _target(view)
    intervals = measured_intervals(view, PROCESSING_SECONDS)
    if intervals is not None:
        for change in advise_intervals(intervals, rise_of(view)):
            yield one("reaction_mean_after_change_seconds", change.mean_after_seconds, {"change": change.what})


def _target(view: View) -> Iterator[Reading]:
    utilisation, latency, times = curve(view)
    if not times.size:
        yield absent("advised_target_ratio", "no time was seen in which requests and devices were both watched")
        return
    for name, unit, values in (
        ("curve_utilisation_ratio", Unit.RATIO, utilisation),
        ("curve_ttft_seconds", Unit.SECONDS, latency),
    ):
        yield Measurement(
            name=name, unit=unit, values=values, times_seconds=times, source=Source.ANALYSIS, statement=STATEMENT
        )
    rules = view.rules
    advised = advise_target(
        utilisation,
        latency,
        budget_seconds=rules.ttft_slo_seconds,
        tolerance_ratio=rules.hpa.up.tolerance_ratio,
    )
    if advised is None:
        yield absent("advised_target_ratio", "fewer than ten points, or none of them meets the SLO")
    else:
        yield one("advised_target_ratio", advised.target_ratio, {"because": advised.because})


def curve(view: View) -> tuple[FloatArray, FloatArray, FloatArray]:
    """
    Mean utilisation of the devices in use and mean time to the first token, window by window, and the windows' starts.

    Requests count in the window in which they were due.
    """
    waits = [each for step in view.steps for each in view.measurements("request_ttft_seconds", step.labels)]
    busy = view.device_sum("gpu_busy_time_ratio", 1.0)
    if not waits or not busy.values.size:
        return np.empty(0), np.empty(0), np.empty(0)
    due = np.concatenate([each.times_seconds for each in waits])
    took = np.concatenate([each.values for each in waits])
    edges = np.arange(due.min(), due.max() + WINDOW_SECONDS, WINDOW_SECONDS)
    latency = _means(due, took, edges)
    utilisation = _means(busy.times_seconds, busy.values, edges) / np.maximum(1.0, view.holders_at(edges[:-1]))
    known = np.isfinite(latency) & (utilisation > IDLE_RATIO)
    return np.minimum(1.0, utilisation[known]), latency[known], edges[:-1][known]


def _means(times: FloatArray, values: FloatArray, edges: FloatArray) -> FloatArray:
    """The mean of the values in each window; NaN where there is none."""
    places = np.digitize(times, edges) - 1
    inside = (places >= 0) & (places < edges.size - 1)
    counts = np.bincount(places[inside], minlength=edges.size - 1)
    sums = np.bincount(places[inside], weights=values[inside], minlength=edges.size - 1)
    with np.errstate(invalid="ignore"):
        means: FloatArray = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return means
