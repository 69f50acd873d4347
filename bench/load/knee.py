"""Searches the rate at which the objectives break: doubling, then bisection, each rate tried more than once."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.errors import WrongUsage
from bench.load.arrivals import Shape
from bench.load.orders import LoadOrder, LoopKind
from bench.load.results import LoadResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One rate, run once."""

    rate: float
    good_ratio: float | None
    held: bool | None
    reason: str
    ttft_p99_seconds: float | None = None
    e2e_p99_seconds: float | None = None
    """Both from when the requests were due; None where none was answered."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Knee:
    """Between these two rates the objectives break; None where that end was not seen."""

    holds_at: float | None
    breaks_at: float | None
    trials: tuple[Trial, ...]

    @property
    def found(self) -> bool:
        return self.holds_at is not None and self.breaks_at is not None

    def to_json(self) -> dict[str, Any]:
        return {
            "holds_at_rate": self.holds_at,
            "breaks_at_rate": self.breaks_at,
            "found": self.found,
            "trials": [trial.to_json() for trial in self.trials],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How it is searched. A rate holds if the most of its repeats hold."""

    first_rate: float
    highest_rate: float
    precision_ratio: float = 0.1
    repeats: int = 3
    runs_max: int = 60


def judge(rate: float, result: LoadResult) -> Trial:
    """A run whose generator was late is no answer: the knee would be the generator's."""
    share, series = result.goodput_share, result.tally.series
    held: bool | None = share is not None and share >= result.order.objectives.share_ratio
    reason = "no request was due" if share is None else f"{share:.4f} of the requests were good"
    if share is None or (result.flags and not held):
        held, reason = None, "; ".join(result.flags) or reason
    return Trial(
        rate=rate,
        good_ratio=share,
        held=held,
        reason=reason,
        ttft_p99_seconds=series["ttft_from_intended"].quantile_seconds(0.99),
        e2e_p99_seconds=series["e2e_from_intended"].quantile_seconds(0.99),
    )


def find_knee(
    search: Search, trial_at: Callable[[float, int], Trial], told: Callable[[Trial], None] = lambda _: None
) -> Knee:
    """
    Pure search: `trial_at(rate, repeat)` runs a rate once.

    Ends by precision, by a rate that cannot be judged, or by the bound on runs.
    """
    trials: list[Trial] = []

    def holds(rate: float) -> bool | None:
        verdicts: list[bool | None] = []
        for repeat in range(search.repeats):
            if len(trials) >= search.runs_max:
                return None
            trials.append(trial_at(rate, repeat))
            told(trials[-1])
            verdicts.append(trials[-1].held)
            if verdicts[-1] is None or max(verdicts.count(True), verdicts.count(False)) * 2 > search.repeats:
                break
        return None if None in verdicts else verdicts.count(True) > verdicts.count(False)

    low: float | None = None
    high: float | None = None
    rate: float | None = search.first_rate
    while rate is not None:
        verdict = holds(rate)
        if verdict is None:
            break
        low, high = (rate, high) if verdict else (low, rate)
        rate = _next(search, low, high)
    return Knee(holds_at=low, breaks_at=high, trials=tuple(trials))


def _next(search: Search, low: float | None, high: float | None) -> float | None:
    if low is None or high is None:
        # Not yet between two ends: outwards, by doubling or halving.
        rate = low * 2 if low is not None else (high or search.first_rate) / 2
        if low is not None and low >= search.highest_rate:
            return None
        return min(rate, search.highest_rate) if rate >= search.first_rate / 1024 else None
    return None if high / low - 1 <= search.precision_ratio else (low * high) ** 0.5


def order_at(order: LoadOrder, rate: float, repeat: int) -> LoadOrder:
    """The same order at another constant rate, with a seed of its own for each repeat."""
    if order.loop is not LoopKind.OPEN:
        raise WrongUsage("--find-knee searches a rate; give --rate to begin with, not --users")
    shape = Shape.constant(rate, order.shape.duration_seconds)
    return replace(order, shape=shape, seed=order.seed + 7919 * repeat)
