"""Each stage of each load step: when it ended by its own source, and whether it took longer than it may."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.analysis.autoscaling.view import ENERGY, GATEWAY_SECONDS, Step, View, absent, one, until
from bench.analysis.hpa import Hpa
from bench.analysis.signals import Signal
from bench.analysis.stages import Expectation, Moment, Sighting, Stage, Timeline, find_guilty
from bench.analysis.timeline import Observed, PodTimes, down_timeline, first_crossing, relief, up_timeline
from bench.model.measurement import Reading

NEAR_SECONDS: Final = 1.0
"""What the API server, a controller, the scheduler and a container start may take on a busy cluster before they are
named: kubernetes' own objective for a call on one object."""
STOP_SECONDS: Final = 3.0
"""For a server that is told to end, after it has drained."""
FREE_SHARE: Final = 0.1
"""A device is free when its memory is back within this share of what its holder had added."""
RELIEF_SHARE: Final = 0.9

Course = tuple[Step, Timeline]


def courses_of(view: View, direction: str) -> tuple[Course, ...]:
    """The stages of every step of a direction."""
    make = up_timeline if direction == "up" else down_timeline
    return tuple((step, make(_observed(view, step))) for step in view.steps if step.direction == direction)


def stages(view: View, direction: str, courses: Sequence[Course]) -> Iterator[Reading]:
    """Durations with their bounds, and how far each lies beyond the worst that its configuration allows."""
    expected = expectations(view, direction)
    for step, timeline in courses:
        yield from _durations(step, timeline)
        yield from _excesses(step, timeline, expected)
    for finding in find_guilty([timeline for _, timeline in courses], expected):
        labels = {"direction": direction, "stage": finding.stage.value}
        yield one("stage_median_seconds", finding.median.estimate, labels)
        if finding.expected_max_seconds is not None:
            yield one("stage_expected_worst_seconds", finding.expected_max_seconds, labels)
            excess = finding.median.estimate - finding.expected_max_seconds if finding.is_guilty else 0.0
            yield one("stage_beyond_its_worst_seconds", max(0.0, excess), labels)


def _durations(step: Step, timeline: Timeline) -> Iterator[Reading]:
    for segment in timeline.segments:
        labels = {**step.labels, "stage": segment.stage.value}
        if segment.duration_nanoseconds is None:
            yield absent("stage_seconds", segment.absent_because, labels)
        else:
            yield one("stage_seconds", segment.duration_seconds, labels)
            yield one("stage_bound_seconds", segment.bound_nanoseconds / 1e9, labels)
    yield one("stages_together_seconds", timeline.total_seconds, step.labels)


def _excesses(step: Step, timeline: Timeline, expected: Mapping[Stage, Expectation]) -> Iterator[Reading]:
    """Of one step: the stages that were longer than their worst case, the resolution of the sighting aside."""
    for segment in timeline.segments:
        expectation = expected.get(segment.stage)
        if expectation is None or segment.duration_nanoseconds is None or segment.unseen_within:
            continue
        beyond = segment.duration_seconds - expectation.max_seconds - segment.bound_nanoseconds / 1e9
        if beyond > 0:
            yield one("stage_excess_seconds", beyond, {**step.labels, "stage": segment.stage.value})


def expectations(view: View, direction: str) -> Mapping[Stage, Expectation]:
    """What each stage may take, by the intervals as they were measured; none where one was not, or nothing is known."""
    clocks = view.clocks
    way = {
        Stage.EXPORTER: clocks["collect_interval_seconds"],
        Stage.PROMETHEUS: clocks["scrape_interval_seconds"],
    }
    found = {stage: Expectation(clocks_seconds=(clock,)) for stage, clock in way.items() if not np.isnan(clock)}
    found[Stage.METRICS_API] = Expectation(spread_seconds=NEAR_SECONDS)
    sync = clocks["sync_interval_seconds"]
    if not np.isnan(sync):
        found[Stage.DECISION] = _decision(view.rules.hpa, direction, sync)
    return {**found, **(_up(view) if direction == "up" else _down(view))}


