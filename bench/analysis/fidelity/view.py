"""
The autoscaler's view: what its metrics API told, against what Prometheus held at the same moments.

The adapter's rule is not known to the bench; of sum, mean and largest over the namespace's pods the one that fits best
is taken, and named. What the API tells is in the unit of the exporter, so the unit of Prometheus is undone.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Between:
    """The least and the most that an answer may have been, of each answer."""

    low: FloatArray
    high: FloatArray


def _sum(targets: Sequence[FloatArray]) -> _Between:
    """
    Of arrays (series, answers, moments), one a target. What one scrape brought can be queried all at once, but a
    target's scrape may be over before that of another which began earlier.
    """
    sums = [np.nansum(rows, axis=0) for rows in targets]
    return _Between(low=_added(each.min(axis=1) for each in sums), high=_added(each.max(axis=1) for each in sums))


def _mean(targets: Sequence[FloatArray]) -> _Between:
    together, counts = _sum(targets), [np.isfinite(rows).sum(axis=0) for rows in targets]
    most, fewest = _added(each.max(axis=1) for each in counts), _added(each.min(axis=1) for each in counts)
    return _Between(low=together.low / np.maximum(1, most), high=together.high / np.maximum(1, fewest))


def _largest(targets: Sequence[FloatArray]) -> _Between:
    tops = [np.nan_to_num(rows, nan=-np.inf).max(axis=0) for rows in targets]
    low, high = (np.max([side(each) for each in tops], axis=0) for side in (_least, _most))
    return _Between(low=low, high=high)


def _least(rows: FloatArray) -> FloatArray:
    found: FloatArray = rows.min(axis=1)
    return found


def _most(rows: FloatArray) -> FloatArray:
    found: FloatArray = rows.max(axis=1)
    return found


def _added(rows: Iterable[FloatArray]) -> FloatArray:
    found: FloatArray = np.sum(list(rows), axis=0)
    return found


_RULES: Mapping[str, Callable[[Sequence[FloatArray]], _Between]] = {"sum": _sum, "mean": _mean, "largest": _largest}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Target:
    """One exporter as Prometheus scraped it: when, and its series that count."""

    scrapes: FloatArray
    series: tuple[Signal, ...]


def view_readings(readings: Sequence[Reading]) -> Iterator[Reading]:
    """The share of answers that Prometheus' samples do not explain, and by which rule they were explained best."""
    for each in readings:
        if each.name == METRIC and each.source is not Source.ANALYSIS:
            if isinstance(each, Absent):
                yield absent(MISMATCH, each.reason)
            else:
                yield _of_view(each, _pieces(readings, each.labels.get("namespace", "")))


def _pieces(readings: Sequence[Reading], namespace: str) -> list[_Target]:
    """Series that name a pod of the namespace, by the target that they were scraped from."""
    exporters = find_exporters(readings)
    busy = [each for each in readings if isinstance(each, Measurement) and _is_scraped_busy(each)]
    targets: dict[str, list[Measurement]] = defaultdict(list)
    for each in busy:
        targets[each.labels.get("instance", "")].append(each)
    found = [
        _Target(
            scrapes=np.unique(np.concatenate([each.times_seconds for each in series])),
            series=tuple(
                Signal.of(each, is_polled=False)
                for each in series
                if find_pod(each.labels, exporters).startswith(f"{namespace}/")
            ),
        )
        for series in targets.values()
    ]
    return [each for each in found if each.series]


def _is_scraped_busy(reading: Measurement) -> bool:
    return reading.name == BUSY and reading.source is Source.PROMETHEUS and reading.times_seconds.size > 0


def _of_view(told_by_api: Measurement, targets: Sequence[_Target]) -> Reading:
    if not targets:
        return absent(MISMATCH, "Prometheus has no series that names a pod of the namespace")
    moments = told_by_api.times_seconds[:, np.newaxis] + np.array(_ABOUT_SECONDS)
    held = [np.array([_held(each, target.scrapes, moments) for each in target.series]) for target in targets]
    is_any = np.any([np.isfinite(rows).any(axis=0) for rows in held], axis=0).all(axis=1)
    if not bool(is_any.any()):
        return absent(MISMATCH, "the API and Prometheus told nothing at the same time")
    best = (2.0, "")
    for rule, between in _RULES.items():
        allowed = between([rows[:, is_any] for rows in held])
        for unit in _UNITS:
            share = _unexplained(told_by_api.values[is_any], unit * allowed.low, unit * allowed.high)
            best = min(best, (share, f"{rule} of {'percents' if unit == _UNITS[0] else 'ratios'}"))
    share, rule = best
    return told_of(MISMATCH, (share,), {"rule": rule})


def _held(signal: Signal, scrapes: FloatArray, times: FloatArray) -> FloatArray:
    """
    What a query may find of a series about each time, twice as many as the times.

    First with the series gone at the first scrape that lacks it, as Prometheus' documentation has it; then with the
    series there until the scrape after that one, as a server was seen to answer while labels changed.
    """
    values = signal.at(times)
    places = np.searchsorted(signal.times_seconds, times, side="right") - 1
    latest = np.where(places >= 0, signal.times_seconds[np.maximum(places, 0)], np.nan)
    scraped = np.searchsorted(scrapes, times, side="right") - 1
    lacking = [scrapes[np.maximum(scraped - late, 0)] for late in (0, 1)]
    return np.concatenate([np.where(latest >= since, values, np.nan) for since in lacking], axis=-1)


def _unexplained(told_values: FloatArray, low: FloatArray, high: FloatArray) -> float:
    tolerance = _TOLERANCE * max(1.0, float(np.abs(told_values).max()))
    return float(((told_values < low - tolerance) | (told_values > high + tolerance)).mean())
