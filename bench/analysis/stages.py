"""
Stages between a load step and relief: their durations, and which of them took longer than it should.

Times are whole nanoseconds, so that the stages add up to the total exactly. A stage that ended before the one before it
keeps its negative duration and is called overlapping; a stage that does not exist here is absent, not zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from bench.analysis.intervals import Interval, ks_test, median_interval
from bench.model.measurement import FloatArray

_NANOSECONDS = 1_000_000_000
_DRAWS = 20_000


class Stage(StrEnum):
    """What a stage ends with."""

    STEP = "step"
    DEVICE = "device"
    EXPORTER = "exporter"
    PROMETHEUS = "prometheus"
    METRICS_API = "metrics-api"
    DECISION = "decision"
    POD_CREATED = "pod-created"
    NODE = "node"
    SCHEDULED = "scheduled"
    STARTED = "started"
    READY = "ready"
    SERVING = "serving"
    RELIEF = "relief"
    POD_DELETED = "pod-deleted"
    LAST_ANSWER = "last-answer"
    DEVICE_FREE = "device-free"
    NODE_REMOVED = "node-removed"


_TO_DECISION = (
    Stage.STEP,
    Stage.DEVICE,
    Stage.EXPORTER,
    Stage.PROMETHEUS,
    Stage.METRICS_API,
    Stage.DECISION,
)
UP = (
    *_TO_DECISION,
    Stage.POD_CREATED,
    Stage.NODE,
    Stage.SCHEDULED,
    Stage.STARTED,
    Stage.READY,
    Stage.SERVING,
    Stage.RELIEF,
)
DOWN = (*_TO_DECISION, Stage.POD_DELETED, Stage.LAST_ANSWER, Stage.DEVICE_FREE, Stage.NODE_REMOVED)
MAY_NOT_BE = frozenset({Stage.NODE, Stage.LAST_ANSWER, Stage.NODE_REMOVED})
"""Stages that take no time where they are absent: all others were there, and were not seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When something was seen, and by how much that may be off either way."""

    at_nanoseconds: int
    bound_nanoseconds: int = 0

    @classmethod
    def of_seconds(cls, at_seconds: float, bound_seconds: float = 0.0) -> "Moment":
        """A moment given in seconds."""
        return cls(
            at_nanoseconds=round(at_seconds * _NANOSECONDS),
            bound_nanoseconds=round(bound_seconds * _NANOSECONDS),
        )

    @property
    def at_seconds(self) -> float:
        """The moment in seconds."""
        return self.at_nanoseconds / _NANOSECONDS


Sighting = Moment | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One stage of one course: its duration, or why it is absent."""

    stage: Stage
    duration_nanoseconds: int | None
    bound_nanoseconds: int = 0
    absent_because: str = ""
    unseen_within: tuple[Stage, ...] = ()
    """Stages before it that were not seen, so that their time is a part of its."""

    @property
    def is_overlapping(self) -> bool:
        """Whether it ended before the stage before it."""
        return self.duration_nanoseconds is not None and self.duration_nanoseconds < 0

    @property
    def duration_seconds(self) -> float:
        """The duration; NaN where the stage is absent."""
        return np.nan if self.duration_nanoseconds is None else self.duration_nanoseconds / _NANOSECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One course through the stages; the segments that are there add up to the total exactly."""

    origin: Moment
    segments: tuple[Segment, ...]
    total_nanoseconds: int

    @property
    def total_seconds(self) -> float:
        """From the load step to the last stage that was seen."""
        return self.total_nanoseconds / _NANOSECONDS

    def segment(self, stage: Stage) -> Segment:
        """
        The segment of that stage.

        Raises:
            KeyError: the stage is none of this direction.

        """
        for each in self.segments:
            if each.stage is stage:
                return each
        raise KeyError(stage)


def decompose(order: Sequence[Stage], sightings: Mapping[Stage, Sighting]) -> Timeline:
    """
    Durations between consecutive sightings in `order`; a text in place of a moment says why there is none.

    Raises:
        ValueError: the first stage, from which all is counted, was not seen.

    """
    origin = sightings.get(order[0], "not looked for")
    if isinstance(origin, str):
        raise ValueError(f"without {order[0]} nothing can be counted: {origin}")  # noqa: TRY004  (a reason, not a type)
    before, segments, unseen = origin, list[Segment](), list[Stage]()
    for stage in order[1:]:
        seen = sightings.get(stage, "not looked for")
        if not isinstance(seen, Moment):
            segments.append(Segment(stage=stage, duration_nanoseconds=None, absent_because=seen))
            unseen += [stage] if stage not in MAY_NOT_BE else []
            continue
        segments.append(
            Segment(
                stage=stage,
                duration_nanoseconds=seen.at_nanoseconds - before.at_nanoseconds,
                bound_nanoseconds=seen.bound_nanoseconds + before.bound_nanoseconds,
                unseen_within=tuple(unseen),
            )
        )
        before, unseen = seen, []
    total = before.at_nanoseconds - origin.at_nanoseconds
    return Timeline(origin=origin, segments=tuple(segments), total_nanoseconds=total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """
    What a stage should take: something fixed, and one uniform wait for each clock that nobody aligned.

    `spread_seconds` is what a fixed part may vary by (a start that takes two to five seconds is 2 with a spread of 3).
    """

    fixed_seconds: float = 0.0
    clocks_seconds: tuple[float, ...] = ()
    spread_seconds: float = 0.0

    @property
    def mean_seconds(self) -> float:
        """The mean."""
        return self.fixed_seconds + (sum(self.clocks_seconds) + self.spread_seconds) / 2.0

    @property
    def max_seconds(self) -> float:
        """The longest."""
        return self.fixed_seconds + sum(self.clocks_seconds) + self.spread_seconds

    def draw(self, count: int, seed: int, resolution_seconds: float) -> FloatArray:
        """Durations from the expectation, blurred by what the observation can resolve."""
        generator = np.random.default_rng(seed)
        widths = np.array([*self.clocks_seconds, self.spread_seconds])
        blur = generator.uniform(-resolution_seconds, resolution_seconds, size=count)
        drawn: FloatArray = self.fixed_seconds + generator.random((count, widths.size)) @ widths + blur
        return drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One stage over all repetitions, held against its expectation."""

    stage: Stage
    median: Interval
    overlapping_total: int
    expected_mean_seconds: float | None
    expected_max_seconds: float | None
    p_value: float | None
    is_guilty: bool
    because: str


