"""The readings of a run by what they are: steps, signals of the devices that our pods hold, pods, answers, clocks."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from bench.analysis.hpa import Hpa, MetricKind
from bench.analysis.hpa_spec import read_hpa
from bench.analysis.reach import Aggregation, down_threshold, effective_threshold
from bench.analysis.signals import Signal, merged, summed
from bench.model.measurement import NO_LABELS, Absent, FloatArray, Measurement, Reading, Source, find_readings
from bench.model.units import find_unit

STATEMENT: Final = "bench.analysis.autoscaling of this scenario's readings"
GATEWAY_SECONDS: Final = 5.0
"""From a Ready pod to the first request that the Gateway sends it: some collect changes for two seconds and more."""
ENERGY: Final = "ENERGY"
"""Part of the names of the exporter's energy counter, old and new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the HPA was told, how its metric is made, and what a good answer is."""

    hpa: Hpa
    ttft_slo_seconds: float
    configured_collect_seconds: float
    aggregation: Aggregation = Aggregation.SUM
    relief_window_seconds: float = 5.0
    drain_seconds: float = 0.0
    """How long a pod that was deleted goes on serving."""
    factor: float = 1.0
    """From a device's percent to the unit of the HPA's metric."""

    @property
    def saturation(self) -> float:
        """The most that one device can show in the HPA's metric."""
        return 100.0 * self.factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One load step as it was made."""

    number: int
    direction: str
    start_seconds: float
    end_seconds: float
    rate_per_second: float

    @property
    def labels(self) -> Mapping[str, str]:
        """By which its readings are known."""
        return {"step": str(self.number), "direction": self.direction}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What must be crossed in a step for the autoscaler to act: in the metric, and added up over devices."""

    metric: float
    devices: float


class View:
    """Readings looked up by name and label; made once for an analysis."""

    def __init__(self, readings: Sequence[Reading], rules: Rules) -> None:
        self._by_name: dict[str, list[Reading]] = defaultdict(list)
        for each in readings:
            self._by_name[each.name].append(each)
        self.rules = self._as_applied(rules)
        self.steps = tuple(self._steps())

    def measurements(self, name: str, labels: Mapping[str, str] = NO_LABELS) -> list[Measurement]:
        """Those of a name that carry all the labels."""
        found = find_readings(self._by_name.get(name, ()), name, labels)
        return [each for each in found if isinstance(each, Measurement)]

    def value(self, name: str, labels: Mapping[str, str] = NO_LABELS) -> float:
        """The last value of the first such measurement; NaN where there is none."""
        found = self.measurements(name, labels)
        return float(found[0].values[-1]) if found else float("nan")

    def signal(self, name: str, *, is_polled: bool = True) -> Signal:
        """All pieces of one signal; empty where there is none."""
        return merged([Signal.of(each, is_polled=is_polled) for each in self.measurements(name)] or [nothing()])

    def _as_applied(self, rules: Rules) -> Rules:
        """With the HPA that the API server told, where it is among the readings."""
        told = self.measurements("hpa_target_metric_value")
        return replace(rules, hpa=read_hpa(json.loads(told[0].labels["object"])).hpa) if told else rules

    def _steps(self) -> Iterator[Step]:
        for each in self.measurements("load_rate_per_second"):
            yield Step(
                number=int(each.labels["step"]),
                direction=each.labels["direction"],
                start_seconds=float(each.times_seconds[0]),
                end_seconds=float(each.times_seconds[-1]),
                rate_per_second=float(each.values[0]),
            )

    @cached_property
    def moments(self) -> Mapping[str, Mapping[str, float]]:
        """Pod → what was first seen of it (created, scheduled, started, ready, deleted, gone) → when."""
        seen: dict[str, dict[str, float]] = defaultdict(dict)
        for each in self.measurements("pod_seen_seconds"):
            seen[each.labels["pod"]][each.labels["moment"]] = float(each.values[0])
        return seen

    @cached_property
    def holdings(self) -> Sequence[tuple[str, str, float, float]]:
        """Pod, UUID, and from when until when the pod had it: from its start to its end."""
        spans = []
        for each in self.measurements("device_held_total"):
            pod = each.labels["pod"]
            seen = self.moments.get(pod, {})
            start = seen.get("started", seen.get("scheduled", -np.inf))
            spans.append((pod, each.labels["uuid"], start, seen.get("gone", np.inf)))
        return spans

    def device_sum(self, name: str, factor: float, labels: Mapping[str, str] = NO_LABELS) -> Signal:
        """A value added up over the devices that our pods hold, each as long as it is held."""
        pieces: dict[tuple[str, str], list[Signal]] = defaultdict(list)
        for each in self.measurements(name, labels):
            uuid = each.labels.get("uuid") or each.labels.get("UUID", "")
            named = each.labels.get("exported_pod", "")
            for pod, held, start, end in self.holdings:
                if held == uuid and named in ("", pod):
                    pieces[pod, held].append(_within(self.in_our_time(each), factor, start, end))
        filled = [merged(each) for each in pieces.values()]
        return summed(filled) if filled else nothing()

    def holders_at(self, times_seconds: FloatArray) -> FloatArray:
        """How many pods held a device at each time."""
        counts = np.zeros(times_seconds.shape)
        for _, _, start, end in self.holdings:
            counts += (times_seconds >= start) & (times_seconds <= end)
        return counts

    def in_our_time(self, measurement: Measurement) -> Signal:
        """With times of this machine's clock: those of a node and of Prometheus are theirs."""
        ahead = 0.0
        if measurement.source is Source.PROMETHEUS:
            ahead = self._ahead("prometheus", "bench")
        elif node := measurement.labels.get("node", ""):
            ahead = self._ahead("api-server", "bench") - self._ahead("api-server", node)
        signal = Signal.of(measurement)
        return replace(signal, times_seconds=signal.times_seconds - ahead) if ahead else signal

    def _ahead(self, of: str, against: str) -> float:
        """How far one clock is ahead of another; 0 where that is not known to be more than its bound."""
        labels = {"of": of, "against": against}
        offset, bound = (self.value(f"clock_{each}_seconds", labels) for each in ("offset", "bound"))
        return offset if abs(offset) > bound else 0.0

    @cached_property
    def desired(self) -> Signal:
        """The replicas that the scale target was told."""
        return self.signal("desired_replicas_total", is_polled=False)

    def replicas_at(self, seconds: float) -> int:
        """The replicas asked for at a time; 1 before the first sighting."""
        found = float(self.desired.at(np.array([seconds]))[0])
        return 1 if np.isnan(found) else max(1, int(found))

    def thresholds(self, step: Step) -> Thresholds:
        """From the replicas that were asked for when the step came."""
        count, hpa = self.replicas_at(step.start_seconds), self.rules.hpa
        metric = effective_threshold(hpa, count) if step.direction == "up" else down_threshold(hpa, max(2, count))
        is_sum = self.rules.aggregation is Aggregation.SUM and hpa.metric is not MetricKind.PODS
        is_mean = self.rules.aggregation is Aggregation.AVERAGE or hpa.metric is MetricKind.PODS
        return Thresholds(metric=metric, devices=metric * (count if is_mean and not is_sum else 1))

    @cached_property
    def answers(self) -> Mapping[str, FloatArray]:
        """Pod → when its answers were complete, in order."""
        ends: dict[str, list[FloatArray]] = defaultdict(list)
        for each in self.measurements("request_e2e_seconds"):
            ends[each.labels["backend"]].append(each.times_seconds + each.values)
        return {pod: np.sort(np.concatenate(parts)) for pod, parts in ends.items()}

    @cached_property
    def sent_seconds(self) -> FloatArray:
        """When requests were sent, answered or not, in order."""
        names = ("request_e2e_seconds", "request_failed_total")
        times = [each.times_seconds for name in names for each in self.measurements(name)]
        return np.sort(np.concatenate(times)) if times else np.empty(0)

    @cached_property
    def clocks(self) -> Mapping[str, float]:
        """
        The clocks on the way, as their ticks were seen; NaN where too few were.

        Collect: between changes of the exporter's energy counter, which grows at every collection. Scrape: between
        stored samples. Sync: between changes of what the HPA shows; a sync that finds the same value shows nothing, so
        only gaps near the shortest ones count.
        """
        energy = [each for each in self.measurements("exporter_metric_value") if ENERGY in each.labels["metric"]]
        samples = [each.times_seconds for each in self.measurements("prometheus_metric_value")]
        shown = self.measurements("hpa_metric_value")
        return {
            "collect_interval_seconds": _period([_changes(each) for each in energy]),
            "scrape_interval_seconds": _period(samples),
            "sync_interval_seconds": _shortest_period([_changes(each) for each in shown]),
        }