def _decision(hpa: Hpa, direction: str, sync_seconds: float) -> Expectation:
    """
    The next sync, and the stabilisation window before it.

    The window is counted from the last sync that still recommended otherwise, and ends with a sync: so many whole
    intervals, less the wait for the sync that first sees the new value.
    """
    behavior = hpa.up if direction == "up" else hpa.down
    if not behavior.stabilization_seconds:
        return Expectation(clocks_seconds=(sync_seconds,), spread_seconds=NEAR_SECONDS)
    whole = np.ceil(behavior.stabilization_seconds / sync_seconds) * sync_seconds
    return Expectation(
        fixed_seconds=max(0.0, whole - sync_seconds), clocks_seconds=(2.0 * sync_seconds,), spread_seconds=NEAR_SECONDS
    )


def _up(view: View) -> Mapping[Stage, Expectation]:
    near = (Stage.POD_CREATED, Stage.SCHEDULED, Stage.STARTED)
    found = {stage: Expectation(spread_seconds=NEAR_SECONDS) for stage in near}
    start = _first_start_seconds(view)
    if not np.isnan(start):
        # half as long again: the machine is busier now than when nothing ran
        found[Stage.READY] = Expectation(fixed_seconds=0.5 * start, spread_seconds=start + NEAR_SECONDS)
    answer = _answer_seconds(view)
    if not np.isnan(answer):
        found[Stage.SERVING] = Expectation(spread_seconds=GATEWAY_SECONDS + answer)
    return found


def _down(view: View) -> Mapping[Stage, Expectation]:
    """
    A pod that serves shows it by answers only, so that it may have gone on for a gap between two of them after its
    last one: what is seen of its device then began as much later.
    """
    stop_seconds = view.rules.drain_seconds + STOP_SECONDS
    return {
        Stage.POD_DELETED: Expectation(spread_seconds=NEAR_SECONDS),
        Stage.LAST_ANSWER: Expectation(spread_seconds=stop_seconds),
        Stage.DEVICE_FREE: Expectation(spread_seconds=stop_seconds + _answer_gap_seconds(view)),
    }


def _answer_gap_seconds(view: View) -> float:
    """The mean time between two answers of one pod in steps down; nothing where none answered twice."""
    gaps = [
        np.diff(own[(own >= step.start_seconds) & (own <= step.end_seconds)])
        for step in view.steps
        if step.direction == "down"
        for own in view.answers.values()
    ]
    together = np.concatenate(gaps) if gaps else np.empty(0)
    return float(together.mean()) if together.size else 0.0


def _first_start_seconds(view: View) -> float:
    """How long the first replica took from its start to Ready, before there was any load."""
    starts = [(seen["started"], seen["ready"]) for seen in view.moments.values() if {"started", "ready"} <= seen.keys()]
    started, ready = min(starts, default=(float("nan"), float("nan")))
    return ready - started


def _answer_seconds(view: View) -> float:
    """The longest that the first answer of a pod took itself: it is part of the wait for that answer."""
    firsts: dict[str, tuple[float, float]] = {}
    for each in view.measurements("request_e2e_seconds"):
        ends = each.times_seconds + each.values
        place = int(ends.argmin())
        found = (float(ends[place]), float(each.values[place]))
        firsts[each.labels["backend"]] = min(found, firsts.get(each.labels["backend"], found))
    return max((took for _, took in firsts.values()), default=float("nan"))


