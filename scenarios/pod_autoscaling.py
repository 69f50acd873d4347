"""Does the autoscaler follow the GPU? Load through the Gateway, the GPU metric, the HPA, and what came of each step."""

import json
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench import (
    BadParameter,
    Check,
    Footprint,
    Inventory,
    LoadWorkers,
    Measurement,
    Reading,
    Rig,
    ScaledMetric,
    Source,
    Unit,
    autoscaling,
    needs,
    rights,
    scenario,
)
from workloads.autoscaler import Autoscaler, from_file
from workloads.ollama import BACKEND_HEADER, Ollama

UTILIZATION = ("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_GPU_UTIL_RATIO")
ENERGY = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
GPU_RESOURCE, GPU_CLASS = "nvidia.com/gpu", "gpu.nvidia.com"
POLL_HERTZ = 4.0
"""Of the metrics API. It, the lists and the watches stay below five requests a second."""
LEAST_RATE_PER_SECOND = 0.1
MIN_STEP_SECONDS = 4.0
"""A step that is over at once has no requests to judge."""
GONE_SECONDS = 60.0
"""For pods to end after they were deleted: twice the default grace."""


@scenario("pod-autoscaling", requirement="pod_autoscaling")
class PodAutoscaling:
    """
    A HorizontalPodAutoscaler on a GPU metric adds replicas of an inference server under load through the Gateway, each
    on a device of its own and serving, and removes them again without losing a request.

    The load is an open loop. One replica is first loaded to its capacity: what the metric shows idle and full is the
    calibration that tells a wrong unit from a slow one. Then follow steps up and down; every stage between a step and
    its relief is timed by its own source, and held against what the measured intervals allow.
    """

    model: str = "llama3.2:1b"
    hpa_file: str = ""
    """An HPA of the user's, applied unchanged but for its namespace; its target, bounds and metric count. Empty: one of
    ours, of the next four parameters."""
    metric: str = "gpu_utilization"
    target: float = 70.0
    max_replicas: int = 3
    stabilization_seconds: int = 30
    aggregation: str = "sum"
    """What the metrics API makes of the devices of several pods: sum, average or maximum."""
    repeats: int = 2
    seed: int = 1
    """Of the waits before the steps up, which no clock on the way shall be aligned with."""
    idle_seconds: float = 20.0
    up_seconds: float = 60.0
    down_seconds: float = 120.0
    calibration_seconds: float = 15.0
    load_over_capacity: float = 1.8
    """Of a step up: how many times what one replica was seen to answer. Two replicas carry it, at 90 % each: above
    the target, so that a third is asked for."""
    down_over_capacity: float = 0.1
    """Of a step down: enough requests to lose one, too few to keep a second replica."""
    ttft_slo_seconds: float = 1.0
    load_workers: int = 0
    """Pods that make the load within the cluster; 0: this machine does."""
    prompt_tokens: int = 32
    output_tokens: int = 24
    collect_interval_seconds: float = 30.0
    """What the exporter is configured to; its own default."""
    allocation: str = "auto"
    """How the pods ask for their device: device-plugin, dra, or what the target offers for all replicas, in this
    order."""
    drain_seconds: int = 5
    """How long a pod that is to go still answers: until the Gateway has heard of it, and its requests are done."""
    probe_image: str = "gpu-bench:0.1.0"

    def needs(self) -> Iterator[needs.Need]:
        scaled = self.scaled()
        api = "external" if scaled.hpa.metric == "External" else "custom"
        yield needs.ApiServed(group_version="autoscaling/v2")
        yield needs.ApiServed(group_version="gateway.networking.k8s.io/v1")
        yield needs.AnyApiServed(group_versions=(f"{api}.metrics.k8s.io/v1beta1", f"{api}.metrics.k8s.io/v1beta2"))
        yield needs.Gateways()
        yield needs.PrometheusReachable()
        yield needs.MetricServed(names=UTILIZATION)
        yield needs.Accelerators(at_least=2)

    def footprint(self) -> Footprint:
        scaled = self.scaled()
        one_repeat = self.up_seconds + self.down_seconds + self.collect_interval_seconds
        calibration = self.calibration_seconds + 8.0 * self.collect_interval_seconds
        return Footprint(
            duration_seconds=60.0 + calibration + self.idle_seconds + self.repeats * one_repeat,
            accelerators=scaled.hpa.max_replicas,
            objects=("Namespace", "ConfigMap", "Deployment", "Service", "HTTPRoute", "HorizontalPodAutoscaler", "Pod"),
            rights=(
                *(*rights.GATEWAYS, *rights.PROBES, *rights.polled(scaled.metric, kind=scaled.hpa.metric)),
                *(rights.LOAD_PODS if self.load_workers else ()),
            ),
        )

    def run(self, rig: Rig) -> Iterator[Reading]:
        trial = _Trial(self, rig)
        trial.open()
        yield from trial.calibrate()
        yield from trial.start_autoscaler()
        yield from trial.idle_control()
        for number in range(1, self.repeats + 1):
            trial.lose_phase()
            yield from trial.steps(number)
        yield from trial.gathered()

    def analyse(self, readings: tuple[Reading, ...]) -> Iterator[Reading]:
        yield from autoscaling.derive(readings, self.rules())

    def rules(self) -> autoscaling.Rules:
        """By which the readings are analysed; of a user's HPA what the API server stored counts instead."""
        return autoscaling.Rules(
            hpa=autoscaling.Hpa.of_object(target=self.target, max_replicas=self.max_replicas),
            aggregation=autoscaling.Aggregation(self.aggregation),
            ttft_slo_seconds=self.ttft_slo_seconds,
            configured_collect_seconds=self.collect_interval_seconds,
            drain_seconds=self.drain_seconds,
        )

    def checks(self) -> Iterator[Check]:
        yield from autoscaling.checks(repeats=self.repeats)

    def device_class(self, inventory: Inventory) -> str:
        """The DeviceClass by which a pod claims its device; empty: by the resource of the device plugin."""
        if self.allocation not in ("auto", "device-plugin", "dra"):
            raise BadParameter(f"pod-autoscaling.allocation={self.allocation}: auto, device-plugin or dra is meant.")
        offered = inventory.allocatable_total(GPU_RESOURCE) >= self.scaled().hpa.max_replicas
        by_claim = self.allocation == "dra" or (not offered and GPU_CLASS in inventory.device_classes)
        return GPU_CLASS if by_claim and self.allocation != "device-plugin" else ""

    def scaled(self) -> autoscaling.HpaSpec:
        """The HPA that is going to be applied. Raises `BadParameter`, naming the file and what is wrong with it."""
        if self.aggregation not in set(autoscaling.Aggregation):
            known = ", ".join(autoscaling.Aggregation)
            raise BadParameter(f"pod-autoscaling.aggregation={self.aggregation}: one of {known} is meant.")
        try:
            found = autoscaling.read_hpa(self.hpa("any"))
            found.deployment  # noqa: B018 (raises where it is none)
        except (OSError, ValueError) as error:
            raise BadParameter(f"pod-autoscaling.hpa_file={self.hpa_file}: {error}.") from error
        return found

    def hpa(self, namespace: str) -> Mapping[str, Any]:
        """The manifest that is applied, the user's or ours. Raises OSError or ValueError where the file is none."""
        if self.hpa_file:
            return from_file(Path(self.hpa_file), namespace)
        (ours,) = Autoscaler(
            namespace=namespace,
            metric=self.metric,
            target=self.target,
            max_replicas=self.max_replicas,
            stabilization_seconds=self.stabilization_seconds,
        ).manifests()
        return ours


