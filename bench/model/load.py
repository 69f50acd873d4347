"""
Load: requests made upon a workload, as it is asked for and as it came out.

Open loop means that arrivals do not wait for answers; a closed loop waits. The evidence must say which.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from bench.model.measurement import FloatArray


class Loop(StrEnum):
    """Whether arrivals wait for answers."""

    OPEN = "open"
    CLOSED = "closed"


class Arrivals(StrEnum):
    """How the gaps between open-loop arrivals are drawn."""

    CONSTANT = "constant"
    POISSON = "poisson"
    GAMMA = "gamma"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadStep:
    """A stretch of constant intensity: a rate for an open loop, users for a closed one."""

    duration_seconds: float
    rate_per_second: float = 0.0
    users: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.duration_seconds) and self.duration_seconds > 0):
            raise ValueError(f"a load step lasts a positive time, not {self.duration_seconds!r} s")
        if self.rate_per_second < 0 or self.users < 0:
            raise ValueError("a load step has no negative rate or users")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadShape:
    """Intensity over time, the arrival process and its seed; bounded in time always."""

    steps: tuple[LoadStep, ...]
    loop: Loop = Loop.OPEN
    arrivals: Arrivals = Arrivals.POISSON
    seed: int = 0
    request_timeout_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("a load shape needs at least one step")

    @property
    def duration_seconds(self) -> float:
        """Sum of the steps."""
        return sum(step.duration_seconds for step in self.steps)

    @property
    def request_count_expected(self) -> float:
        """Mean number of requests of an open loop."""
        return sum(step.duration_seconds * step.rate_per_second for step in self.steps)

    @property
    def step_starts_seconds(self) -> tuple[float, ...]:
        """When each step starts, counted from the start of the load."""
        lengths = [step.duration_seconds for step in self.steps]
        return tuple(float(each) for each in np.cumsum([0.0, *lengths[:-1]]))


def _columns_agree(sizes: Mapping[str, int]) -> None:
    if len(set(sizes.values())) > 1:
        raise ValueError(f"load records have columns of different lengths: {dict(sizes)}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadRecords:
    """
    One entry a request, as columns; times are UTC seconds, NaN where it did not come to that.

    `intended` is when the schedule wanted the request, `sent` when it left; what a user waits counts from `intended`.
    """

    intended_seconds: FloatArray
    sent_seconds: FloatArray
    first_token_seconds: FloatArray
    end_seconds: FloatArray
    is_ok: np.ndarray[tuple[int], np.dtype[np.bool_]]
    output_tokens_total: FloatArray
    backends: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        sizes = {
            "intended": self.intended_seconds.size,
            "sent": self.sent_seconds.size,
            "first_token": self.first_token_seconds.size,
            "end": self.end_seconds.size,
            "is_ok": self.is_ok.size,
            "output_tokens": self.output_tokens_total.size,
            "backends": len(self.backends) or self.intended_seconds.size,
        }
        _columns_agree(sizes)

    @property
    def count(self) -> int:
        """Number of requests."""
        return int(self.intended_seconds.size)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadResult:
    """What came of a load: the records, what was due and not sent, errors by class, and how late the generator was."""

    shape: LoadShape
    engine: str
    records: LoadRecords
    not_sent_total: int
    errors: Mapping[str, int]
    warmup_seconds: float = 0.0

    @property
    def lateness_seconds(self) -> FloatArray:
        """How much later than intended each request left; the generator's own fault, not the target's."""
        late = self.records.sent_seconds - self.records.intended_seconds
        return late[np.isfinite(late)]