def _changes(measurement: Measurement) -> FloatArray:
    changed: FloatArray = measurement.times_seconds[1:][np.diff(measurement.values) != 0]
    return changed


def _gaps(ticks: Iterable[FloatArray]) -> FloatArray:
    gaps = [np.diff(each) for each in ticks if each.size > 1]
    return np.concatenate(gaps) if gaps else np.empty(0)


def _period(ticks: Iterable[FloatArray]) -> float:
    gaps = _gaps(ticks)
    return float(np.median(gaps)) if gaps.size else float("nan")


def _shortest_period(ticks: Iterable[FloatArray]) -> float:
    """The mean of the gaps that are no multiple: those within half of the low end."""
    gaps = _gaps(ticks)
    if not gaps.size:
        return float("nan")
    return float(gaps[gaps <= 1.5 * np.quantile(gaps, 0.2)].mean())


def _within(signal: Signal, factor: float, start: float, end: float) -> Signal:
    """The signal as long as the device is held, and nothing after that."""
    keep = (signal.times_seconds >= start) & (signal.times_seconds <= end)
    times, values = signal.times_seconds[keep], signal.values[keep] * factor
    if np.isfinite(end) and times.size:
        times, values = np.append(times, end), np.append(values, 0.0)
    return Signal(times_seconds=times, values=values)


def nothing() -> Signal:
    """A signal of which no sample was seen."""
    return Signal(times_seconds=np.empty(0), values=np.empty(0))


def until(signal: Signal, end_seconds: float) -> Signal:
    """What was seen up to a time."""
    keep = signal.times_seconds <= end_seconds
    return replace(signal, times_seconds=signal.times_seconds[keep], values=signal.values[keep])


def one(name: str, value: float, labels: Mapping[str, str] = NO_LABELS) -> Reading:
    """One derived number, absent where what it follows from was not measured."""
    if np.isnan(value):
        return absent(name, "nothing that it follows from was measured", labels)
    unit = find_unit(name)
    if unit is None:
        raise ValueError(f"{name!r} does not end in a unit")
    return Measurement(name=name, unit=unit, values=[value], source=Source.ANALYSIS, statement=STATEMENT, labels=labels)


def absent(name: str, reason: str, labels: Mapping[str, str] = NO_LABELS) -> Absent:
    """A derived number that there is not, and why."""
    return Absent(name=name, source=Source.ANALYSIS, statement=STATEMENT, reason=reason, labels=labels)
