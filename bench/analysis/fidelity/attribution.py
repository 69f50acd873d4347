"""
Whose device it was: what the labels claim against what the pods saw inside.

An error is told by its kind, since each has another cure: missing (nobody named), unnamed (of several that share the
device another one is named), wrong (a pod that never had it, in the place of one that has), ghost (a pod that had it
and ended), duplicate (the device is shown once more, beside those that hold it).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from bench.analysis.intervals import Interval, median_interval, wilson_interval
from bench.model.measurement import FloatArray

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
Key = tuple[str, str]
"""Device uuid and ``namespace/pod``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A pod that holds a device, by what was seen inside the pod, from its container's start to its end."""

    uuid: str
    pod: str
    start_seconds: float
    end_seconds: float

    def surely_at(self, times: FloatArray, guard_seconds: float) -> BoolArray:
        """Whether it holds the device at each time, though start and end are known to the guard only."""
        return (times >= self.start_seconds + guard_seconds) & (times <= self.end_seconds - guard_seconds)

    def perhaps_at(self, times: FloatArray, guard_seconds: float) -> BoolArray:
        """Whether it may."""
        return (times >= self.start_seconds - guard_seconds) & (times <= self.end_seconds + guard_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """
    Precision and recall over samples, errors by kind, and pods that were named throughout.

    Samples of one pod hang together; `pods_right` with its interval counts each pod once and is the one to quote.
    """

    right_total: int
    claimed_total: int
    due_total: int
    missing_total: int
    unnamed_total: int
    wrong_total: int
    ghost_total: int
    duplicate_total: int
    pods_right: Interval

    @property
    def precision_ratio(self) -> float:
        """Share of what was claimed that is true; 1 where nothing was claimed."""
        return self.right_total / self.claimed_total if self.claimed_total else 1.0

    @property
    def recall_ratio(self) -> float:
        """Share of what is true that was claimed; 1 where nothing was to be claimed."""
        return self.right_total / self.due_total if self.due_total else 1.0


def attribute(
    claims: Mapping[Key, FloatArray],
    scrapes: Mapping[str, FloatArray],
    holdings: Sequence[Holding],
    *,
    guard_seconds: float,
    named_and_not: Mapping[str, FloatArray] = MappingProxyType({}),
) -> Attribution:
    """
    Hold the claims against the holdings, scrape by scrape.

    Args:
        claims: times at which a sample of the device carried the pod's labels.
        scrapes: by device, the times at which any sample of it was stored.
        holdings: the truth.
        guard_seconds: around the start and the end of a holding neither claim nor silence counts; how long the labels
            take to follow is `label_delays`. Before its start too a claim of the pod does not count, unless another
            one surely holds the device: a device is given to a pod before its images are there.
        named_and_not: by device, the times at which it was shown with a pod's name and once more without any.

    """
    named_at: dict[str, dict[str, FloatArray]] = defaultdict(dict)
    for (uuid, pod), times in claims.items():
        named_at[uuid][pod] = times
    held_at: dict[str, list[Holding]] = defaultdict(list)
    for holding in holdings:
        held_at[holding.uuid].append(holding)
    counts, nothing = _Counts(), np.empty(0)
    for uuid in named_at.keys() | held_at.keys() | named_and_not.keys():
        named, held = named_at[uuid], held_at[uuid]
        crowd = _Crowd.of(named, held, guard_seconds)
        _count_named(counts, named, held, crowd, named_and_not.get(uuid, nothing))
        _count_due(counts, named, held, crowd, scrapes.get(uuid, nothing))
    return Attribution(
        right_total=counts.right,
        claimed_total=counts.claimed,
        due_total=counts.due,
        missing_total=counts.missing,
        unnamed_total=counts.unnamed,
        wrong_total=counts.wrong,
        ghost_total=counts.ghost,
        duplicate_total=counts.duplicate,
        pods_right=wilson_interval(counts.pods_right, len(holdings)),
    )


@dataclass(slots=True)
class _Counts:
    right: int = 0
    claimed: int = 0
    wrong: int = 0
    ghost: int = 0
    missing: int = 0
    unnamed: int = 0
    due: int = 0
    duplicate: int = 0
    pods_right: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crowd:
    """At each time at which any pod is named: how many are, how many of these have or had it, how many have it now."""

    guard_seconds: float
    times: FloatArray
    named: IntArray
    named_owners: IntArray
    sure_holders: IntArray

    @classmethod
    def of(cls, named: Mapping[str, FloatArray], held: Sequence[Holding], guard: float) -> "_Crowd":
        times, counts = np.unique(np.concatenate([np.empty(0), *named.values()]), return_counts=True)
        sure, named_owners = (np.zeros(times.shape, dtype=np.int64) for _ in range(2))
        for each in held:
            sure += each.surely_at(times, guard)
        for pod, claimed in named.items():
            begins = min((each.start_seconds for each in held if each.pod == pod), default=np.inf)
            named_owners += (times >= begins - guard) & np.isin(times, claimed)
        return cls(guard_seconds=guard, times=times, named=counts, named_owners=named_owners, sure_holders=sure)

    def is_beside_owners(self, times: FloatArray) -> BoolArray:
        """Whether as many are named as hold it, one at least: a pod that ended is an owner too, and named late."""
        places = np.searchsorted(self.times, times)
        is_beside: BoolArray = (self.named_owners >= np.maximum(1, self.sure_holders))[places]
        return is_beside

    def is_held(self, times: FloatArray) -> BoolArray:
        """Whether anybody surely holds it."""
        is_held: BoolArray = (self.sure_holders > 0)[np.searchsorted(self.times, times)]
        return is_held

    def silences(self, times: FloatArray) -> tuple[int, int]:
        """Of times at which a holder is not named: at how many nobody is, and at how many fewer than hold it."""
        if not self.times.size:
            return int(times.size), 0
        places = np.clip(np.searchsorted(self.times, times), 0, self.times.size - 1)
        is_named = self.times[places] == times
        return int((~is_named).sum()), int((is_named & (self.named < self.sure_holders)[places]).sum())


def _count_named(
    counts: _Counts,
    named: Mapping[str, FloatArray],
    held: Sequence[Holding],
    crowd: _Crowd,
    named_and_not: FloatArray,
) -> None:
    """Of one device, what was claimed of it."""
    strangers = [np.empty(0)]
    for pod, times in named.items():
        strange = _count_own(counts, times, [each for each in held if each.pod == pod], crowd)
        is_beside = crowd.is_beside_owners(strange) | np.isin(strange, named_and_not)
        counts.duplicate += int(is_beside.sum())
        counts.wrong += int((~is_beside).sum())
        counts.claimed += int(strange.size)
        strangers.append(strange)
    # shown once more without any name; beside a stranger's it is counted already
    counts.duplicate += int((~np.isin(named_and_not, np.concatenate(strangers))).sum())


def _count_own(counts: _Counts, times: FloatArray, mine: Sequence[Holding], crowd: _Crowd) -> FloatArray:
    """Count the claims of a pod that had the device; returns the times of those that are a stranger's."""
    guard = crowd.guard_seconds
    right, blurred, after, before = (np.zeros(times.shape, dtype=bool) for _ in range(4))
    for each in mine:
        right |= each.surely_at(times, guard)
        blurred |= each.perhaps_at(times, guard)
        after |= times > each.end_seconds + guard
        before |= times < each.start_seconds - guard
    is_ghost = after & ~blurred
    is_early = before & ~after & ~blurred & ~crowd.is_held(times)
    counts.right += int(right.sum())
    counts.ghost += int(is_ghost.sum())
    counts.claimed += int(right.sum()) + int(is_ghost.sum())
    return times[~blurred & ~is_ghost & ~is_early]


def _count_due(
    counts: _Counts, named: Mapping[str, FloatArray], held: Sequence[Holding], crowd: _Crowd, scrapes: FloatArray
) -> None:
    """Of one device, what was to be claimed of it."""
    for holding in held:
        due = scrapes[holding.surely_at(scrapes, crowd.guard_seconds)]
        unnamed = due[~np.isin(due, named.get(holding.pod, np.empty(0)))]
        nobody, another = crowd.silences(unnamed)
        counts.due += int(due.size)
        counts.missing += nobody
        counts.unnamed += another
        counts.pods_right += bool(due.size and not unnamed.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDelays:
    """From a container's start to the first sample with its pod's labels, and from its end to the last one."""

    appear_seconds: tuple[float, ...]
    linger_seconds: tuple[float, ...]
    never_total: int

    @property
    def appear(self) -> Interval | None:
        """The median time to appear; None where no label ever did."""
        return median_interval(self.appear_seconds) if self.appear_seconds else None


def label_delays(claims: Mapping[Key, FloatArray], holdings: Sequence[Holding]) -> LabelDelays:
    """
    How long labels take to come and to go; a label that was there before its container counts as 0.

    Lingering counts from the end of the holding; one that went before the end does not linger.
    """
    appear, linger, never = [], [], 0
    for holding in holdings:
        times = claims.get((holding.uuid, holding.pod), np.empty(0))
        later = times[times >= holding.start_seconds]
        if later.size == 0:
            never += 1
            continue
        appear.append(float(later[0]) - holding.start_seconds)
        linger.append(max(0.0, float(later[-1]) - holding.end_seconds))
    return LabelDelays(appear_seconds=tuple(appear), linger_seconds=tuple(linger), never_total=never)


def conservation_ratio(per_pod: FloatArray, device: FloatArray) -> float:
    """
    What the pods' shares add up to, relative to the device: 1 where it was divided, N where each of N was told all.

    `per_pod` has one row a pod, one column a scrape; NaN where a pod was not told. Scrapes at rest tell nothing.
    """
    moving = np.isfinite(device) & (device > 0)
    if not bool(moving.any()):
        return float("nan")
    return float(np.median(np.nansum(per_pod[:, moving], axis=0) / device[moving]))
