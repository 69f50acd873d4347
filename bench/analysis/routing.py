"""
Whether traffic went where it was sent: shares of backends against weights, headers against backends.

A split is right when the weight lies in the 99 % interval of what was seen *and* the difference is small in itself:
with few requests the first is easy, with many the second is.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.intervals import Interval, TestResult, chi_square_test, wilson_interval
from bench.model.measurement import FloatArray

LEVEL = 0.99
TOLERANCE_RATIO = 0.025


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One backend's share: wanted, seen with its 99 % interval, and whether they agree."""

    backend: str
    wanted: float
    seen: Interval
    agrees: bool

    @property
    def difference_ratio(self) -> float:
        """Seen less wanted."""
        return self.seen.estimate - self.wanted


def split(answers: Sequence[str], weights: Mapping[str, float]) -> tuple[Share, ...]:
    """
    Shares of the backends that answered, against their weights; a weight of nothing must be kept exactly.

    Answers of a backend without weight count in the total and as a share of their own.

    Raises:
        ValueError: no answers, or weights that are negative or all zero.

    """
    whole = sum(weights.values())
    if not answers or whole <= 0 or min(weights.values()) < 0:
        raise ValueError("a split needs answers, and weights that are not negative and not all zero")
    seen = Counter(answers)
    shares = []
    for backend in sorted({*weights, *seen}):
        wanted = weights.get(backend, 0.0) / whole
        interval = wilson_interval(seen[backend], len(answers), LEVEL)
        shares.append(Share(backend=backend, wanted=wanted, seen=interval, agrees=_agrees(wanted, interval)))
    return tuple(shares)


def _agrees(wanted: float, seen: Interval) -> bool:
    if wanted in (0.0, 1.0):
        return seen.estimate == wanted
    return seen.covers(wanted) and abs(seen.estimate - wanted) <= TOLERANCE_RATIO


def misroutes_total(expected: Sequence[str], answered: Sequence[str]) -> int:
    """
    How many requests another backend answered than the one its headers ask for.

    Raises:
        ValueError: the sequences differ in length.

    """
    return sum(want != got for want, got in zip(expected, answered, strict=True))


def evenness(answers: Sequence[str], backends: Sequence[str]) -> TestResult:
    """Chi-square of an even spread over the backends, those that never answered included."""
    seen = Counter(answers)
    counts = np.array([seen[backend] for backend in backends], dtype=np.float64)
    return chi_square_test(counts, np.full(counts.size, counts.sum() / counts.size))


def converged_seconds(
    times_seconds: FloatArray, is_backend: FloatArray, *, wanted: float, window: int, after_seconds: float
) -> float | None:
    """
    How long after a change of weights the last `window` answers first agreed with the new weight.

    `is_backend` is 1 where the backend in question answered. None where they never did.
    """
    later = times_seconds >= after_seconds
    times, hits = times_seconds[later], is_backend[later]
    if times.size < window:
        return None
    sums = np.cumsum(np.concatenate([[0.0], hits]))
    counts = sums[window:] - sums[:-window]
    for place, count in enumerate(counts):
        if wilson_interval(int(count), window, LEVEL).covers(wanted):
            return float(times[place + window - 1]) - after_seconds
    return None


def streamed_ratio(sent_seconds: FloatArray, first_seconds: FloatArray, end_seconds: FloatArray) -> float:
    """
    Share of streamed answers whose first chunk came in the first half of their time; NaN of none.

    A proxy that buffers delivers all chunks at the end, so that the first one comes with the last.
    """
    whole = end_seconds - sent_seconds
    known = np.isfinite(whole) & (whole > 0) & np.isfinite(first_seconds)
    if not bool(known.any()):
        return float("nan")
    return float(np.mean((first_seconds - sent_seconds)[known] <= 0.5 * whole[known]))
