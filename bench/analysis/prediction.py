"""
When the autoscaler should react, from the intervals on the way.

Each stage waits for the next tick of a clock that nobody aligned, so its delay is uniform over its interval. From that
follow the mean, the spread, the worst case, and a distribution to hold the measured times against.
"""

import math
from dataclasses import dataclass

import numpy as np

from bench.model.measurement import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """The clocks between a busy device and a decision, as they were measured."""

    nvml_window_seconds: float = 1.0
    collect_seconds: float = 30.0
    scrape_seconds: float = 15.0
    rule_seconds: float = 0.0
    sync_seconds: float = 15.0
    query_window_seconds: float = 0.0
    processing_seconds: float = 0.0
    start_seconds: float = 0.0

    def __post_init__(self) -> None:
        if min(self.nvml_window_seconds, self.scrape_seconds, self.sync_seconds) <= 0:
            raise ValueError("the NVML window, the scrape and the sync interval are positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rise:
    """A load step in the metric's own unit, and the threshold that it must cross."""

    base: float
    peak: float
    threshold: float

    @property
    def crosses(self) -> bool:
        """Whether the step is ever seen by the HPA."""
        return self.peak > self.threshold

    @property
    def share(self) -> float:
        """Which share of the rise must be done when the threshold is crossed."""
        return min(1.0, max(0.0, (self.threshold - self.base) / (self.peak - self.base)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Reaction time: mean, standard deviation and worst case; unbounded where the step is never seen."""

    mean_seconds: float
    deviation_seconds: float
    max_seconds: float


def _window_lag_seconds(intervals: Intervals, rise: Rise) -> float:
    """How long an average over a window lags: so many of its samples must be high before it crosses."""
    if not intervals.query_window_seconds:
        return 0.0
    samples = math.floor(rise.share * intervals.query_window_seconds / intervals.scrape_seconds)
    return samples * intervals.scrape_seconds


def _window_share(intervals: Intervals, rise: Rise) -> float:
    """With a window in the query any rise in NVML counts, half of one on average."""
    return 0.5 if intervals.query_window_seconds else rise.share


def predict(intervals: Intervals, rise: Rise) -> Prediction:
    """Mean, spread and worst case of the time from the step to the changed `desiredReplicas` (plus start)."""
    if not rise.crosses:
        return Prediction(mean_seconds=math.inf, deviation_seconds=math.nan, max_seconds=math.inf)
    share = _window_share(intervals, rise)
    clocks = _clocks(intervals)
    fixed = _window_lag_seconds(intervals, rise) + intervals.processing_seconds + intervals.start_seconds
    fixed += share * intervals.nvml_window_seconds
    return Prediction(
        mean_seconds=fixed + sum(clocks) / 2.0,
        deviation_seconds=math.sqrt(sum(clock * clock for clock in clocks) / 12.0),
        max_seconds=fixed + sum(clocks),
    )


def _clocks(intervals: Intervals) -> tuple[float, ...]:
    return (
        intervals.nvml_window_seconds,
        intervals.collect_seconds,
        intervals.scrape_seconds,
        intervals.rule_seconds,
        intervals.sync_seconds,
    )


def draw_reactions(intervals: Intervals, rise: Rise, *, count: int, seed: int) -> FloatArray:
    """`count` reaction times from the predicted distribution, for a KS test against measured ones."""
    if not rise.crosses:
        return np.full(count, np.inf)
    generator = np.random.default_rng(seed)
    fixed = _window_lag_seconds(intervals, rise) + intervals.processing_seconds + intervals.start_seconds
    fixed += _window_share(intervals, rise) * intervals.nvml_window_seconds
    phases = generator.random((count, 5))
    reactions: FloatArray = fixed + phases @ np.array(_clocks(intervals))
    return reactions


def steps_needed(deviation_seconds: float, half_width_seconds: float) -> int:
    """How many steps bring the 95 % interval of the mean to plus or minus `half_width_seconds`."""
    return math.ceil((1.96 * deviation_seconds / half_width_seconds) ** 2)
