"""Does the autoscaler follow the GPU? Load through the Gateway, the GPU metric, the HPA, and what came of each step."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench import (
    BadParameter,
    Check,
    Footprint,
    Inventory,
    Reading,
    Rig,
    autoscaling,
    needs,
    rights,
    scenario,
)
from scenarios._autoscaling_trial import UTILIZATION, Trial
from workloads.autoscaler import Autoscaler, from_file

GPU_RESOURCE, GPU_CLASS = "nvidia.com/gpu", "gpu.nvidia.com"
ALLOCATIONS = ("auto", "device-plugin", "dra")
ARRIVALS = ("poisson", "constant")
POSITIVE = (
    *("target", "max_replicas", "repeats", "calibration_seconds", "load_over_capacity", "ttft_slo_seconds"),
    *("prompt_tokens", "output_tokens", "collect_interval_seconds"),
)
NOT_NEGATIVE = (
    *("stabilization_seconds", "idle_seconds", "up_seconds", "down_seconds", "down_over_capacity"),
    *("load_workers", "drain_seconds"),
)


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
    up_seconds: float = 0.0
    """Of a step up; 0: a minute and two collections, so that the slowest reaction and its relief are within it."""
    down_seconds: float = 0.0
    """Of a step down at most; 0: the HPA's stabilisation and three collections."""
    calibration_seconds: float = 15.0
    load_over_capacity: float = 1.8
    """Of a step up: how many times what one replica was seen to answer. Two replicas carry it, at 90 % each: above
    the target, so that a third is asked for."""
    down_over_capacity: float = 0.1
    """Of a step down: enough requests to lose one, too few to keep a second replica."""
    arrivals: str = "poisson"
    """How requests follow each other: poisson, or constant, at equal distances."""
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

    def __post_init__(self) -> None:
        of_these = {"aggregation": tuple(autoscaling.Aggregation), "allocation": ALLOCATIONS, "arrivals": ARRIVALS}
        for name, known in of_these.items():
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{name}={value}: one of {', '.join(known)} is meant")
        for name in POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name):g}: more than 0 is meant")
        for name in NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name):g}: 0 or more is meant")

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
        if self.allocation == "dra":
            yield needs.DeviceClassOffered(name=GPU_CLASS, at_least=2)
        if self.allocation == "device-plugin":
            yield needs.Allocatable(resource=GPU_RESOURCE, at_least=2)

    def footprint(self) -> Footprint:
        scaled = self.scaled()
        one_repeat = self.step_up_seconds + self.step_down_seconds + self.collect_interval_seconds
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
        trial = Trial(self, rig)
        try:
            trial.open()
            yield from trial.calibrate()
            yield from trial.start_autoscaler()
            yield from trial.idle_control()
            for number in range(1, self.repeats + 1):
                trial.lose_phase()
                yield from trial.steps(number)
        except (KeyboardInterrupt, Exception):
            yield from trial.broken_off()
            raise
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

    @property
    def step_up_seconds(self) -> float:
        """How long a step up lasts."""
        return self.up_seconds or 60.0 + 2.0 * self.collect_interval_seconds

    @property
    def step_down_seconds(self) -> float:
        """How long a step down lasts at most."""
        stabilisation_seconds = self.scaled().hpa.down.stabilization_seconds
        return self.down_seconds or stabilisation_seconds + 3.0 * self.collect_interval_seconds

    def device_class(self, inventory: Inventory) -> str:
        """The DeviceClass by which a pod claims its device; empty: by the resource of the device plugin."""
        offered = inventory.allocatable_total(GPU_RESOURCE) >= self.scaled().hpa.max_replicas
        by_claim = self.allocation == "dra" or (not offered and GPU_CLASS in inventory.device_classes)
        return GPU_CLASS if by_claim and self.allocation != "device-plugin" else ""

    def scaled(self) -> autoscaling.HpaSpec:
        """The HPA that is going to be applied. Raises `BadParameter`, naming the file and what is wrong with it."""
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
