"""One execution of `pod-autoscaling`: what it deploys, follows and loads, and what it tells of that."""

import contextlib
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench import BenchError, LoadWorkers, Measurement, Reading, ScaledMetric, Source, Unit
from workloads.ollama import BACKEND_HEADER, VERSION_PATH, Ollama

if TYPE_CHECKING:
    from scenarios.pod_autoscaling import PodAutoscaling

UTILIZATION = ("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_GPU_UTIL_RATIO")
ENERGY = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
POLL_HERTZ = 4.0
"""Of the metrics API. It, the lists and the watches stay below five requests a second."""
ROUTE_SECONDS = 60.0
"""For the Gateway to hear of the route and its pod. From here it may be out of reach, where pods make the load."""
LEAST_RATE_PER_SECOND = 0.1
MIN_STEP_SECONDS = 4.0
"""A step that is over at once has no requests to judge."""
PROBES_SECONDS = 10.0
"""For probes to tell what they have seen; they do so every second."""
HEARD_SECONDS = 5.0
"""Requests go on for so long after a pod has ended: some Gateways collect changes for two seconds and more, and what
they still send to it is lost."""
GONE_SECONDS = 60.0
"""For pods to end after they were deleted: twice the default grace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A part of a load's schedule, and the labels of what is read of it."""

    labels: Mapping[str, str]
    since_seconds: float = 0.0
    until_seconds: float = math.inf


