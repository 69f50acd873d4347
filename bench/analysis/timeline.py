"""
From signals to sightings: when each stage of a load step ended.

A polled signal changed somewhere between two polls; the middle of that gap is told, and half the gap as the bound. A
watched one is as exact as its receipt time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bench.analysis.signals import Signal
from bench.analysis.stages import DOWN, UP, Moment, Sighting, Stage, Timeline, decompose
from bench.model.measurement import FloatArray

BoolArray = npt.NDArray[np.bool_]


def first_crossing(signal: Signal, *, threshold: float, after_seconds: float, is_rising: bool) -> Sighting:
    """When the signal was first beyond the threshold after a time; a text where it never was."""
    if signal.times_seconds.size == 0:
        return "no samples"
    beyond = signal.values > threshold if is_rising else signal.values <= threshold
    found = np.flatnonzero(beyond & (signal.times_seconds >= after_seconds))
    if found.size == 0:
        return f"never {'above' if is_rising else 'at or below'} {threshold:g} in {signal.times_seconds.size} samples"
    return _seen_at(signal, int(found[0]), after_seconds)


def _seen_at(signal: Signal, place: int, after_seconds: float) -> Moment:
    """What a sample showed first: of a polled signal it came about somewhere since the sample before."""
    at = float(signal.times_seconds[place])
    if not signal.is_polled:
        return Moment.of_seconds(at)
    earliest = float(signal.times_seconds[place - 1]) if place else after_seconds
    half = (at - max(earliest, after_seconds)) / 2.0
    return Moment.of_seconds(at - half, half)


def caused_by(signal: Signal, *, threshold: float, after_seconds: float, until: Moment, is_rising: bool) -> Sighting:
    """
    When the signal went beyond the threshold and stayed there until it had its effect: the moment `until`.

    Not the first time: a peak between two looks of whoever looks next has no effect. Where the signal was not beyond
    the threshold at that moment, the first crossing is told.
    """
    beyond = signal.values > threshold if is_rising else signal.values <= threshold
    times = signal.times_seconds
    # of a polled signal the first look after the effect may be the one that shows the cause
    last = int(np.searchsorted(times, until.at_seconds, side="right")) - (0 if signal.is_polled else 1)
    last = min(last, times.size - 1)
    if last >= 1 and not beyond[last] and beyond[last - 1]:
        last -= 1
    if last < 0 or not beyond[last] or times[last] < after_seconds:
        return first_crossing(signal, threshold=threshold, after_seconds=after_seconds, is_rising=is_rising)
    breaks = np.flatnonzero(~beyond[:last] | (times[:last] < after_seconds))
    return _seen_at(signal, int(breaks[-1]) + 1 if breaks.size else 0, after_seconds)


def first_change(signal: Signal, *, after_seconds: float, is_rising: bool) -> Sighting:
    """When a count, such as `desiredReplicas`, first went up (or down) after a time."""
    before = signal.at(np.array([after_seconds]))[0]
    if np.isnan(before):
        return "not known before the load step"
    threshold = before if is_rising else np.nextafter(before, -np.inf)
    return first_crossing(signal, threshold=float(threshold), after_seconds=after_seconds, is_rising=is_rising)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodTimes:
    """When one pod went through its life, by watch receipt; a text where it was not seen."""

    name: str
    created: Sighting
    scheduled: Sighting = "not seen"
    started: Sighting = "not seen"
    ready: Sighting = "not seen"
    first_answer: Sighting = "not seen"
    deleted: Sighting = "not seen"
    last_answer: Sighting = "not seen"
    device_free: Sighting = "not seen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All that was watched around one load step."""

    step_seconds: float
    threshold: float
    device: Signal
    exporter: Signal
    prometheus: Signal
    metrics_api: Signal
    desired_replicas: Signal
    pods: tuple[PodTimes, ...] = ()
    node: Sighting = "the nodes are fixed"
    relief: Sighting = "not looked for"
    thresholds: Mapping[Stage, float] = field(default_factory=dict)


def up_timeline(observed: Observed) -> Timeline:
    """Stages 0 to 12 of a load step up; the pod that counts is the first one created after it."""
    sightings = _until_decision(observed, is_rising=True)
    pod = _first_pod([pod for pod in observed.pods if _is_after(pod.created, observed.step_seconds)], "created")
    sightings |= {
        Stage.POD_CREATED: pod.created,
        Stage.NODE: observed.node,
        Stage.SCHEDULED: pod.scheduled,
        Stage.STARTED: pod.started,
        Stage.READY: pod.ready,
        Stage.SERVING: pod.first_answer,
        Stage.RELIEF: observed.relief,
    }
    return decompose(UP, sightings)


