"""
What an HPA can and cannot do, said before anything runs.

With a device metric that saturates, the way the adapter adds the devices up decides which replica counts can be reached
at all, and whether a steady demand makes the count go up and down for ever.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from bench.analysis.hpa import Decider, Hpa, MetricKind, TargetKind, desired_replicas


class Aggregation(StrEnum):
    """How the adapter makes one value of the series of all pods."""

    SUM = "sum"
    AVERAGE = "average"
    MAXIMUM = "maximum"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """One replica count: what usage takes it up, what usage takes it down, and the most that can be seen."""

    replicas: int
    up_above: float | None
    down_at_most: float | None
    usage_most: float
    can_go_up: bool
    can_go_down: bool


def effective_threshold(hpa: Hpa, replicas: int = 1) -> float:
    """The usage that must be exceeded to scale up from `replicas`: the target with the tolerance on top."""
    per_count = replicas if _is_per_replica(hpa) else 1
    return hpa.target * per_count * (1.0 + hpa.up.tolerance_ratio)


def _is_per_replica(hpa: Hpa) -> bool:
    """Whether the usage is divided by the replicas; of a Pods metric the usage is the mean already."""
    return hpa.target_kind is TargetKind.AVERAGE_VALUE and hpa.metric is not MetricKind.PODS


def usage_most(aggregation: Aggregation, replicas: int, saturation: float) -> float:
    """The largest value that can be seen when each device shows at most `saturation`."""
    return saturation * replicas if aggregation is Aggregation.SUM else saturation


def reachable(hpa: Hpa, aggregation: Aggregation, saturation: float) -> tuple[Reach, ...]:
    """For each replica count between the bounds: can the metric take it up, can it take it down."""
    rows = []
    for replicas in range(max(1, hpa.min_replicas), hpa.max_replicas + 1):
        most = usage_most(aggregation, replicas, saturation)
        up = effective_threshold(hpa, replicas) if replicas < hpa.max_replicas else None
        down = down_threshold(hpa, replicas) if replicas > max(1, hpa.min_replicas) else None
        rows.append(
            Reach(
                replicas=replicas,
                up_above=up,
                down_at_most=down,
                usage_most=most,
                can_go_up=up is not None and most > up,
                can_go_down=down is not None and down >= 0.0,
            )
        )
    return tuple(rows)


def down_threshold(hpa: Hpa, replicas: int) -> float:
    """The usage at which fewer than `replicas` are asked for: so low that a replica less does, tolerance included."""
    if _is_per_replica(hpa):
        return min(hpa.target * (replicas - 1), hpa.target * replicas * (1.0 - hpa.down.tolerance_ratio))
    return min(hpa.target * (replicas - 1) / replicas, hpa.target * (1.0 - hpa.down.tolerance_ratio))


def highest_reachable(rows: tuple[Reach, ...]) -> int:
    """The most replicas that are reached one by one from the least."""
    for row in rows:
        if not row.can_go_up:
            return row.replicas
    return rows[-1].replicas


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Replicas over time under a steady demand."""

    times_seconds: tuple[float, ...]
    replicas: tuple[int, ...]

    @property
    def changes_total(self) -> int:
        """How often the count changed."""
        return sum(before != after for before, after in pairwise(self.replicas))

    @property
    def turns_total(self) -> int:
        """How often a change went the other way than the one before."""
        return turns_total(self.replicas)

    @property
    def flaps(self) -> bool:
        """Whether it goes up and down again and again: one overshoot may turn twice, not more."""
        return self.turns_total > 2


def turns_total(replicas: Sequence[float]) -> int:
    """How often a change of the replicas, planned or measured, went the other way than the change before it."""
    signs = [after > before for before, after in pairwise(replicas) if after != before]
    return sum(before != after for before, after in pairwise(signs))


def simulate(
    hpa: Hpa, aggregation: Aggregation, *, demand_devices: float, saturation: float, duration_seconds: float
) -> Course:
    """
    The closed loop under a demand that would fill `demand_devices` devices, shared evenly by the replicas.

    Each pod is ready by the next sync; delays in between change when it happens, not what is reached.
    """
    decider = Decider(hpa)
    current = max(1, hpa.min_replicas)
    times, counts = [], []
    for tick in range(int(duration_seconds // hpa.sync_seconds) + 1):
        each = min(saturation, saturation * demand_devices / current)
        usage = each * current if aggregation is Aggregation.SUM else each
        times.append(tick * hpa.sync_seconds)
        counts.append(current)
        wanted = desired_replicas(hpa, usage, replicas=current, ready=current)
        current = max(1, decider.decide(tick * hpa.sync_seconds, current, wanted))
    return Course(times_seconds=tuple(times), replicas=tuple(counts))
