"""
Whose device it was: what the labels claim against what the pods saw inside.

An error is told by its kind, since each has another cure: missing (nobody named), unnamed (of several that share the
device another one is named), wrong (a pod that never had it), ghost (a pod that had it and ended), duplicate (one
holder, several named).
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
Key = tuple[str, str]
"""Device uuid and ``namespace/pod``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A pod that holds a device, by what was seen inside the pod, from its container's start to its end."""

    uuid: str
    pod: str
    start_seconds: float
    end_seconds: float


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
            take to follow is `label_delays`.
        named_and_not: by device, the times at which it was shown with a pod's name and once more without any: a wrong
            name is of a device that is shown twice then, though nobody else is named.

    """
    held: dict[str, list[Holding]] = defaultdict(list)
    for holding in holdings:
        held[holding.uuid].append(holding)
    crowds = {uuid: _Crowd.of(uuid, claims, held.get(uuid, []), guard_seconds) for uuid in {key[0] for key in claims}}
    counts = _Counts()
    for (uuid, pod), times in claims.items():
        mine = [each for each in held.get(uuid, []) if each.pod == pod]
        is_twice = crowds[uuid].is_crowded(times) | np.isin(times, named_and_not.get(uuid, np.empty(0)))
        _count_claims(counts, times, mine, is_twice, guard_seconds)
    pods_right = 0
    for holding in holdings:
        due = _inside(scrapes.get(holding.uuid, np.empty(0)), holding, -guard_seconds)
        unnamed = due[~np.isin(due, claims.get((holding.uuid, holding.pod), np.empty(0)))]
        crowd = crowds.get(holding.uuid)
        counts.due += int(due.size)
        nobody, another = crowd.silences(unnamed) if crowd else (int(unnamed.size), 0)
        counts.missing += nobody
        counts.unnamed += another
        pods_right += bool(due.size and not unnamed.size)
    return Attribution(
        right_total=counts.right,
        claimed_total=counts.right + counts.wrong + counts.ghost + counts.duplicate,
        due_total=counts.due,
        missing_total=counts.missing,
        unnamed_total=counts.unnamed,
        wrong_total=counts.wrong,
        ghost_total=counts.ghost,
        duplicate_total=counts.duplicate,
        pods_right=wilson_interval(pods_right, len(holdings)),
    )


@dataclass(slots=True)
class _Counts:
    right: int = 0
    wrong: int = 0
    ghost: int = 0
    missing: int = 0
    unnamed: int = 0
    due: int = 0
    duplicate: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crowd:
    """How many pods are named at each time that any is, and how many hold the device then."""

    times: FloatArray
    named: npt.NDArray[np.int64]
    holders: npt.NDArray[np.int64]

    @classmethod
    def of(cls, uuid: str, claims: Mapping[Key, FloatArray], held: Sequence[Holding], guard: float) -> "_Crowd":
        every = np.concatenate([times for key, times in claims.items() if key[0] == uuid])
        times, named = np.unique(every, return_counts=True)
        holders = np.zeros(times.shape, dtype=np.int64)
        for each in held:
            holders += (times >= each.start_seconds - guard) & (times <= each.end_seconds + guard)
        return cls(times=times, named=named, holders=np.maximum(1, holders))

    def is_crowded(self, times: FloatArray) -> BoolArray:
        """Whether more pods are named than hold it."""
        places = np.searchsorted(self.times, times)
        crowded: BoolArray = (self.named > self.holders)[places]
        return crowded

    def silences(self, times: FloatArray) -> tuple[int, int]:
        """Of times at which a holder is not named: at how many nobody is, and at how many fewer than hold it."""
        if not self.times.size:
            return int(times.size), 0
        places = np.clip(np.searchsorted(self.times, times), 0, self.times.size - 1)
        is_named = self.times[places] == times
        return int((~is_named).sum()), int((is_named & (self.named < self.holders)[places]).sum())


def _inside(times: FloatArray, holding: Holding, margin: float) -> FloatArray:
    return times[(times >= holding.start_seconds - margin) & (times <= holding.end_seconds + margin)]


def _count_claims(
    counts: _Counts, times: FloatArray, mine: Sequence[Holding], crowded: BoolArray, guard: float
) -> None:
    right, blurred, after = (np.zeros(times.shape, dtype=bool) for _ in range(3))
    for each in mine:
        right |= (times >= each.start_seconds + guard) & (times <= each.end_seconds - guard)
        blurred |= (times >= each.start_seconds - guard) & (times <= each.end_seconds + guard)
        after |= times > each.end_seconds + guard
    never = ~after & ~blurred
    counts.right += int(right.sum())
    counts.ghost += int((after & ~blurred).sum())
    counts.duplicate += int((never & crowded).sum())
    counts.wrong += int((never & ~crowded).sum())


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
