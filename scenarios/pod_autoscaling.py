"""Does the autoscaler follow the GPU? Load through the Gateway, the GPU metric, the HPA, and what came of each step."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from bench import (
    Basis,
    Check,
    Footprint,
    Kind,
    Measurement,
    Reading,
    Relation,
    Rig,
    Source,
    Statistic,
    Unit,
    autoscaling,
    kubernetes_quantity,
    needs,
    scenario,
)
from workloads.ollama import BACKEND_HEADER, Ollama

HELD = re.compile(r"(?P<uuid>(?:GPU|MIG)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
UTILIZATION = ("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_GPU_UTIL_RATIO")
ENERGY = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
POLL_HERTZ = 4.0
"""Of the metrics API. It, one list a minute and the watches stay below five requests a second."""

MIN_STEP_SECONDS = 10.0
"""A step that is over at once has no requests to judge."""


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
    """An HPA of the user's, applied unchanged but for its namespace; empty: one of ours."""
    metric: str = "gpu_utilization"
    target: float = 70.0
    max_replicas: int = 3
    stabilization_seconds: int = 30
    repeats: int = 2
    idle_seconds: float = 20.0
    up_seconds: float = 60.0
    down_seconds: float = 120.0
    calibration_seconds: float = 15.0
    load_over_capacity: float = 1.8
    """Of a step up: how many times what one replica was seen to answer. Two replicas carry it, at 90 % each: above
    the target, so that a third is asked for."""
    ttft_slo_seconds: float = 1.0
    output_tokens: int = 24
    collect_interval_seconds: float = 30.0
    """What the exporter is configured to; its own default."""
    probe_image: str = "gpu-bench:0.1.0"

    def needs(self) -> Iterator[needs.Need]:
        yield needs.ApiServed(group_version="autoscaling/v2")
        yield needs.ApiServed(group_version="gateway.networking.k8s.io/v1")
        yield needs.AnyApiServed(group_versions=("custom.metrics.k8s.io/v1beta1", "custom.metrics.k8s.io/v1beta2"))
        yield needs.Gateways()
        yield needs.PrometheusReachable()
        yield needs.MetricServed(names=UTILIZATION)
        yield needs.Accelerators(at_least=2)

    def footprint(self) -> Footprint:
        one_repeat = self.up_seconds + self.down_seconds
        seconds = 60.0 + self.calibration_seconds + self.idle_seconds + self.repeats * one_repeat
        return Footprint(
            duration_seconds=seconds,
            accelerators=self.max_replicas,
            objects=("Namespace", "ConfigMap", "Deployment", "Service", "HTTPRoute", "HorizontalPodAutoscaler", "Pod"),
        )

    def run(self, rig: Rig) -> Iterator[Reading]:
        trial = _Trial(self, rig)
        trial.open()
        yield from trial.calibrate()
        trial.start_autoscaler()
        yield from trial.idle_control()
        for number in range(1, self.repeats + 1):
            yield from trial.step("up", number)
            yield from trial.step("down", number)
        yield from trial.gathered()

    def analyse(self, readings: tuple[Reading, ...]) -> Iterator[Reading]:
        yield from autoscaling.derive(readings, self._rules())

    def checks(self) -> Iterator[Check]:
        yield from _calibration_checks(self)
        yield from _scaling_checks()
        yield from _timing_checks()

    def _rules(self) -> autoscaling.Rules:
        return autoscaling.Rules(
            target=self.target,
            tolerance_ratio=0.1,
            max_replicas=self.max_replicas,
            ttft_slo_seconds=self.ttft_slo_seconds,
            relief_window_seconds=5.0,
            configured_collect_seconds=self.collect_interval_seconds,
            factor=1.0,
        )