class _Trial:
    """One execution: what is deployed, followed and loaded."""

    def __init__(self, told: PodAutoscaling, rig: Any) -> None:
        self._told = told
        self._rig = rig
        self._scaled = told.scaled()
        self._random = random.Random(told.seed)  # noqa: S311 (phases, no secrets)
        self._namespace = ""
        self._started = 0.0
        self._capacity_per_second = 0.0

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
        probe_seconds = 2.0 * told.footprint().duration_seconds + 600.0
        self._probes = rig.probes(
            namespace=self._namespace, image=told.probe_image, metrics=(*UTILIZATION, ENERGY), seconds=probe_seconds
        )
        self._clocks = rig.clocks()
        self._holders = rig.holders(self._pods, container="ollama")
        metric = ScaledMetric(kind=self._scaled.hpa.metric, metric=self._scaled.metric, pod_selector=selector)
        self._poll = rig.poll_metric(metric, namespace=self._namespace, hertz=POLL_HERTZ)

    def calibrate(self) -> Iterator[Reading]:
        """What the metric shows idle, and with one replica at its capacity."""
        seconds, settle = self._told.calibration_seconds, self._settle_seconds
        self._rig.say("calibrate: idle")
        idle_from = time.time()
        self._watch_for(settle)
        idle_to = time.time()
        self._rig.say("calibrate: one replica at its capacity")
        load = self._load(f"4:{seconds + settle:g}", closed=True)
        load.finish(within_seconds=seconds + settle + 60.0)
        labels = {"step": "0", "direction": "calibration"}
        readings = [each for each in load.readings(labels) if isinstance(each, Measurement)]
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
        load = self._load(f"{up:.3f}:{told.up_seconds:g},{down:.3f}:{told.down_seconds:g}")
        self._watch_for(told.up_seconds)
        self._rig.say(f"step down {number} of {told.repeats}")
        self._watch_for(min(MIN_STEP_SECONDS, told.down_seconds))
        if self._are_back(within_seconds=told.down_seconds):
            load.stop()
        load.finish(within_seconds=told.down_seconds + 120.0)
        ended = time.time()
        turn = load.started_utc_seconds + told.up_seconds
        yield from load.readings(_labels("up", number), until_seconds=told.up_seconds)
        yield from load.readings(_labels("down", number), since_seconds=told.up_seconds)
        yield _rate(up, load.started_utc_seconds, turn, _labels("up", number))
        yield _rate(down, turn, max(turn, ended), _labels("down", number))

    def gathered(self) -> Iterator[Reading]:
        """Everything that was followed, polled and probed meanwhile."""
        rig, name = self._rig, self._workload.name
        rig.say("gather what was seen")
        self._poll.close()
        statement = f"the metrics API, {self._scaled.metric} as the HPA asks for it"
        yield self._poll.reading("metrics_api_metric_value", Unit.METRIC_VALUE, statement)
        yield self._poll.answered("metrics_api_answered_ratio", statement)
        yield from self._probes.readings()
        yield from self._prometheus()
        yield from self._clocks.readings()
        yield from rig.counts(self._targets, "desired_replicas_total", ("spec", "replicas"), of=name)
        yield from rig.counts(self._targets, "ready_replicas_total", ("status", "readyReplicas"), of=name)
        yield from rig.hpa_values(self._autoscalers)
        yield from rig.pod_moments(self._pods)
        yield from self._holders.readings()
        yield from rig.cost()

    @property
    def _settle_seconds(self) -> float:
        """Two collections and a half: after that the metric shows what is, on every stage of its way."""
        return 2.5 * self._told.collect_interval_seconds

    def _load(self, steps: str, *, closed: bool = False) -> Any:
        arguments = ["--protocol", "ollama-generate", "--model", self._told.model]
        arguments += ["--prompt-tokens", str(self._told.prompt_tokens)]
        arguments += ["--output-tokens", str(self._told.output_tokens), "--yes-really", self._url]
        arguments += ["--header", f"Host: {self._workload.hostname}", "--backend-header", BACKEND_HEADER]
        # What queued up before the new replicas came is slow and not lost; it gets the time to be answered.
        arguments += ["--drain", "90", "--timeout", "180"]
        arguments += ["--closed"] if closed else []
        pods = self._told.load_workers
        workers = LoadWorkers(count=pods, image=self._told.probe_image) if pods else None
        return self._rig.load(url=self._url, steps=steps, arguments=tuple(arguments), workers=workers)

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
