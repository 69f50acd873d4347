"""
The arithmetic of the HorizontalPodAutoscaler (autoscaling/v2), as its controller does it.

Pure: from a metric's value and pod counts to the number of replicas it will ask for. In the controller's own order of
operations, whole thousandths and floating point included, so that both round alike. Tests in the lab hold it against
the real controller. What it implies for a user's own HPA (reachable counts, flapping) is in `bench.analysis.reach`.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum


class MetricKind(StrEnum):
    """The metric's type in the HPA."""

    PODS = "Pods"
    OBJECT = "Object"
    EXTERNAL = "External"


class TargetKind(StrEnum):
    """How the target is meant."""

    VALUE = "Value"
    AVERAGE_VALUE = "AverageValue"


class Select(StrEnum):
    """Which of several policies counts."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """At most `pods`, or `ratio` of the replicas, more or fewer in `period_seconds`; or up to `replicas` at once."""

    period_seconds: float
    pods: int = 0
    ratio: float = 0.0
    replicas: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """Stabilisation window, tolerance and rate policies of one direction."""

    stabilization_seconds: float
    policies: tuple[Policy, ...]
    select: Select = Select.MAX
    tolerance_ratio: float = 0.1


def plain_up() -> Behavior:
    """An HPA without `behavior`: at once, to twice the replicas or to four, whichever is more, at every sync."""
    policies = (Policy(period_seconds=0, ratio=1.0), Policy(period_seconds=0, replicas=4))
    return Behavior(stabilization_seconds=0.0, policies=policies)


def default_up() -> Behavior:
    """What a `behavior` without `scaleUp` means: at once, by four pods or a doubling in 15 s, whichever is more."""
    policies = (Policy(period_seconds=15, pods=4), Policy(period_seconds=15, ratio=1.0))
    return Behavior(stabilization_seconds=0.0, policies=policies)


def default_down() -> Behavior:
    """Kubernetes' default: after 300 s, by any number."""
    return Behavior(stabilization_seconds=300.0, policies=(Policy(period_seconds=15, ratio=1.0),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hpa:
    """What of an HPA decides on replicas, for one metric."""

    metric: MetricKind
    target_kind: TargetKind
    target: float
    min_replicas: int
    max_replicas: int
    up: Behavior = field(default_factory=plain_up)
    down: Behavior = field(default_factory=default_down)
    sync_seconds: float = 15.0

    def __post_init__(self) -> None:
        if not self.target > 0:
            raise ValueError(f"an HPA's target is positive, not {self.target!r}")
        if not 0 <= self.min_replicas <= self.max_replicas:
            raise ValueError(f"an HPA has 0 <= min <= max replicas, not {self.min_replicas} and {self.max_replicas}")
        if self.metric is MetricKind.PODS and self.target_kind is TargetKind.VALUE:
            raise ValueError("a Pods metric has a target of type AverageValue only")

    @classmethod
    def of_object(cls, *, target: float, max_replicas: int) -> "Hpa":
        """One with an Object metric and an AverageValue, and Kubernetes' defaults for the rest."""
        return cls(
            metric=MetricKind.OBJECT,
            target_kind=TargetKind.AVERAGE_VALUE,
            target=target,
            min_replicas=1,
            max_replicas=max_replicas,
        )

    def tolerates(self, usage_ratio: float) -> bool:
        """Whether usage over target is so close to 1 that nothing is done."""
        return 1.0 - self.down.tolerance_ratio <= usage_ratio <= 1.0 + self.up.tolerance_ratio


def milli(value: float) -> int:
    """`value` as the metrics API carries it: whole thousandths, rounded up."""
    return math.ceil(round(value * 1000.0, 6))


def desired_replicas(hpa: Hpa, usage: float, *, replicas: int, ready: int) -> int:
    """
    What the controller computes from an Object or External metric, before windows, policies and bounds.

    `replicas` counts Pending pods too; with an AverageValue they dilute the ratio.
    """
    usage_milli, target_milli = milli(usage), milli(hpa.target)
    if hpa.target_kind is TargetKind.VALUE:
        ratio = usage_milli / target_milli
        if replicas == 0:
            return math.ceil(ratio)
        return replicas if hpa.tolerates(ratio) else math.ceil(ratio * ready)
    if replicas and hpa.tolerates(usage_milli / (float(target_milli) * replicas)):
        return replicas
    return math.ceil(usage_milli / target_milli)


def desired_replicas_of_pods(hpa: Hpa, usages: tuple[float, ...], *, missing: int = 0, pending: int = 0) -> int:
    """
    What the controller computes from a Pods metric, before windows, policies and bounds.

    Pods without a value count as 0 when scaling up and as the target when scaling down; Pending pods count as 0 when
    scaling up. What that turns round, or brings within the tolerance, changes nothing.

    Raises:
        ValueError: no pod has a value; the controller then does nothing and says so in a condition.

    """
    if not usages:
        raise ValueError("no pod has a value of the metric")
    replicas = len(usages) + missing + pending
    ratio = _mean_ratio(hpa, usages)
    counts_pending = pending > 0 and ratio > 1.0
    if not counts_pending and not missing:
        return replicas if hpa.tolerates(ratio) else math.ceil(ratio * len(usages))
    filled = usages + (0.0 if ratio > 1.0 else hpa.target,) * missing + (0.0,) * (pending if counts_pending else 0)
    corrected = _mean_ratio(hpa, filled)
    if hpa.tolerates(corrected) or (ratio < 1.0 < corrected) or (corrected < 1.0 < ratio):
        return replicas
    wanted = math.ceil(corrected * len(filled))
    is_turned = (corrected < 1.0 and wanted > replicas) or (corrected > 1.0 and wanted < replicas)
    return replicas if is_turned else wanted


def _mean_ratio(hpa: Hpa, usages: tuple[float, ...]) -> float:
    # the controller divides whole thousandths and drops the rest
    return sum(milli(each) for each in usages) // len(usages) / milli(hpa.target)


@dataclass(slots=True)
class Decider:
    """
    The controller's memory: recommendations within the windows, and scalings within the policies' periods.

    Mutable on purpose; one is made for each course of events that is followed.
    """

    hpa: Hpa
    recommendations: list[tuple[float, int]] = field(default_factory=list)
    scalings: list[tuple[float, int]] = field(default_factory=list)
    _has_looked: bool = False

    def decide(self, now_seconds: float, current: int, wanted: int) -> int:
        """The replicas that the HPA asks for at this sync, given what the metric alone wants."""
        hpa = self.hpa
        if not self._has_looked:
            # what the controller finds when it sees an HPA first is its first recommendation
            self.recommendations.append((now_seconds, current))
            self._has_looked = True
        longest = max(hpa.up.stabilization_seconds, hpa.down.stabilization_seconds)
        self.recommendations = [each for each in self.recommendations if each[0] > now_seconds - longest]
        chosen = self._stabilized(now_seconds, current, wanted)
        self.recommendations.append((now_seconds, wanted))
        limited = self._limited(now_seconds, current, chosen)
        bounded = min(max(limited, hpa.min_replicas), hpa.max_replicas)
        if bounded != current:
            self.scalings.append((now_seconds, bounded - current))
        return bounded

    def _stabilized(self, now: float, current: int, wanted: int) -> int:
        lowest = min([wanted, *self._since(now - self.hpa.up.stabilization_seconds)])
        highest = max([wanted, *self._since(now - self.hpa.down.stabilization_seconds)])
        return min(max(current, lowest), highest)

    def _since(self, cutoff: float) -> list[int]:
        return [count for at, count in self.recommendations if at > cutoff]

    def _limited(self, now: float, current: int, chosen: int) -> int:
        if chosen > current:
            return min(chosen, max(current, self._limit(now, current, self.hpa.up, sign=1)))
        if chosen < current:
            return max(chosen, min(current, self._limit(now, current, self.hpa.down, sign=-1)))
        return chosen

    def _limit(self, now: float, current: int, behavior: Behavior, *, sign: int) -> int:
        if behavior.select is Select.DISABLED:
            return current
        limits = []
        for policy in behavior.policies:
            changed = sum(change for at, change in self.scalings if at > now - policy.period_seconds)
            start = current - changed
            if policy.replicas:
                limits.append(policy.replicas)
            elif policy.pods:
                limits.append(start + sign * policy.pods)
            else:
                share = start * (1.0 + sign * policy.ratio)
                limits.append(math.ceil(share) if sign > 0 else math.floor(share))
        widest = (max if sign > 0 else min)(limits)
        narrowest = (min if sign > 0 else max)(limits)
        return widest if behavior.select is Select.MAX else narrowest
