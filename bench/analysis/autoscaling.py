"""
From what was watched around load steps to what can be judged: stages, reactions, replicas, devices, answers.

Pure: readings in, readings out, so that a stored run can be analysed again. The readings are those that the scenario
`pod-autoscaling` yields; what one of them lacks becomes an `Absent` with the reason, never a number.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.analysis.prediction import Intervals, Rise, predict
from bench.analysis.reach import turns_total
from bench.analysis.signals import Signal, merged, summed
from bench.analysis.stages import Expectation, Moment, Sighting, Stage, Timeline, find_guilty
from bench.analysis.timeline import Observed, PodTimes, down_timeline, relief, up_timeline
from bench.model.measurement import Absent, FloatArray, Measurement, Reading, Source, find_readings
from bench.model.units import Unit

STATEMENT: Final = "bench.analysis.autoscaling of this scenario's readings"
MOMENTS: Final = ("created", "scheduled", "started", "ready", "deleted")
NEAR_SECONDS: Final = 1.0
"""What the API server, the scheduler and a container start may take on a busy cluster before they are named."""
RELIEF_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the HPA was told, and what a good answer is."""

    target: float
    tolerance_ratio: float
    max_replicas: int
    ttft_slo_seconds: float
    relief_window_seconds: float
    configured_collect_seconds: float
    factor: float
    """From the device's percent, added up over the pods' devices, to the unit of the HPA's metric."""

    @property
    def threshold(self) -> float:
        """What one replica's metric must exceed: the target with the tolerance on top."""
        return self.target * (1.0 + self.tolerance_ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One load step as it was made."""

    number: int
    direction: str
    start_seconds: float
    end_seconds: float


def derive(readings: Sequence[Reading], rules: Rules) -> Iterator[Reading]:
    """All that follows from the readings, in the order in which a report tells it."""
    view = _View(readings, rules)
    yield from _intervals(view)
    ups = [(step, view.observed(step)) for step in view.steps if step.direction == "up"]
    downs = [(step, view.observed(step)) for step in view.steps if step.direction == "down"]
    courses = {
        "up": [(step, up_timeline(observed)) for step, observed in ups],
        "down": [(step, down_timeline(observed)) for step, observed in downs],
    }
    for direction, timelines in courses.items():
        yield from _stages(direction, timelines)
        yield from _guilty(view, direction, [timeline for _, timeline in timelines])
    yield from _reactions(view, courses["up"])
    yield from _replicas(view)
    yield from _devices(view)
    yield from _answers(view)
    yield from _agreement(view)


class _View:
    """The readings by what they are."""

    def __init__(self, readings: Sequence[Reading], rules: Rules) -> None:
        self.readings = readings
        self.rules = rules
        self.steps = tuple(self._steps())

    def measurements(self, name: str, labels: Mapping[str, str] | None = None) -> list[Measurement]:
        found = find_readings(self.readings, name, labels or {})
        return [each for each in found if isinstance(each, Measurement)]

    def signal(self, name: str, *, is_polled: bool = True) -> Signal:
        """All pieces of one signal; empty where there is none."""
        return merged([Signal.of(each, is_polled=is_polled) for each in self.measurements(name)] or [_nothing()])

    def held_devices(self) -> dict[str, str]:
        """UUID → the pod that said it holds it, the last one where several did."""
        held = sorted(self.measurements("device_held_total"), key=lambda each: float(each.times_seconds[0]))
        return {each.labels["uuid"]: each.labels["pod"] for each in held}

    def device_sum(self, name: str, factor: float, labels: Mapping[str, str]) -> Signal:
        """A value added up over the devices that our pods hold."""
        ours = self.held_devices()
        series: dict[str, list[Signal]] = defaultdict(list)
        for each in self.measurements(name, labels):
            uuid = each.labels.get("uuid") or each.labels.get("UUID", "")
            if uuid in ours:
                series[uuid].append(Signal(times_seconds=each.times_seconds, values=each.values * factor))
        if not series:
            return _nothing()
        return summed([merged(pieces) for pieces in series.values()])

    def observed(self, step: Step) -> Observed:
        rules = self.rules
        return Observed(
            step_seconds=step.start_seconds,
            threshold=rules.threshold if step.direction == "up" else rules.target,
            device=_until(self.device_sum("gpu_busy_time_ratio", 100.0 * rules.factor, {}), step),
            exporter=_until(self.device_sum("exporter_metric_value", rules.factor, _busy(self)), step),
            prometheus=_until(self.device_sum("prometheus_metric_value", rules.factor, {}), step),
            metrics_api=_until(self.signal("metrics_api_metric_value"), step),
            desired_replicas=_until(self.signal("desired_replicas_total", is_polled=False), step),
            pods=tuple(self._pods(step)),
            relief=self._relief(step),
        )

    def _steps(self) -> Iterator[Step]:
        for each in self.measurements("load_rate_per_second"):
            yield Step(
                number=int(each.labels["step"]),
                direction=each.labels["direction"],
                start_seconds=float(each.times_seconds[0]),
                end_seconds=float(each.times_seconds[-1]),
            )

    def _pods(self, step: Step) -> Iterator[PodTimes]:
        seen: dict[str, dict[str, Sighting]] = defaultdict(dict)
        for each in self.measurements("pod_seen_seconds"):
            seen[each.labels["pod"]][each.labels["moment"]] = Moment.of_seconds(float(each.values[0]))
        answers = self.answers()
        for pod, moments in seen.items():
            own = answers.get(pod, np.empty(0))
            later = own[own >= step.start_seconds]
            yield PodTimes(
                name=pod,
                created=moments.get("created", "not seen"),
                scheduled=moments.get("scheduled", "not seen"),
                started=moments.get("started", "not seen"),
                ready=moments.get("ready", "not seen"),
                deleted=moments.get("deleted", "not seen"),
                first_answer=Moment.of_seconds(float(later[0])) if later.size else "no answer of this pod was seen",
                last_answer=Moment.of_seconds(float(own[-1])) if own.size else "no answer of this pod was seen",
            )

    def answers(self) -> dict[str, FloatArray]:
        """Pod → when its answers were complete, in order."""
        ends: dict[str, list[FloatArray]] = defaultdict(list)
        for each in self.measurements("request_e2e_seconds"):
            ends[each.labels["backend"]].append(each.times_seconds + each.values)
        return {pod: np.sort(np.concatenate(parts)) for pod, parts in ends.items()}

    def _relief(self, step: Step) -> Sighting:
        labels = {"step": str(step.number), "direction": step.direction}
        found = self.measurements("request_ttft_seconds", labels)
        if not found:
            return "no request was answered"
        return relief(
            np.concatenate([each.times_seconds for each in found]),
            np.concatenate([each.values for each in found]) <= self.rules.ttft_slo_seconds,
            after_seconds=step.start_seconds,
            window_seconds=self.rules.relief_window_seconds,
            share=RELIEF_SHARE,
        )


def _nothing() -> Signal:
    return Signal(times_seconds=np.empty(0), values=np.empty(0))


def _until(signal: Signal, step: Step) -> Signal:
    keep = signal.times_seconds <= step.end_seconds
    return Signal(times_seconds=signal.times_seconds[keep], values=signal.values[keep], is_polled=signal.is_polled)


def _busy(view: _View) -> Mapping[str, str]:
    """The label of the exporter's metric that the HPA scales on; the first one that is no counter."""
    names = {each.labels["metric"] for each in view.measurements("exporter_metric_value")}
    gauges = sorted(name for name in names if "ENERGY" not in name)
    return {"metric": gauges[0]} if gauges else {"metric": ""}


def _one(name: str, unit: Unit, value: float, labels: Mapping[str, str] | None = None) -> Reading:
    if np.isnan(value):
        return _absent(name, "nothing that it follows from was measured", labels)
    return Measurement(
        name=name, unit=unit, values=[value], source=Source.ANALYSIS, statement=STATEMENT, labels=labels or {}
    )


def _absent(name: str, reason: str, labels: Mapping[str, str] | None = None) -> Absent:
    return Absent(name=name, source=Source.ANALYSIS, statement=STATEMENT, reason=reason, labels=labels or {})


def _intervals(view: _View) -> Iterator[Reading]:
    measured = measured_intervals(view)
    for name, value in measured.items():
        yield _one(name, Unit.SECONDS, value)
    configured = view.rules.configured_collect_seconds
    ratio = measured["collect_interval_seconds"] / configured if configured else np.nan
    yield _one("collect_interval_measured_to_configured_ratio", Unit.RATIO, ratio)


def measured_intervals(view: _View) -> Mapping[str, float]:
    """
    The clocks on the way, as their ticks were seen; NaN where too few were.

    Collect: between changes of the exporter's energy counter, which grows at every collection. Scrape: between stored
    samples. Sync: between changes of what the HPA shows, a low quantile, since a sync that finds the same value shows
    nothing.
    """
    energy = [each for each in view.measurements("exporter_metric_value") if "ENERGY" in each.labels["metric"]]
    changes = [each.times_seconds[1:][np.diff(each.values) != 0] for each in energy]
    samples = [each.times_seconds for each in view.measurements("prometheus_metric_value")]
    shown = view.measurements("hpa_metric_value")
    shown_changes = [each.times_seconds[1:][np.diff(each.values) != 0] for each in shown]
    return {
        "collect_interval_seconds": _gap(changes, 0.5),
        "scrape_interval_seconds": _gap(samples, 0.5),
        "sync_interval_seconds": _gap(shown_changes, 0.1),
    }


def _gap(ticks: Iterable[FloatArray], quantile: float) -> float:
    gaps = [np.diff(each) for each in ticks if each.size > 1]
    return float(np.quantile(np.concatenate(gaps), quantile)) if gaps else float("nan")


def _stages(direction: str, courses: Sequence[tuple[Step, Timeline]]) -> Iterator[Reading]:
    for step, timeline in courses:
        labels = {"direction": direction, "step": str(step.number)}
        for segment in timeline.segments:
            of_stage = {**labels, "stage": segment.stage.value}
            if segment.duration_nanoseconds is None:
                yield _absent("stage_seconds", segment.absent_because, of_stage)
            else:
                yield _one("stage_seconds", Unit.SECONDS, segment.duration_seconds, of_stage)
        yield _one("stages_together_seconds", Unit.SECONDS, timeline.total_seconds, labels)


def expectations(view: _View) -> Mapping[Stage, Expectation]:
    """What each stage should take, from the intervals as they were measured; none where one was not."""
    measured = measured_intervals(view)
    clocks = {
        Stage.EXPORTER: measured["collect_interval_seconds"],
        Stage.PROMETHEUS: measured["scrape_interval_seconds"],
        Stage.DECISION: measured["sync_interval_seconds"],
    }
    near = (Stage.METRICS_API, Stage.POD_CREATED, Stage.SCHEDULED, Stage.STARTED)
    return {
        **{stage: Expectation(clocks_seconds=(clock,)) for stage, clock in clocks.items() if not np.isnan(clock)},
        **{stage: Expectation(spread_seconds=NEAR_SECONDS) for stage in near},
    }


def _guilty(view: _View, direction: str, timelines: Sequence[Timeline]) -> Iterator[Reading]:
    """How far the median of each stage lies beyond the worst that its configuration allows."""
    for finding in find_guilty(timelines, expectations(view) if direction == "up" else {}):
        labels = {"direction": direction, "stage": finding.stage.value}
        yield _one("stage_median_seconds", Unit.SECONDS, finding.median.estimate, labels)
        if finding.expected_max_seconds is not None:
            excess = finding.median.estimate - finding.expected_max_seconds if finding.is_guilty else 0.0
            yield _one("stage_beyond_its_worst_seconds", Unit.SECONDS, max(0.0, excess), labels)


def _reactions(view: _View, courses: Sequence[tuple[Step, Timeline]]) -> Iterator[Reading]:
    """From a load step to the autoscaler's decision, beside what the intervals predict."""
    measured = measured_intervals(view)
    prediction = None
    if not any(np.isnan(value) for value in measured.values()):
        intervals = Intervals(
            collect_seconds=measured["collect_interval_seconds"],
            scrape_seconds=measured["scrape_interval_seconds"],
            sync_seconds=measured["sync_interval_seconds"],
            processing_seconds=NEAR_SECONDS,
        )
        peak = max(100.0 * view.rules.factor, view.rules.threshold * 1.01)
        prediction = predict(intervals, Rise(base=0.0, peak=peak, threshold=view.rules.threshold))
        yield _one("reaction_predicted_mean_seconds", Unit.SECONDS, prediction.mean_seconds)
        yield _one("reaction_predicted_worst_seconds", Unit.SECONDS, prediction.max_seconds)
    for step, timeline in courses:
        labels = {"step": str(step.number)}
        reaction = _reaction_seconds(timeline)
        yield _one("reaction_seconds", Unit.SECONDS, reaction, labels)
        worst = prediction.max_seconds if prediction else float("nan")
        yield _one("reaction_to_predicted_worst_ratio", Unit.RATIO, reaction / worst, labels)


def _reaction_seconds(timeline: Timeline) -> float:
    if timeline.segment(Stage.DECISION).duration_nanoseconds is None:
        return float("nan")
    until = [each for each in timeline.segments if each.stage in tuple(Stage)[1:6]]
    return float(np.nansum([each.duration_seconds for each in until]))


def _replicas(view: _View) -> Iterator[Reading]:
    desired = view.signal("desired_replicas_total", is_polled=False)
    if desired.values.size == 0:
        yield _absent("replicas_short_of_predicted_total", "the scale target was not seen")
        return
    for step in view.steps:
        labels = {"step": str(step.number)}
        inside = desired.values[
            (desired.times_seconds >= step.start_seconds) & (desired.times_seconds <= step.end_seconds)
        ]
        before = desired.at(np.array([step.start_seconds]))
        course = np.concatenate([before[~np.isnan(before)], inside])
        if step.direction == "up":
            short = view.rules.max_replicas - float(course.max(initial=0.0))
            yield _one("replicas_short_of_predicted_total", Unit.TOTAL, short, labels)
        else:
            yield _one("replicas_left_over_total", Unit.TOTAL, float(course[-1]) - 1.0, labels)
        yield _one(
            "direction_changes_total", Unit.TOTAL, float(turns_total(course.tolist())), {**labels, "of": step.direction}
        )
    yield from _idle(view, desired)


def _idle(view: _View, desired: Signal) -> Iterator[Reading]:
    for window in view.measurements("idle_control_seconds"):
        start, end = float(window.times_seconds[0]), float(window.times_seconds[-1])
        inside = (desired.times_seconds > start) & (desired.times_seconds <= end)
        changes = np.count_nonzero(np.diff(desired.values[inside])) if inside.sum() > 1 else 0
        before, after = desired.at(np.array([start, end]))
        first_change = int(not np.isnan(before) and before != after and not changes)
        yield _one("scaled_while_idle_total", Unit.TOTAL, float(changes + first_change))


def _devices(view: _View) -> Iterator[Reading]:
    pods = {each.labels["pod"] for each in view.measurements("pod_seen_seconds", {"moment": "ready"})}
    spans = {pod: _span(view, pod) for pod in pods}
    devices: dict[str, set[str]] = defaultdict(set)
    for each in view.measurements("device_held_total"):
        devices[each.labels["pod"]].add(each.labels["uuid"])
    without = [pod for pod in pods if not devices.get(pod)]
    shared = {
        (one, other)
        for one in pods
        for other in pods
        if one < other and devices[one] & devices[other] and _overlap(spans[one], spans[other])
    }
    yield _one("pods_without_a_device_total", Unit.TOTAL, float(len(without)))
    yield _one("pods_that_share_a_device_total", Unit.TOTAL, float(len(shared)))


def _span(view: _View, pod: str) -> tuple[float, float]:
    ready = view.measurements("pod_seen_seconds", {"pod": pod, "moment": "ready"})
    deleted = view.measurements("pod_seen_seconds", {"pod": pod, "moment": "deleted"})
    return float(ready[0].values[0]), float(deleted[0].values[0]) if deleted else float("inf")


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _answers(view: _View) -> Iterator[Reading]:
    answers = view.answers()
    ready = {each.labels["pod"] for each in view.measurements("pod_seen_seconds", {"moment": "ready"})}
    yield _one("ready_pods_that_never_answered_total", Unit.TOTAL, float(len(ready - answers.keys())))
    for step in view.steps:
        labels = {"step": str(step.number), "direction": step.direction}
        failed = sum(each.values.size for each in view.measurements("request_failed_total", labels))
        yield _one("requests_failed_total", Unit.TOTAL, float(failed), labels)


def _agreement(view: _View) -> Iterator[Reading]:
    """What the HPA is given against what the devices do, idle and at full load."""
    for state in ("idle", "full"):
        for source in ("device", "metrics-api"):
            found = view.measurements("calibration_metric_value", {"at": state, "of": source})
            name = f"{state}_{source.replace('-', '_')}_metric_value"
            if found:
                yield _one(name, Unit.METRIC_VALUE, float(np.median(found[0].values)))
            else:
                yield _absent(name, f"nothing was seen of {source} when {state}")
    device = view.measurements("calibration_metric_value", {"at": "full", "of": "device"})
    served = view.measurements("calibration_metric_value", {"at": "full", "of": "metrics-api"})
    if device and served:
        seen = float(np.median(served[0].values)) / float(np.median(device[0].values))
        yield _one("metrics_api_to_device_ratio", Unit.RATIO, seen)
    else:
        yield _absent("metrics_api_to_device_ratio", "the metric was not seen on both sides at full load")