def _calibration_checks(told: PodAutoscaling) -> Iterator[Check]:
    def check(claim: str, measurement: str, relation: Relation, bound: float, because: str) -> Check:
        return Check(
            claim=claim,
            measurement=measurement,
            statistic=Statistic.LAST,
            relation=relation,
            bound=bound,
            because=because,
            basis=Basis.OURS,
        )

    yield check(
        "the idle metric is below the target",
        "idle_metrics_api_metric_value",
        Relation.AT_MOST,
        told.target,
        "a metric that is above its target when nothing runs holds the replicas up for ever",
    )
    yield check(
        "the metric of a full device is above the target and its tolerance",
        "full_metrics_api_metric_value",
        Relation.AT_LEAST,
        told.target * 1.1,
        "below it the HPA never adds a replica; a ratio held against percents is the usual reason",
    )
    yield Check(
        claim="the HPA is given what the devices show",
        measurement="metrics_api_to_device_ratio",
        statistic=Statistic.LAST,
        relation=Relation.WITHIN,
        bound=1.0,
        tolerance=0.1,
        because="within 10 % as in dcgmproftester; a wrong unit, a wrong sum or a foreign device is beyond it",
        basis=Basis.KAR,
    )


def _scaling_checks() -> Iterator[Check]:
    def none_of(claim: str, measurement: str, because: str, basis: Basis) -> Check:
        return Check(
            claim=claim,
            measurement=measurement,
            statistic=Statistic.MAX,
            relation=Relation.AT_MOST,
            bound=0.0,
            because=because,
            basis=basis,
        )

    yield none_of(
        "under load the replicas reach the predicted number",
        "replicas_short_of_predicted_total",
        "KAR-0057: over the target the HPA adds replicas",
        Basis.KAR,
    )
    yield none_of(
        "without load the replicas go back to the minimum",
        "replicas_left_over_total",
        "KAR-0057: under the target the HPA removes replicas after stabilisation",
        Basis.KAR,
    )
    yield none_of("nothing is scaled while idle", "scaled_while_idle_total", "a control without load", Basis.OURS)
    yield none_of("every pod holds a device", "pods_without_a_device_total", "the pods ask for one each", Basis.KAR)
    yield none_of(
        "no two pods hold one device at a time",
        "pods_that_share_a_device_total",
        "whole devices were asked",
        Basis.OURS,
    )
    yield none_of(
        "every pod that became Ready answers through the Gateway",
        "ready_pods_that_never_answered_total",
        "a replica that gets no traffic relieves nobody",
        Basis.OURS,
    )
    yield none_of("no request is lost", "requests_failed_total", "scaling is not to be felt as errors", Basis.OURS)
    yield Check(
        claim="the replicas change direction at most once within a step",
        measurement="direction_changes_total",
        statistic=Statistic.MAX,
        relation=Relation.AT_MOST,
        bound=1.0,
        because="a constant load has one right answer",
        basis=Basis.OURS,
    )


def _timing_checks() -> Iterator[Check]:
    yield Check(
        claim="the exporter collects as often as it is configured to",
        measurement="collect_interval_measured_to_configured_ratio",
        statistic=Statistic.LAST,
        relation=Relation.AT_MOST,
        bound=1.5,
        because="a variable with a wrong name is ignored, and the interval stays 30 s",
        basis=Basis.OURS,
    )
    yield Check(
        claim="each reaction comes within the worst that the measured intervals allow",
        measurement="reaction_to_predicted_worst_ratio",
        statistic=Statistic.MAX,
        relation=Relation.AT_MOST,
        bound=1.0,
        because="NVML window, collect, scrape and sync are clocks that nobody aligned; their sum is the worst case",
        basis=Basis.OURS,
        kind=Kind.PERFORMANCE,
    )
    yield Check(
        claim="no stage takes longer than its configuration allows",
        measurement="stage_beyond_its_worst_seconds",
        statistic=Statistic.MAX,
        relation=Relation.AT_MOST,
        bound=0.0,
        because="the median of each stage against its own clock; the guilty one is named",
        basis=Basis.OURS,
        kind=Kind.PERFORMANCE,
    )