# The chance of naming one of the stages of a sound course; shared among them.
_FALSE_ALARM = 0.01
# Fewer repetitions do not show a distribution; they are held against the worst case only.
_FEW = 5


def find_guilty(timelines: Sequence[Timeline], expectations: Mapping[Stage, Expectation]) -> tuple[Finding, ...]:
    """
    Each stage that was seen, with whether it is later than its expectation: not the longest, the wrong one.

    Guilty is a stage whose median exceeds the worst case, or whose distribution is not the expected one and later. One
    that holds the time of others is not: which of them took it is not known.
    """
    stages = list(dict.fromkeys(each.stage for timeline in timelines for each in timeline.segments))
    level = _FALSE_ALARM / max(1, len(expectations))
    findings = []
    for stage in stages:
        segments = [timeline.segment(stage) for timeline in timelines]
        seen = [each for each in segments if each.duration_nanoseconds is not None]
        if seen:
            is_alone = not any(each.unseen_within for each in seen)
            findings.append(_finding(stage, seen, expectations.get(stage) if is_alone else None, level))
    return tuple(findings)


def _finding(stage: Stage, seen: Sequence[Segment], expected: Expectation | None, level: float) -> Finding:
    durations = np.array([each.duration_seconds for each in seen])
    resolution = max(each.bound_nanoseconds for each in seen) / _NANOSECONDS
    median = median_interval(durations)
    p_value = None
    guilty, because = False, "nothing is expected of it" if expected is None else "as expected"
    if expected is not None:
        if durations.size >= _FEW:
            p_value = ks_test(durations, expected.draw(_DRAWS, seed=0, resolution_seconds=resolution)).p_value
        guilty, because = _guilt(durations, expected, resolution, p_value is not None and p_value < level)
    return Finding(
        stage=stage,
        median=median,
        overlapping_total=sum(each.is_overlapping for each in seen),
        expected_mean_seconds=expected.mean_seconds if expected else None,
        expected_max_seconds=expected.max_seconds if expected else None,
        p_value=p_value,
        is_guilty=guilty,
        because=because,
    )


def _guilt(durations: FloatArray, expected: Expectation, resolution: float, is_other: bool) -> tuple[bool, str]:
    median, mean = float(np.median(durations)), float(durations.mean())
    if median > expected.max_seconds + resolution:
        return True, f"its median of {median:.2f} s is beyond the {expected.max_seconds:.2f} s it may take at worst"
    is_later = mean > expected.mean_seconds + resolution
    if is_other and is_later:
        return True, f"its mean of {mean:.2f} s is not that of the expected distribution, {expected.mean_seconds:.2f} s"
    if is_other and mean < expected.mean_seconds - resolution:
        return False, f"earlier than expected: {mean:.2f} s on average, not {expected.mean_seconds:.2f} s"
    return False, "as expected"