def _observed(view: View, step: Step) -> Observed:
    thresholds, factor, end = view.thresholds(step), view.rules.factor, step.end_seconds
    stored = view.device_sum("prometheus_metric_value", factor)
    stored = Signal(times_seconds=stored.times_seconds, values=stored.values, is_polled=False)  # stamped by the scrape
    return Observed(
        step_seconds=step.start_seconds,
        threshold=thresholds.devices,
        thresholds={Stage.METRICS_API: thresholds.metric},
        device=until(view.device_sum("gpu_busy_time_ratio", 100.0 * factor), end),
        exporter=until(view.device_sum("exporter_metric_value", factor, _gauge(view)), end),
        prometheus=until(stored, end),
        metrics_api=until(view.signal("metrics_api_metric_value"), end),
        desired_replicas=until(view.desired, end),
        pods=tuple(_pod(view, step, pod) for pod in view.moments),
        relief=_relief(view, step),
    )


def _gauge(view: View) -> Mapping[str, str]:
    """The label of the exporter's metric that the HPA scales on; the first one that is no counter."""
    names = {each.labels["metric"] for each in view.measurements("exporter_metric_value")}
    gauges = sorted(name for name in names if ENERGY not in name)
    return {"metric": gauges[0] if gauges else ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ends:
    """First and last answers of one pod that count for a step."""

    first: Sighting
    last: Sighting


def _pod(view: View, step: Step, pod: str) -> PodTimes:
    seen = {name: Moment.of_seconds(at) for name, at in view.moments[pod].items()}
    ends = _ends(view, step, pod)
    return PodTimes(
        name=pod,
        created=seen.get("created", "not seen"),
        scheduled=seen.get("scheduled", "not seen"),
        started=seen.get("started", "not seen"),
        ready=seen.get("ready", "not seen"),
        deleted=seen.get("deleted", "not seen"),
        first_answer=ends.first,
        last_answer=ends.last,
        device_free=_device_free(view, pod),
    )


def _ends(view: View, step: Step, pod: str) -> _Ends:
    own = view.answers.get(pod, np.empty(0))
    later = own[own >= step.start_seconds]
    first: Sighting = Moment.of_seconds(float(later[0])) if later.size else "no answer of this pod was seen"
    deleted = view.moments[pod].get("deleted", np.inf)
    after = own[own >= deleted]
    last: Sighting = "it had nothing left to answer when it was deleted"
    return _Ends(first=first, last=Moment.of_seconds(float(after[-1])) if after.size else last)


def _device_free(view: View, pod: str) -> Sighting:
    """When the memory that the pod had taken on its devices was given back, after its deletion."""
    deleted = view.moments[pod].get("deleted")
    held = {uuid for name, uuid, _, _ in view.holdings if name == pod}
    if deleted is None or not held:
        return "it was not deleted" if deleted is None else "which devices it held is not known"
    found = [each for each in view.measurements("gpu_memory_used_bytes") if each.labels["uuid"] in held]
    if not found:
        return "no probe watched its devices"
    sightings = [_freed(view.in_our_time(each), deleted) for each in found]
    moments = [each for each in sightings if isinstance(each, Moment)]
    if len(moments) < len(sightings):
        return next(each for each in sightings if isinstance(each, str))
    return max(moments, key=lambda each: each.at_nanoseconds)


def _freed(memory: Signal, deleted: float) -> Sighting:
    before = memory.at(np.array([deleted]))[0]
    least = float(memory.values.min(initial=np.inf))
    if np.isnan(before) or before <= least:
        return "its device had no memory in use when it was deleted"
    limit = least + FREE_SHARE * (before - least)
    return first_crossing(memory, threshold=limit, after_seconds=deleted, is_rising=False)


def _relief(view: View, step: Step) -> Sighting:
    found = view.measurements("request_ttft_seconds", step.labels)
    if not found:
        return "no request was answered"
    return relief(
        np.concatenate([each.times_seconds for each in found]),
        np.concatenate([each.values for each in found]) <= view.rules.ttft_slo_seconds,
        after_seconds=step.start_seconds,
        window_seconds=view.rules.relief_window_seconds,
        share=RELIEF_SHARE,
    )