class _Trial:
    """One execution: what is deployed, followed and loaded."""

    def __init__(self, told: PodAutoscaling, rig: Any) -> None:
        self._told = told
        self._rig = rig
        self._namespace = ""
        self._started = 0.0
        self._capacity_per_second = 0.0
        self._devices: dict[tuple[str, str], float] = {}
        self._asked: set[str] = set()

    def open(self) -> None:
        """Deploy one replica, and begin to look at everything that will change."""
        rig, told = self._rig, self._told
        self._started = time.time()
        self._namespace = rig.namespace("autoscaling")
        gateway = rig.gateway()
        self._workload = Ollama(
            namespace=self._namespace,
            model=told.model,
            gateway=gateway.name,
            gateway_namespace=gateway.namespace,
        )
        self._url = gateway.url
        self._pods = rig.follow("v1", "pods", namespace=self._namespace, label_selector="app.kubernetes.io/name=ollama")
        self._targets = rig.follow("apps/v1", "deployments", namespace=self._namespace)
        self._autoscalers = rig.follow("autoscaling/v2", "horizontalpodautoscalers", namespace=self._namespace)
        rig.deploy(self._workload, within_seconds=600.0)
        probe_seconds = 2.0 * told.footprint().duration_seconds + 600.0
        self._probes = rig.probes(
            namespace=self._namespace, image=told.probe_image, metrics=(*UTILIZATION, ENERGY), seconds=probe_seconds
        )
        self._learn_devices(within_seconds=1.0)
        self._poll = rig.poll_custom_metric(namespace=self._namespace, metric=told.metric, hertz=POLL_HERTZ)

    def calibrate(self) -> Iterator[Reading]:
        """What the metric shows idle, and with one replica at its capacity."""
        settle = 2.5 * self._told.collect_interval_seconds
        idle_from = time.time()
        self._wait(settle)
        idle_to = time.time()
        load = self._load(f"4:{self._told.calibration_seconds + settle:g}", closed=True)
        load.finish(within_seconds=self._told.calibration_seconds + settle + 60.0)
        full_to = time.time()
        answered = [
            each
            for each in load.readings({"step": "0", "direction": "calibration"})
            if isinstance(each, Measurement) and each.name == "request_e2e_seconds"
        ]
        count = sum(each.values.size for each in answered)
        self._capacity_per_second = count / max(1.0, full_to - idle_to)
        yield from self._shown("idle", idle_from + settle / 2, idle_to)
        yield from self._shown("full", full_to - self._told.calibration_seconds, full_to)

    def start_autoscaler(self) -> None:
        """From now on the replicas are the HPA's."""
        # Let the load of the calibration leave the metric first, so that it causes nothing.
        self._wait(2.5 * self._told.collect_interval_seconds)
        self._rig.create(self._autoscaler())

    def idle_control(self) -> Iterator[Reading]:
        """A time without load, in which nothing may happen."""
        start = time.time()
        self._wait(self._told.idle_seconds)
        yield Measurement(
            name="idle_control_seconds",
            unit=Unit.SECONDS,
            values=[0.0, time.time() - start],
            times_seconds=[start, time.time()],
            source=Source.LOAD,
            statement="no load was made",
        )

    def step(self, direction: str, number: int) -> Iterator[Reading]:
        """One load step, until its effect is seen or its time is over."""
        told = self._told
        factor = told.load_over_capacity if direction == "up" else 0.1
        seconds = told.up_seconds if direction == "up" else told.down_seconds
        rate = max(0.2, factor * self._capacity_per_second)
        load = self._load(f"{rate:.3f}:{seconds:g}")
        if direction == "up":
            self._learn_devices(within_seconds=seconds)
        else:
            self._wait(MIN_STEP_SECONDS)
            if self._targets_reach(1, within_seconds=seconds):
                load.stop()
        load.finish(within_seconds=seconds + 120.0)
        labels = {"step": str(number), "direction": direction}
        readings = list(load.readings(labels))
        yield from readings
        times = [each.times_seconds for each in readings if isinstance(each, Measurement)]
        start = min(float(each[0]) for each in times)
        yield Measurement(
            name="load_rate_per_second",
            unit=Unit.PER_SECOND,
            values=[rate, rate],
            times_seconds=[start, time.time()],
            source=Source.LOAD,
            statement=f"open loop, step {direction}",
            labels=labels,
        )

    def gathered(self) -> Iterator[Reading]:
        """Everything that was followed, polled and probed meanwhile."""
        self._poll.close()
        yield self._poll.reading(
            "metrics_api_metric_value", Unit.METRIC_VALUE, f"custom metrics API, {self._told.metric}"
        )
        yield from self._probes.readings()
        yield from self._prometheus()
        yield from self._watched()
        yield from self._held()

    def _load(self, steps: str, *, closed: bool = False) -> Any:
        arguments = ["--protocol", "ollama-generate", "--model", self._told.model]
        arguments += ["--output-tokens", str(self._told.output_tokens), "--yes-really", self._url]
        arguments += ["--header", f"Host: {self._workload.hostname}", "--backend-header", BACKEND_HEADER]
        # What queued up before the new replicas came is slow and not lost; it gets the time to be answered.
        arguments += ["--drain", "90", "--timeout", "180"]
        arguments += ["--closed"] if closed else []
        return self._rig.load(url=self._url, steps=steps, arguments=tuple(arguments))

    def _wait(self, seconds: float) -> None:
        """A window of observation: what is waited for is that nothing happens, or that clocks have ticked."""
        deadline = time.monotonic() + seconds

        def is_over(_: Mapping[str, Any]) -> bool:
            return time.monotonic() >= deadline

        self._rig.observe(self._pods, is_over, seconds)

    def _targets_reach(self, replicas: int, *, within_seconds: float) -> bool:
        name = f"{self._namespace}/{self._workload.name}"

        def is_reached(present: Mapping[str, Any]) -> bool:
            return name in present and present[name]["spec"].get("replicas") == replicas

        reached: bool = self._rig.observe(self._targets, is_reached, within_seconds)
        return reached

    def _autoscaler(self) -> Mapping[str, Any]:
        told = self._told
        if told.hpa_file:
            manifest: dict[str, Any] = yaml.safe_load(Path(told.hpa_file).read_text(encoding="utf-8"))
            manifest["metadata"]["namespace"] = self._namespace
            return manifest
        described = {"apiVersion": "v1", "kind": "Namespace", "name": self._namespace}
        metric = {
            "type": "Object",
            "object": {
                "describedObject": described,
                "metric": {"name": told.metric},
                "target": {"type": "AverageValue", "averageValue": f"{told.target:g}"},
            },
        }
        return {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": self._workload.name, "namespace": self._namespace},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": self._workload.name},
                "minReplicas": 1,
                "maxReplicas": told.max_replicas,
                "metrics": [metric],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": told.stabilization_seconds}},
            },
        }

    def _shown(self, state: str, start: float, end: float) -> Iterator[Reading]:
        """The metric by the device and by the metrics API within a window."""
        held = {each.labels["uuid"] for each in self._held() if isinstance(each, Measurement)}
        device = [
            each
            for each in self._probes.readings()
            if isinstance(each, Measurement) and each.name == "gpu_busy_time_ratio" and each.labels["uuid"] in held
        ]
        served = self._poll.reading("metrics_api_metric_value", Unit.METRIC_VALUE, "custom metrics API")
        sides = [("device", each, 100.0) for each in device]
        sides += [("metrics-api", served, 1.0)] if isinstance(served, Measurement) else []
        for side, measurement, factor in sides:
            inside = (measurement.times_seconds >= start) & (measurement.times_seconds <= end)
            if inside.any():
                yield Measurement(
                    name="calibration_metric_value",
                    unit=Unit.METRIC_VALUE,
                    values=measurement.values[inside] * factor,
                    times_seconds=measurement.times_seconds[inside],
                    source=measurement.source,
                    statement=measurement.statement,
                    labels={"at": state, "of": side},
                )

    def _prometheus(self) -> Iterator[Reading]:
        names = "|".join(UTILIZATION)
        for label in ("exported_namespace", "namespace"):
            selector = f'{{__name__=~"{names}",{label}="{self._namespace}"}}'
            found = self._rig.samples(
                selector, name="prometheus_metric_value", start_seconds=self._started, end_seconds=time.time()
            )
            if any(isinstance(each, Measurement) for each in found):
                yield from found
                return
        yield from found

    def _watched(self) -> Iterator[Reading]:
        targets = [event for event in self._targets.events() if event.object["metadata"]["name"] == self._workload.name]
        yield from _counted("desired_replicas_total", targets, ("spec", "replicas"))
        yield from _counted("ready_replicas_total", targets, ("status", "readyReplicas"))
        yield from _hpa_values(self._autoscalers.events())
        yield from _pod_moments(self._pods.events())

    def _learn_devices(self, *, within_seconds: float) -> None:
        """Ask each pod which devices it holds as soon as it is Ready: one that is gone cannot be asked any more."""
        deadline = time.monotonic() + within_seconds
        while (left := deadline - time.monotonic()) > 0 and self._rig.observe(self._pods, self._has_strangers, left):
            for name in self._strangers(self._pods.present()):
                text = self._rig.logs(namespace=self._namespace, pod=name, container="ollama")
                self._devices |= {(name, found["uuid"]): time.time() for found in HELD.finditer(text)}
                self._asked.add(name)

    def _has_strangers(self, present: Mapping[str, Any]) -> bool:
        return bool(self._strangers(present))

    def _strangers(self, present: Mapping[str, Any]) -> list[str]:
        ready = [pod["metadata"]["name"] for pod in present.values() if "Ready" in _true_conditions(pod)]
        return [name for name in ready if name not in self._asked]

    def _held(self) -> Iterator[Reading]:
        for (pod, uuid), at in sorted(self._devices.items()):
            yield Measurement(
                name="device_held_total",
                unit=Unit.TOTAL,
                values=[1.0],
                times_seconds=[at],
                source=Source.WORKLOAD,
                statement="what the pod says of its devices in its log",
                labels={"pod": pod, "uuid": uuid},
            )


