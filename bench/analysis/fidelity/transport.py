"""
What happens to samples on their way: missing ones, counters that fall, values that cannot be, broken series.

`up` is no measure of coverage: an exporter answers while the samples behind it are lost.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bench.analysis.intervals import Interval, wilson_interval
from bench.analysis.signals import Signal
from bench.model.measurement import FloatArray

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Scrapes that are there, of those that were due, and the holes between them."""

    share: Interval
    gaps_total: int
    longest_gap_seconds: float


def coverage(times_seconds: FloatArray, *, start_seconds: float, end_seconds: float, scrape_seconds: float) -> Coverage:
    """How much of the window the samples cover; a hole is longer than one and a half scrape intervals."""
    inside = np.unique(times_seconds[(times_seconds >= start_seconds) & (times_seconds <= end_seconds)])
    due = max(1, math.floor((end_seconds - start_seconds) / scrape_seconds))
    gaps = np.diff(np.concatenate([[start_seconds], inside, [end_seconds]]))
    return Coverage(
        share=wilson_interval(min(int(inside.size), due), due),
        gaps_total=int((gaps > 1.5 * scrape_seconds).sum()),
        longest_gap_seconds=float(gaps.max()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A counter's falls, and its rate against the rate that it should have."""

    resets_total: int
    rises_total: int
    rate_ratio: float

    @property
    def looks_like_gauge(self) -> bool:
        """Whether it falls so often that it counts nothing: a counter is reset now and then, not all the time."""
        return self.resets_total > max(2, self.rises_total // 4)


def counter(exported: Signal, *, mean_rate_per_second: float) -> Counter:
    """
    Falls of the counter, and its whole rise over its time against the rate measured otherwise.

    For energy the other rate is the mean power.
    """
    steps = np.diff(exported.values)
    elapsed = float(np.ptp(exported.times_seconds)) if exported.times_seconds.size else 0.0
    rate = float(steps[steps > 0].sum()) / elapsed if elapsed > 0 else math.nan
    return Counter(
        resets_total=int((steps < 0).sum()),
        rises_total=int((steps > 0).sum()),
        rate_ratio=rate / mean_rate_per_second if mean_rate_per_second else math.nan,
    )


_BLANKS = np.array(
    [float(0x7FFFFFFFFFFFFFF0), *[float(0x7FFFFFF0 + kind) for kind in range(4)], 140737488355328.0]
    + [140737488355328.0 + kind for kind in range(1, 4)]
)
# A blank passes the border like any number and is converted with it.
_CONVERSIONS = np.array([1.0, 0.01, 1e-3, 1024.0, 1048576.0, 1e6])


def sentinels(values: FloatArray) -> BoolArray:
    """Which values are DCGM's marks for a blank, converted or not, taken for numbers."""
    marks = (_BLANKS[:, np.newaxis] * _CONVERSIONS).ravel()
    marks.sort()
    places = np.clip(np.searchsorted(marks, values), 1, marks.size - 1)
    nearest = np.minimum(np.abs(values - marks[places - 1]), np.abs(values - marks[places]))
    are_marks: BoolArray = nearest <= 1e-9 * np.abs(values)
    return are_marks


class Bound(StrEnum):
    """Which values a quantity can have."""

    RATIO = "ratio"
    NOT_NEGATIVE = "not-negative"


def out_of_range_total(values: FloatArray, bound: Bound) -> int:
    """How many values cannot be; a ratio may pass 1 by the last bits only."""
    bad = ~np.isfinite(values) | (values < 0)
    if bound is Bound.RATIO:
        bad |= values > 1.0 + 1e-9
    return int(bad.sum())


def memory_imbalance_bytes(used: FloatArray, free: FloatArray, reserved: FloatArray, total_bytes: float) -> FloatArray:
    """How far used, free and reserved together are from the total; three roundings to a MiB leave up to 3 MiB."""
    imbalance: FloatArray = used + free + reserved - total_bytes
    return imbalance


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """Between the series of a device without a pod and the one with it: time without either, or with both."""

    at_seconds: float
    gap_seconds: float
    overlap_seconds: float


def hand_overs(pieces: Sequence[Signal], *, scrape_seconds: float) -> tuple[HandOver, ...]:
    """
    Each change from one series of a device to the next, in the order of time.

    One scrape interval between the last sample of one and the first of the next is no gap.
    """
    there = (each for each in pieces if each.times_seconds.size)
    ordered = sorted(there, key=lambda each: float(each.times_seconds[0]))
    found = []
    for before, after in pairwise(ordered):
        between = float(after.times_seconds[0]) - float(before.times_seconds[-1])
        found.append(
            HandOver(
                at_seconds=float(after.times_seconds[0]),
                gap_seconds=max(0.0, between - scrape_seconds),
                overlap_seconds=max(0.0, -between),
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cardinality:
    """Series of a device at the end, and how many new ones an hour brings."""

    present_total: int
    new_per_hour: float


def cardinality(
    first_seen_seconds: FloatArray, last_seen_seconds: FloatArray, *, start_seconds: float, end_seconds: float
) -> Cardinality:
    """Series that are there within a scrape of the end, and those that began after the window's first minute."""
    hours = (end_seconds - start_seconds) / 3600.0
    begun = int((first_seen_seconds > start_seconds + 60.0).sum())
    return Cardinality(
        present_total=int((last_seen_seconds >= end_seconds - 60.0).sum()),
        new_per_hour=begun / hours if hours > 0 else math.nan,
    )
