"""
Advice on an HPA's target, from the measured curve of latency over utilisation.

The curve is fitted without assuming a shape beyond this: more utilisation is never faster.
"""

from dataclasses import dataclass

import numpy as np

from bench.model.measurement import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The highest utilisation that keeps the latency budget, and the target that reacts before it is passed."""

    utilisation_ratio: float
    target_ratio: float
    because: str


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