class Trial:
    """One execution: what is deployed, followed and loaded."""

    def __init__(self, told: "PodAutoscaling", rig: Any) -> None:
        self._told = told
        self._rig = rig
        self._scaled = told.scaled()
        self._random = random.Random(told.seed)  # noqa: S311 (phases, no secrets)
        self._namespace = ""
        self._started = 0.0
        self._capacity_per_second = 0.0
        self._is_open = False
        self._under_way: tuple[Any, tuple[_Part, ...]] | None = None

    def open(self) -> None:
        """Deploy one replica, and begin to look at everything that will change."""
        rig, told = self._rig, self._told
        self._started = time.time()
        rig.say("deploy one replica")
        self._namespace = rig.namespace("autoscaling")
        gateway = rig.gateway()
        self._workload = Ollama(
            name=self._scaled.deployment,
            namespace=self._namespace,
            model=told.model,
            gateway=gateway.name,
            gateway_namespace=gateway.namespace,
            drain_seconds=told.drain_seconds,
            device_class=told.device_class(rig.inventory),
        )
        self._url = gateway.inside_url if told.load_workers else gateway.url
        selector = ",".join(f"{key}={value}" for key, value in self._workload.labels.items())
        self._pods = rig.follow("v1", "pods", namespace=self._namespace, label_selector=selector)
        self._targets = rig.follow("apps/v1", "deployments", namespace=self._namespace)
        self._autoscalers = rig.follow("autoscaling/v2", "horizontalpodautoscalers", namespace=self._namespace)
        rig.deploy(self._workload, within_seconds=600.0)
        rig.say("wait until the Gateway has the route")
        self._await_route(gateway.url)
        probe_seconds = 2.0 * told.footprint().duration_seconds + 600.0
        self._probes = rig.probes(
            namespace=self._namespace, image=told.probe_image, metrics=(*UTILIZATION, ENERGY), seconds=probe_seconds
        )
        self._clocks = rig.clocks()
        self._holders = rig.holders(self._pods, container="ollama")
        metric = ScaledMetric(kind=self._scaled.hpa.metric, metric=self._scaled.metric, pod_selector=selector)
        self._poll = rig.poll_metric(metric, namespace=self._namespace, hertz=POLL_HERTZ)
        self._is_open = True

    def _await_route(self, url: str) -> None:
        """A Gateway that does not get through is no error: the requests of the calibration tell of it."""
        self._rig.is_answered(
            url + VERSION_PATH,
            hostname=self._workload.hostname,
            by_header=BACKEND_HEADER,
            within_seconds=ROUTE_SECONDS,
        )

    def calibrate(self) -> Iterator[Reading]:
        """What the metric shows idle, and with one replica at its capacity."""
        seconds, settle = self._told.calibration_seconds, self._settle_seconds
        self._rig.say("calibrate: idle")
        idle_from = time.time()
        self._watch_for(settle)
        idle_to = time.time()
        self._rig.say("calibrate: one replica at its capacity")
        labels = {"step": "0", "direction": "calibration"}
        load = self._load(f"4:{seconds + settle:g}", _Part(labels=labels), closed=True)
        load.finish(within_seconds=seconds + settle + 60.0)
        readings = [each for each in self._told_of_load() if isinstance(each, Measurement)]
        yield from readings
        ends = [
            at for each in readings if each.name == "request_e2e_seconds" for at in each.times_seconds + each.values
        ]
        end = load.started_utc_seconds + settle + seconds
        answered = sum(end - seconds <= at <= end for at in ends)
        self._capacity_per_second = answered / seconds
        yield Measurement(
            name="replica_capacity_per_second",
            unit=Unit.PER_SECOND,
            values=[self._capacity_per_second],
            times_seconds=[end],
            source=Source.LOAD,
            statement=f"answers of one replica to four users without think time, over {seconds:g} s",
        )
        yield self._window("idle", idle_from + settle / 2, idle_to)
        yield self._window("full", end - seconds, end)

    def start_autoscaler(self) -> Iterator[Reading]:
        """From now on the replicas are the HPA's."""
        quiet = self._scaled.hpa.target / 2.0
        # The load of the calibration is to leave the metric first, so that it causes nothing.
        self._poll.wait_until(lambda value: value < quiet, within_seconds=2.0 * self._settle_seconds)
        manifest = self._told.hpa(self._namespace)
        created = dict(self._rig.create(manifest))
        applied = {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "spec": created["spec"]}
        yield Measurement(
            name="hpa_target_metric_value",
            unit=Unit.METRIC_VALUE,
            values=[self._scaled.hpa.target],
            source=Source.KUBERNETES,
            statement=f"the HorizontalPodAutoscaler {manifest['metadata']['name']} as the API server stored it",
            labels={"object": json.dumps(applied, sort_keys=True)},
        )

    def idle_control(self) -> Iterator[Reading]:
        """A time without load, in which nothing may happen."""
        self._rig.say("idle control")
        start = time.time()
        self._watch_for(self._told.idle_seconds)
        yield Measurement(
            name="idle_control_seconds",
            unit=Unit.SECONDS,
            values=[0.0, time.time() - start],
            times_seconds=[start, time.time()],
            source=Source.LOAD,
            statement="no load was made",
        )

    def lose_phase(self) -> None:
        """Let a random time pass: the steps are to meet every phase of the longest clock, of twice its length too."""
        self._watch_for(self._random.uniform(0.0, 2.0 * self._told.collect_interval_seconds))

    def steps(self, number: int) -> Iterator[Reading]:
        """One load: a step up, and a step down that lasts until its effect is seen or its time is over."""
        told = self._told
        self._rig.say(f"step up {number} of {told.repeats}")
        rates = (
            told.load_over_capacity * self._capacity_per_second,
            told.down_over_capacity * self._capacity_per_second,
        )
        up, down = (max(LEAST_RATE_PER_SECOND, rate) for rate in rates)
        load = self._load(
            f"{up:.3f}:{told.step_up_seconds:g},{down:.3f}:{told.step_down_seconds:g}",
            _Part(labels=_labels("up", number), until_seconds=told.step_up_seconds),
            _Part(labels=_labels("down", number), since_seconds=told.step_up_seconds),
        )
        self._watch_for(told.step_up_seconds)
        self._rig.say(f"step down {number} of {told.repeats}")
        self._watch_for(min(MIN_STEP_SECONDS, told.step_down_seconds))
        if self._are_back(within_seconds=told.step_down_seconds):
            self._watch_for(HEARD_SECONDS)
            load.stop()
        load.finish(within_seconds=told.step_down_seconds + 120.0)
        ended = time.time()
        turn = load.started_utc_seconds + told.step_up_seconds
        yield from self._told_of_load()
        yield _rate(up, load.started_utc_seconds, turn, _labels("up", number))
        yield _rate(down, turn, max(turn, ended), _labels("down", number))

    def gathered(self) -> Iterator[Reading]:
        """Everything that was followed, polled and probed meanwhile."""
        self._rig.say("gather what was seen")
        self._probes.catch_up(within_seconds=PROBES_SECONDS)
        self._poll.close()
        for source in self._sources():
            yield from source()

    def broken_off(self) -> Iterator[Reading]:
        """What was seen until something ended the trial before its time; a source that fails now has no say."""
        if self._under_way is not None:
            with contextlib.suppress(BenchError):
                self._under_way[0].stop()
                yield from self._told_of_load()
        if self._is_open:
            self._poll.close()
            for source in self._sources():
                with contextlib.suppress(BenchError):
                    yield from source()

    def _sources(self) -> tuple[Callable[[], Iterator[Reading]], ...]:
        rig = self._rig
        return (
            self._polled,
            self._probes.readings,
            self._prometheus,
            self._clocks.readings,
            self._replicas,
            lambda: rig.hpa_values(self._autoscalers),
            lambda: rig.pod_moments(self._pods),
            self._holders.readings,
            rig.cost,
            rig.away,
        )

    def _polled(self) -> Iterator[Reading]:
        statement = f"the metrics API, {self._scaled.metric} as the HPA asks for it"
        yield self._poll.reading("metrics_api_metric_value", Unit.METRIC_VALUE, statement)
        yield self._poll.answered("metrics_api_answered_ratio", statement)

    def _replicas(self) -> Iterator[Reading]:
        rig, name = self._rig, self._workload.name
        yield from rig.counts(self._targets, "desired_replicas_total", ("spec", "replicas"), of=name)
        yield from rig.counts(self._targets, "ready_replicas_total", ("status", "readyReplicas"), of=name)

    def _told_of_load(self) -> Iterator[Reading]:
        """Of the load under way, which is over, each part with its labels; from then on it is told."""
        if self._under_way is None:
            return
        load, parts = self._under_way
        for part in parts:
            yield from load.readings(part.labels, since_seconds=part.since_seconds, until_seconds=part.until_seconds)
        self._under_way = None

    @property
    def _settle_seconds(self) -> float:
        """Two collections and a half: after that the metric shows what is, on every stage of its way."""
        return 2.5 * self._told.collect_interval_seconds

    def _load(self, steps: str, *parts: _Part, closed: bool = False) -> Any:
        arguments = ["--protocol", "ollama-generate", "--model", self._told.model]
        arguments += ["--prompt-tokens", str(self._told.prompt_tokens)]
        arguments += ["--output-tokens", str(self._told.output_tokens), "--yes-really", self._url]
        arguments += ["--header", f"Host: {self._workload.hostname}", "--backend-header", BACKEND_HEADER]
        # What queued up before the new replicas came is slow and not lost; it gets the time to be answered.
        arguments += ["--drain", "90", "--timeout", "180"]
        arguments += ["--closed"] if closed else ["--arrivals", self._told.arrivals]
        pods = self._told.load_workers
        workers = LoadWorkers(count=pods, image=self._told.probe_image) if pods else None
        load = self._rig.load(url=self._url, steps=steps, arguments=tuple(arguments), workers=workers)
        self._under_way = load, parts
        return load

    def _watch_for(self, seconds: float) -> None:
        """A window of observation: what is waited for is that nothing happens, or that clocks have ticked."""
        deadline = time.monotonic() + seconds

        def is_over(_: Mapping[str, Any]) -> bool:
            return time.monotonic() >= deadline

        self._rig.observe(self._pods, is_over, seconds)

    def _are_back(self, *, within_seconds: float) -> bool:
        """Whether the scale target is told the minimum within the time, and its other pods are gone soon after."""
        name, least = f"{self._namespace}/{self._workload.name}", max(1, self._scaled.hpa.min_replicas)

        def is_told(present: Mapping[str, Any]) -> bool:
            return name in present and present[name]["spec"].get("replicas") == least

        def are_gone(present: Mapping[str, Any]) -> bool:
            return len(present) <= least

        is_back = bool(self._rig.observe(self._targets, is_told, within_seconds))
        return is_back and bool(self._rig.observe(self._pods, are_gone, GONE_SECONDS))

    def _window(self, state: str, start: float, end: float) -> Reading:
        return Measurement(
            name="calibration_seconds",
            unit=Unit.SECONDS,
            values=[0.0, end - start],
            times_seconds=[start, end],
            source=Source.LOAD,
            statement="no load was made" if state == "idle" else "four users without think time",
            labels={"at": state},
        )

    def _prometheus(self) -> Iterator[Reading]:
        names = "|".join(UTILIZATION)
        for label in ("exported_namespace", "namespace"):
            selector = f'{{__name__=~"{names}",{label}="{self._namespace}"}}'
            found = self._rig.samples(
                selector, name="prometheus_metric_value", start_seconds=self._started, end_seconds=time.time()
            )
            if any(isinstance(each, Measurement) for each in found):
                break
        yield from found


def _labels(direction: str, number: int) -> Mapping[str, str]:
    return {"step": str(number), "direction": direction}


def _rate(rate: float, start: float, end: float, labels: Mapping[str, str]) -> Measurement:
    return Measurement(
        name="load_rate_per_second",
        unit=Unit.PER_SECOND,
        values=[rate, rate],
        times_seconds=[start, end],
        source=Source.LOAD,
        statement=f"open loop, step {labels['direction']}",
        labels=labels,
    )
