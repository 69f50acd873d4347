"""
Advice that follows from what was measured: which interval to shorten, which target to give an HPA.

The curve of latency over utilisation is fitted without assuming a shape beyond this: more utilisation is never faster.
"""

from dataclasses import dataclass, replace

import numpy as np

from bench.analysis.prediction import Intervals, Rise, predict
from bench.model.measurement import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The highest utilisation that keeps the latency budget, and the target that reacts before it is passed."""

    utilisation_ratio: float
    target_ratio: float
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing to change on the way of a metric, and the mean reaction time before and after."""

    what: str
    mean_before_seconds: float
    mean_after_seconds: float


# What exporters and Prometheus bear without being noticed, as their own documents say.
_SHORT_COLLECT_SECONDS = 1.0
_SHORT_SCRAPE_SECONDS = 5.0
# A measured interval is never quite the configured one; what gains less than this is no change to make.
_LEAST_GAIN_RATIO = 0.02


def advise_intervals(intervals: Intervals, rise: Rise) -> tuple[Change, ...]:
    """
    Intervals worth shortening, each by itself against the measured ones, the one that gains most first.

    A collect interval that is longer than the scrape interval makes every other scrape repeat a sample.
    """
    before = predict(intervals, rise).mean_seconds
    tried = []
    if intervals.collect_seconds > _SHORT_COLLECT_SECONDS:
        shorter = replace(intervals, collect_seconds=_SHORT_COLLECT_SECONDS)
        milliseconds = _SHORT_COLLECT_SECONDS * 1000.0
        tried.append((f"collect every {_SHORT_COLLECT_SECONDS:g} s (DCGM_EXPORTER_INTERVAL={milliseconds:g})", shorter))
    if intervals.scrape_seconds > _SHORT_SCRAPE_SECONDS:
        shorter = replace(intervals, scrape_seconds=_SHORT_SCRAPE_SECONDS)
        tried.append((f"scrape every {_SHORT_SCRAPE_SECONDS:g} s (interval of the ServiceMonitor)", shorter))
    if intervals.rule_seconds:
        tried.append(("ask the exporter's series, not a recording rule", replace(intervals, rule_seconds=0.0)))
    if intervals.query_window_seconds:
        tried.append(("leave the average out of the adapter's query", replace(intervals, query_window_seconds=0.0)))
    changes = [
        Change(what=what, mean_before_seconds=before, mean_after_seconds=predict(changed, rise).mean_seconds)
        for what, changed in tried
    ]
    worth = [each for each in changes if each.mean_after_seconds <= before * (1.0 - _LEAST_GAIN_RATIO)]
    return tuple(sorted(worth, key=lambda change: change.mean_after_seconds))


def never_falling(values: FloatArray, weights: FloatArray) -> FloatArray:
    """The nearest sequence that never falls, by pooling neighbours that do."""
    pools: list[list[float]] = []
    for value, weight in zip(values, weights, strict=True):
        pools.append([float(value), float(weight), 1.0])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            last, before = pools.pop(), pools.pop()
            total = last[1] + before[1]
            pools.append([(last[0] * last[1] + before[0] * before[1]) / total, total, last[2] + before[2]])
    return np.concatenate([np.full(int(count), value) for value, _, count in pools])


def advise_target(
    utilisation_ratio: FloatArray, latency_seconds: FloatArray, *, budget_seconds: float, tolerance_ratio: float = 0.1
) -> Advice | None:
    """
    A target such that, with the HPA's tolerance on top, the budget still holds; None without an answer in the data.

    None where even the least utilisation seen breaks the budget, or where there are fewer than ten pairs.
    """
    both = np.isfinite(utilisation_ratio) & np.isfinite(latency_seconds)
    if int(both.sum()) < 10:
        return None
    order = np.argsort(utilisation_ratio[both], kind="stable")
    levels, latencies = utilisation_ratio[both][order], latency_seconds[both][order]
    distinct, starts, counts = np.unique(levels, return_index=True, return_counts=True)
    means = np.add.reduceat(latencies, starts) / counts
    fitted = never_falling(means, counts.astype(np.float64))
    kept = distinct[fitted <= budget_seconds]
    if kept.size == 0:
        return None
    most = float(kept[-1])
    is_open = kept.size == distinct.size
    because = "the budget held at every utilisation that was seen; load it higher to learn more"
    if not is_open:
        because = f"above {most:.0%} the latency passes {budget_seconds:g} s; the tolerance comes on top of the target"
    return Advice(utilisation_ratio=most, target_ratio=most / (1.0 + tolerance_ratio), because=because)