def _counted(name: str, events: Sequence[Any], path: tuple[str, str]) -> Iterator[Reading]:
    pairs = [(each.received_utc_seconds, float(each.object.get(path[0], {}).get(path[1], 0))) for each in events]
    if pairs:
        yield Measurement(
            name=name,
            unit=Unit.TOTAL,
            values=[value for _, value in pairs],
            times_seconds=[at for at, _ in pairs],
            source=Source.KUBERNETES,
            statement=f"watch of the Deployment, {'.'.join(path)}",
        )


def _hpa_values(events: Sequence[Any]) -> Iterator[Reading]:
    """What the HPA shows of its metric, as its status says it."""
    pairs = []
    for event in events:
        for metric in event.object.get("status", {}).get("currentMetrics") or ():
            kind = metric["type"][0].lower() + metric["type"][1:]
            current = metric.get(kind, {}).get("current", {})
            value = current.get("averageValue") or current.get("value")
            if value is not None:
                pairs.append((event.received_utc_seconds, kubernetes_quantity(str(value))))
    if pairs:
        yield Measurement(
            name="hpa_metric_value",
            unit=Unit.METRIC_VALUE,
            values=[value for _, value in pairs],
            times_seconds=[at for at, _ in pairs],
            source=Source.KUBERNETES,
            statement="watch of the HorizontalPodAutoscaler, status.currentMetrics",
        )