def down_timeline(observed: Observed) -> Timeline:
    """The stages of a load step down; the pod that counts is the first one deleted after it."""
    sightings = _until_decision(observed, is_rising=False)
    pod = _first_pod([pod for pod in observed.pods if _is_after(pod.deleted, observed.step_seconds)], "deleted")
    sightings |= {
        Stage.POD_DELETED: pod.deleted,
        Stage.LAST_ANSWER: pod.last_answer,
        Stage.DEVICE_FREE: pod.device_free,
        Stage.NODE_REMOVED: observed.node,
    }
    return decompose(DOWN, sightings)


def _until_decision(observed: Observed, *, is_rising: bool) -> dict[Stage, Sighting]:
    signals = {
        Stage.DEVICE: observed.device,
        Stage.EXPORTER: observed.exporter,
        Stage.PROMETHEUS: observed.prometheus,
        Stage.METRICS_API: observed.metrics_api,
    }
    decision = first_change(observed.desired_replicas, after_seconds=observed.step_seconds, is_rising=is_rising)
    sightings: dict[Stage, Sighting] = {Stage.STEP: Moment.of_seconds(observed.step_seconds), Stage.DECISION: decision}
    effect = decision
    for stage, signal in reversed(signals.items()):
        threshold, after = observed.thresholds.get(stage, observed.threshold), observed.step_seconds
        if isinstance(effect, Moment):
            seen = caused_by(signal, threshold=threshold, after_seconds=after, until=effect, is_rising=is_rising)
        else:
            seen = first_crossing(signal, threshold=threshold, after_seconds=after, is_rising=is_rising)
        sightings[stage] = seen
        effect = seen if isinstance(seen, Moment) else effect
    return sightings


def _is_after(sighting: Sighting, seconds: float) -> bool:
    return isinstance(sighting, Moment) and sighting.at_seconds >= seconds


def _first_pod(pods: Sequence[PodTimes], moment: str) -> PodTimes:
    none = PodTimes(name="", created="no pod was created after the step", deleted="no pod was deleted after the step")
    return min(pods, key=lambda pod: getattr(pod, moment).at_nanoseconds, default=none)


def relief(
    intended_seconds: FloatArray, meets_slo: BoolArray, *, after_seconds: float, window_seconds: float, share: float
) -> Sighting:
    """
    When, after it had been broken, the SLO was met by `share` of the requests of one full window; the window's end.

    Requests count at the time they were meant to be sent: one that waited long in a queue belongs to the crowd it came
    with.
    """
    order = np.argsort(intended_seconds, kind="stable")
    times, good = intended_seconds[order], meets_slo[order]
    broken = np.flatnonzero(~good & (times >= after_seconds))
    if broken.size == 0:
        return "the SLO was never broken after the step"
    starts = times[broken[0] :]
    first = np.searchsorted(times, starts, side="left")
    beyond = np.searchsorted(times, starts + window_seconds, side="right")
    met = np.concatenate([[0], np.cumsum(good)])
    shares = (met[beyond] - met[first]) / np.maximum(1, beyond - first)
    is_whole = starts + window_seconds <= times[-1]
    found = np.flatnonzero((shares >= share) & is_whole)
    if found.size == 0:
        return f"no full window of {window_seconds:g} s met the SLO for {share:.0%} of its requests"
    return Moment.of_seconds(float(starts[found[0]]) + window_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioning:
    """Device-seconds that were held and not needed, and needed and not held."""

    over_device_seconds: float
    under_device_seconds: float


def provisioning(held: Signal, needed: Signal, *, start_seconds: float, end_seconds: float) -> Provisioning:
    """Both step signals in devices, compared from start to end; before its first value each counts as nothing."""
    inner = np.concatenate([held.times_seconds, needed.times_seconds])
    inner = inner[(inner > start_seconds) & (inner < end_seconds)]
    edges = np.unique(np.concatenate([[start_seconds], inner, [end_seconds]]))
    surplus = np.nan_to_num(held.at(edges[:-1])) - np.nan_to_num(needed.at(edges[:-1]))
    areas = surplus * np.diff(edges)
    return Provisioning(
        over_device_seconds=float(areas[areas > 0].sum()),
        under_device_seconds=float(abs(areas[areas < 0].sum())),
    )
