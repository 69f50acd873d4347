"""
The autoscaler's view: what its metrics API told, against what Prometheus held at the same moments.

The adapter's rule is not known to the bench; of sum, mean and largest over the namespace's pods the one that fits best
is taken, and named. What the API tells is in the unit of the exporter, so the unit of Prometheus is undone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from bench.analysis.fidelity.devices import BUSY, find_exporters, find_pod
from bench.analysis.fidelity.told import absent, told_of
from bench.analysis.signals import Signal
from bench.model.measurement import Absent, FloatArray, Measurement, Reading, Source

METRIC = "metrics_api_metric_value"
"""With the label `namespace` of the pods that it adds up."""
MISMATCH = "view_mismatch_ratio"

_UNITS = (100.0, 1.0)
"""Percent as DCGM shows it, or a ratio."""
_ABOUT_SECONDS = (-0.6, -0.4, -0.2, 0.0, 0.2)
"""A scrape is stamped when it begins and can be queried when it is over; an answer is of some moment of its request."""
_TOLERANCE = 0.01
_RULES: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "sum": lambda rows: np.nansum(rows, axis=0),
    "mean": lambda rows: np.nanmean(rows, axis=0),
    "largest": lambda rows: np.nanmax(rows, axis=0),
}


def view_readings(readings: Sequence[Reading]) -> Iterator[Reading]:
    """The share of answers that Prometheus' samples do not explain, and by which rule they were explained best."""
    for each in readings:
        if each.name == METRIC and each.source is not Source.ANALYSIS:
            if isinstance(each, Absent):
                yield absent(MISMATCH, each.reason)
            else:
                yield _of_view(each, _pieces(readings, each.labels.get("namespace", "")))


def _pieces(readings: Sequence[Reading], namespace: str) -> list[tuple[Signal, FloatArray]]:
    """Series that name a pod of the namespace, each with the scrapes of its target."""
    exporters = find_exporters(readings)
    busy = [each for each in readings if isinstance(each, Measurement) and _is_scraped_busy(each)]
    grids: dict[str, list[FloatArray]] = {}
    for each in busy:
        grids.setdefault(each.labels.get("instance", ""), []).append(each.times_seconds)
    joined = {target: np.unique(np.concatenate(times)) for target, times in grids.items()}
    return [
        (Signal.of(each, is_polled=False), joined[each.labels.get("instance", "")])
        for each in busy
        if find_pod(each.labels, exporters).startswith(f"{namespace}/")
    ]


def _is_scraped_busy(reading: Measurement) -> bool:
    return reading.name == BUSY and reading.source is Source.PROMETHEUS and reading.times_seconds.size > 0


def _of_view(told_by_api: Measurement, pieces: Sequence[tuple[Signal, FloatArray]]) -> Reading:
    if not pieces:
        return absent(MISMATCH, "Prometheus has no series that names a pod of the namespace")
    moments = told_by_api.times_seconds[:, np.newaxis] + np.array(_ABOUT_SECONDS)
    rows = np.array([_held(signal, grid, moments.ravel()) for signal, grid in pieces])
    is_any = np.isfinite(rows).any(axis=0).reshape(moments.shape).all(axis=1)
    if not bool(is_any.any()):
        return absent(MISMATCH, "the API and Prometheus told nothing at the same time")
    rows = rows[:, np.repeat(is_any, moments.shape[1])]
    best = (2.0, "")
    for rule, add in _RULES.items():
        held = add(rows).reshape(-1, moments.shape[1])
        for unit in _UNITS:
            share = _unexplained(told_by_api.values[is_any], unit * held)
            best = min(best, (share, f"{rule} of {'percents' if unit == _UNITS[0] else 'ratios'}"))
    share, rule = best
    return told_of(MISMATCH, (share,), {"rule": rule})


def _held(signal: Signal, grid: FloatArray, times: FloatArray) -> FloatArray:
    """What a query finds of a series at each time: nothing after the first scrape that lacks it."""
    values = signal.at(times)
    places = np.searchsorted(signal.times_seconds, times, side="right") - 1
    latest = np.where(places >= 0, signal.times_seconds[np.maximum(places, 0)], np.nan)
    scraped = np.searchsorted(grid, times, side="right") - 1
    last_scrape = grid[np.maximum(scraped, 0)]
    return np.where(latest >= last_scrape, values, np.nan)


def _unexplained(told_values: FloatArray, held: FloatArray) -> float:
    low, high = np.nanmin(held, axis=1), np.nanmax(held, axis=1)
    tolerance = _TOLERANCE * max(1.0, float(np.abs(told_values).max()))
    return float(((told_values < low - tolerance) | (told_values > high + tolerance)).mean())
