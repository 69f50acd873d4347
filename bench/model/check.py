"""
Checks: a bound on a measurement, with the reason for the bound beside it.

Judging is pure and raises nothing: the same readings give the same result today and next year.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from bench.model.measurement import NO_LABELS, Absent, FloatArray, Measurement, Reading, find_readings, no_labels
from bench.model.presence import Part, told_away
from bench.model.verdict import Verdict, worst


class Statistic(StrEnum):
    """How the values of one series become the one number that is compared."""

    FIRST = "first"
    LAST = "last"
    COUNT = "count"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    MEAN = "mean"
    MEDIAN = "median"
    P90 = "p90"
    P95 = "p95"
    P99 = "p99"
    RANGE = "range"

    def of(self, values: FloatArray) -> float:
        """
        The statistic of at least one value; quantiles are values that were seen, not interpolations.

        An interpolated p99 of few values lies below the worst one and would pass a bound that was broken.
        """
        return float(_STATISTICS[self](values))


_STATISTICS: Final[Mapping[Statistic, Callable[[FloatArray], Any]]] = {
    Statistic.FIRST: lambda values: values[0],
    Statistic.LAST: lambda values: values[-1],
    Statistic.COUNT: lambda values: values.size,
    Statistic.SUM: np.sum,
    Statistic.MIN: np.min,
    Statistic.MAX: np.max,
    Statistic.MEAN: np.mean,
    Statistic.MEDIAN: np.median,
    Statistic.P90: lambda values: np.quantile(values, 0.90, method="inverted_cdf"),
    Statistic.P95: lambda values: np.quantile(values, 0.95, method="inverted_cdf"),
    Statistic.P99: lambda values: np.quantile(values, 0.99, method="inverted_cdf"),
    Statistic.RANGE: np.ptp,
}


class Relation(StrEnum):
    """How the number and the bound must stand."""

    AT_MOST = "at most"
    AT_LEAST = "at least"
    EQUALS = "equals"
    WITHIN = "within"

    def holds(self, observed: float, check: "Check") -> bool:
        """Whether `observed` keeps the bound of `check`."""
        match self:
            case Relation.AT_MOST:
                return observed <= check.bound
            case Relation.AT_LEAST:
                return observed >= check.bound
            case Relation.EQUALS:
                return observed == check.bound
            case Relation.WITHIN:
                return abs(observed - check.bound) <= check.tolerance


class Basis(StrEnum):
    """Who demands it; `ours` is stricter than the programme and never denies a requirement."""

    CHECKLIST = "checklist"
    KAR = "kar"
    UPSTREAM_TEST = "upstream-test"
    OURS = "ours"


class Kind(StrEnum):
    """Conformance and performance are told apart, and never added up."""

    CONFORMANCE = "conformance"
    PERFORMANCE = "performance"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """A check, what was observed, and the verdict with its reason."""

    claim: str
    verdict: Verdict
    observed: float | None
    bound: str
    reason: str
    because: str
    basis: Basis
    kind: Kind
    measurement: str
    labels: Mapping[str, str] = field(default_factory=no_labels)
    beyond: float | None = None
    """How far the observed lies beyond the bound, in the unit of the measurement; None where it is not known to."""
    look_at: str = ""
    """Where to look when it did not pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """
    A claim that a statistic of a measurement keeps a bound.

    Where several series carry the name (one a device, say), each must keep it; `labels` narrows them down. A series
    that is absent, or no series at all, leaves the claim unknown.
    """

    claim: str
    measurement: str
    statistic: Statistic
    relation: Relation
    bound: float
    because: str
    basis: Basis = Basis.OURS
    kind: Kind = Kind.CONFORMANCE
    tolerance: float = 0.0
    labels: Mapping[str, str] = field(default_factory=no_labels)
    look_at: str = ""
    depends_on: tuple[Part, ...] = ()
    """A bound that is not kept is no failure where one of these was away meanwhile: that leaves it unknown."""

    def __post_init__(self) -> None:
        if not self.claim or not self.because:
            raise ValueError(f"a check of {self.measurement!r} needs a claim and the reason for its bound")
        if math.isnan(self.bound):
            raise ValueError(f"the check {self.claim!r} has a bound that is not a number")
        if (self.relation is Relation.WITHIN) != (self.tolerance > 0):
            raise ValueError(f"the check {self.claim!r}: a tolerance belongs to the relation 'within', and only to it")
        object.__setattr__(self, "labels", MappingProxyType(dict(self.labels)))

    def __hash__(self) -> int:
        return hash((self.claim, self.measurement, self.statistic, self.relation, self.bound))

    @property
    def bound_text(self) -> str:
        """The bound as a sentence part, such as ``p99 at most 1``."""
        spread = f" ± {self.tolerance:g}" if self.relation is Relation.WITHIN else ""
        return f"{self.statistic} {self.relation} {self.bound:g}{spread}"

    def judge(self, readings: Iterable[Reading]) -> CheckResult:
        """The worst verdict over the series that carry the name, by the series that is worst; raises nothing."""
        readings = tuple(readings)
        result = self._judge(readings)
        away = told_away(readings, self.depends_on) if result.verdict is not Verdict.PASS else ""
        if not away:
            return result
        return replace(result, verdict=Verdict.INCONCLUSIVE, reason=f"{away}; {result.reason}", beyond=None)

    def _judge(self, readings: Iterable[Reading]) -> CheckResult:
        found = find_readings(readings, self.measurement, self.labels)
        if not found:
            return self._result(Verdict.INCONCLUSIVE, None, f"no reading named {self.measurement}")
        judged = [self._judge_one(each) for each in found]
        verdict = worst(part.verdict for part in judged)
        return max(
            (part for part in judged if part.verdict is verdict),
            key=lambda part: -math.inf if part.observed is None else self.excess(part.observed),
        )

    def _judge_one(self, reading: Reading) -> CheckResult:
        if isinstance(reading, Absent):
            return self._result(Verdict.INCONCLUSIVE, None, f"absent: {reading.reason}", reading.labels)
        observed = self._observe(reading)
        if math.isnan(observed):
            return self._result(Verdict.INCONCLUSIVE, None, "the values are not numbers", reading.labels)
        verdict = Verdict.PASS if self.relation.holds(observed, self) else Verdict.FAIL
        reason = f"{self.statistic} of {reading.values.size} value(s) is {observed:g}, bound: {self.bound_text}"
        return self._result(verdict, observed, reason, reading.labels)

    def excess(self, observed: float) -> float:
        """How far `observed` lies outside what the bound allows; negative where it has room left."""
        match self.relation:
            case Relation.AT_MOST:
                return observed - self.bound
            case Relation.AT_LEAST:
                return self.bound - observed
            case _:
                return abs(observed - self.bound) - self.tolerance

    def _observe(self, measurement: Measurement) -> float:
        if self.statistic is not Statistic.COUNT and bool(np.isnan(measurement.values).any()):
            return math.nan
        with np.errstate(all="ignore"):
            return self.statistic.of(measurement.values)

    def _result(
        self, verdict: Verdict, observed: float | None, reason: str, labels: Mapping[str, str] = NO_LABELS
    ) -> CheckResult:
        return CheckResult(
            claim=self.claim,
            verdict=verdict,
            observed=observed,
            bound=self.bound_text,
            reason=reason,
            because=self.because,
            basis=self.basis,
            kind=self.kind,
            measurement=self.measurement,
            labels=labels,
            beyond=self.excess(observed) if observed is not None and verdict is Verdict.FAIL else None,
            look_at=self.look_at,
        )
