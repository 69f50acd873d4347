"""
What metrics show of kernels on a part of the multiprocessors, held against kernels on all of them.

Utilisation is the share of time in which any kernel runs, and does not tell the two apart; the activity of the
multiprocessors does. Both are kept on the same device in the same run, so that nothing need be known of the device: how
much of a multiprocessor's time a kernel takes divides out.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.fidelity.comparing import NVML_WINDOW_SECONDS
from bench.analysis.fidelity.devices import ASKED_DUTY, ASKED_OCCUPANCY, BUSY, SM_ACTIVE, Device, find_uuid
from bench.analysis.fidelity.passes import Passes
from bench.analysis.fidelity.screening import screen
from bench.analysis.fidelity.told import absent, told
from bench.analysis.signals import Signal
from bench.model.measurement import Measurement, Reading

RATIO = "sm_active_partial_to_full_ratio"
EXPECTED = "sm_active_partial_to_full_expected_ratio"
BUSY_THEN = "partial_busy_time_ratio"
HIDDEN = "partial_kernels_hidden_total"
"""Devices whose SM activity was seen to show kernels on a part of them as it shows kernels on all."""

_EDGE_SECONDS = 0.3
"""An age is known to a tenth of a second, and a program is a little late to its step."""
_LEAST_FULL_RATIO = 0.05
"""Of an activity that shows nothing of kernels on all multiprocessors, no part can be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What was shown of one device, on the mean, by samples that lie wholly in such steps; None where none does."""

    uuid: str
    asked_ratio: float
    """Share of the multiprocessors that kernels were on, at most: a library chooses its blocks."""
    is_shown: bool
    """Whether the exporter shows SM activity."""
    busy_ratio: float | None = None
    sm_active_ratio: float | None = None
    full_sm_active_ratio: float | None = None
    """With kernels on all multiprocessors: the control."""

    @property
    def to_full_ratio(self) -> float | None:
        """None where either is not known, or the control shows nothing."""
        part, full = self.sm_active_ratio, self.full_sm_active_ratio
        return part / full if part is not None and full is not None and full >= _LEAST_FULL_RATIO else None

    @property
    def is_hidden(self) -> bool:
        """
        Whether the activity is nearer to that of kernels on all multiprocessors than to the part.

        No nearer bound: what else works on the device, and blocks of other sizes, may add to the part.
        """
        ratio = self.to_full_ratio
        return ratio is not None and ratio > (1.0 + self.asked_ratio) / 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """Kernels all of the time, on this share of the multiprocessors."""

    start_seconds: float
    end_seconds: float
    occupancy_ratio: float


def find_parts(devices: Iterable[Device], readings: Iterable[Reading], passes: Passes) -> list[Part]:
    """Of each device that a probe watched while a pod kept kernels on a part of it."""
    steps = _full_steps(readings)
    return [
        _of_device(device, steps[device.uuid], passes)
        for device in devices
        if device.probed and any(each.occupancy_ratio < 1.0 for each in steps.get(device.uuid, ()))
    ]


def _full_steps(readings: Iterable[Reading]) -> dict[str, list[_Step]]:
    """By device, what its pods did without a pause; the last line of a pod's log only ends what was before it."""
    asked: dict[tuple[str, ...], dict[str, Measurement]] = {}
    for each in readings:
        if isinstance(each, Measurement) and each.name in (ASKED_DUTY, ASKED_OCCUPANCY):
            key = (find_uuid(each.labels), each.labels.get("namespace", ""), each.labels.get("pod", ""))
            asked.setdefault(key, {})[each.name] = each
    steps: dict[str, list[_Step]] = {}
    for (uuid, *_), of_pod in asked.items():
        if len(of_pod) == 2:
            steps.setdefault(uuid, []).extend(_of_pod(of_pod))
    return steps


def _of_pod(asked: Mapping[str, Measurement]) -> Iterator[_Step]:
    duty, occupancy = asked[ASKED_DUTY], asked[ASKED_OCCUPANCY]
    for place, (start, end) in enumerate(itertools.pairwise(duty.times_seconds.tolist())):
        if duty.values[place] == 1.0:
            yield _Step(start_seconds=start, end_seconds=end, occupancy_ratio=float(occupancy.values[place]))


def _of_device(device: Device, steps: Sequence[_Step], passes: Passes) -> Part:
    asked = min(each.occupancy_ratio for each in steps)
    partial = [each for each in steps if each.occupancy_ratio == asked]
    full = [each for each in steps if each.occupancy_ratio == 1.0]
    collect = passes.collects.get(device.node)
    is_shown = device.scraped(SM_ACTIVE) is not None
    if collect is None or device.is_clock_bad:
        return Part(uuid=device.uuid, asked_ratio=asked, is_shown=is_shown)
    ages, seconds = passes.ages_of(device), collect.at_most_seconds
    return Part(
        uuid=device.uuid,
        asked_ratio=asked,
        is_shown=is_shown,
        busy_ratio=_mean(device, BUSY, ages, NVML_WINDOW_SECONDS, partial),
        sm_active_ratio=_mean(device, SM_ACTIVE, ages, seconds, partial),
        full_sm_active_ratio=_mean(device, SM_ACTIVE, ages, seconds, full),
    )


def _mean(device: Device, name: str, ages: Signal | None, over_seconds: float, steps: Iterable[_Step]) -> float | None:
    """Of the samples whose own mean, over so long until they were read, lies wholly in one of the steps."""
    found = screen(device, name, ages)
    if found is None:
        return None
    ends = found.times_seconds - found.ages_seconds
    is_inside = np.zeros(ends.shape, dtype=bool)
    for step in steps:
        # a pod tells the times of its node's clock, as the probe does
        start, end = step.start_seconds + device.shift.seconds, step.end_seconds + device.shift.seconds
        is_inside |= (ends - over_seconds >= start + _EDGE_SECONDS) & (ends <= end - _EDGE_SECONDS)
    is_inside &= found.is_sound
    return float(found.values[is_inside].mean()) if bool(is_inside.any()) else None


def of_parts(parts: Sequence[Part]) -> Iterator[Reading]:
    """By device; activity that no exporter shows hides nothing, and is absent."""
    if not parts:
        yield absent(HIDDEN, "no pod kept kernels on a part of a device that a probe watched")
    for part in parts:
        if part.busy_ratio is not None:
            yield told(BUSY_THEN, (part.busy_ratio,), part.uuid, BUSY)
        ratio = part.to_full_ratio
        if ratio is not None:
            yield told(RATIO, (ratio,), part.uuid, SM_ACTIVE)
            yield told(EXPECTED, (part.asked_ratio,), part.uuid, SM_ACTIVE)
        else:
            yield absent(RATIO, _why_not(part), part.uuid)
        if ratio is not None or not part.is_shown:
            yield told(HIDDEN, (float(part.is_hidden),), part.uuid, SM_ACTIVE)
        else:
            yield absent(HIDDEN, _why_not(part), part.uuid)


def _why_not(part: Part) -> str:
    if not part.is_shown:
        return "the exporter does not show DCGM_FI_PROF_SM_ACTIVE, which is off by default"
    if part.sm_active_ratio is None:
        return "no sample of SM activity lies wholly in the time of kernels on a part of the device"
    if part.full_sm_active_ratio is None:
        return "no sample of SM activity lies wholly in the time of kernels on all of the device"
    return f"SM activity is {part.full_sm_active_ratio:.2f} while kernels are on all of the device"