def _pod_moments(events: Sequence[Any]) -> Iterator[Reading]:
    """When each pod was first seen in each state; the times are those of the watch's receipt."""
    seen: dict[tuple[str, str], float] = {}
    for event in events:
        pod = event.object["metadata"]["name"]
        for moment in _moments(event):
            seen.setdefault((pod, moment), event.received_utc_seconds)
    for (pod, moment), at in sorted(seen.items(), key=lambda each: each[1]):
        yield Measurement(
            name="pod_seen_seconds",
            unit=Unit.SECONDS,
            values=[at],
            times_seconds=[at],
            source=Source.KUBERNETES,
            statement="watch of Pods",
            labels={"pod": pod, "moment": moment},
        )


def _moments(event: Any) -> Iterator[str]:
    conditions = _true_conditions(event.object)
    containers = event.object.get("status", {}).get("containerStatuses") or ()
    yield "created"
    if "PodScheduled" in conditions:
        yield "scheduled"
    if containers and all("running" in each.get("state", {}) for each in containers):
        yield "started"
    if "Ready" in conditions:
        yield "ready"
    if event.object["metadata"].get("deletionTimestamp") or event.change == "DELETED":
        yield "deleted"


def _true_conditions(pod: Mapping[str, Any]) -> set[str]:
    return {each["type"] for each in pod.get("status", {}).get("conditions") or () if each["status"] == "True"}
