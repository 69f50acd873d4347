"""
Work on several devices at once whose course is known, so that metrics can be held against it.

Each pod idles first; then neighbours are busy in turn (what one device does the other does not), for random times, so
that no sampler falls into step with them, each with a size of memory of its own; then all climb a staircase of duty
cycles, up to kernels on the whole device all of the time, and go on with kernels on a part of it all of the time; then
they idle. The same seed gives the same course.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from workloads.burning_pods import GpuBurn
from workloads.gpu_burn import Step

STAIRS = (0.25, 0.5, 0.75)
PARTIAL_OCCUPANCY_RATIO = 0.25
"""Utilisation shows it as it shows a kernel on the whole device; SM activity shows a quarter of that, or less."""
IDLE_SHARE, TURNS_SHARE, STAIRS_SHARE, FULL_SHARE, PARTIAL_SHARE = 0.13, 0.43, 0.15, 0.10, 0.11
"""
Of the whole duration; what is left is idle again.

Profiling metrics are means over the collect interval: of the 600 s that the scenario takes by default, the full and the
partial step are twice as long as the 30 s at which an exporter collects by default, so that one lies wholly in each.
"""
MEMORY_PARTS = (0, 1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How long, how long each level is held on average, how much memory at most, and which random numbers."""

    duration_seconds: float
    dwell_seconds: float
    memory_bytes: int
    seed: int

    def steps(self, place: int) -> tuple[Step, ...]:
        """Of the pod at this place; those at even and those at odd places take turns."""
        return tuple(self._steps(place))

    def _steps(self, place: int) -> Iterator[Step]:
        held = random.Random(self.seed * 1009 + place)  # noqa: S311 - no secret
        yield Step(seconds=round(IDLE_SHARE * self.duration_seconds, 3), duty_ratio=0.0)
        memory = 0
        for number, seconds in enumerate(self._dwells()):
            memory = held.choice([each for each in MEMORY_PARTS if each != memory])
            busy = float((number + place) % 2)
            yield Step(seconds=seconds, duty_ratio=busy, memory_bytes=memory * (self.memory_bytes // 2))
        for duty in STAIRS:
            seconds = round(STAIRS_SHARE * self.duration_seconds / len(STAIRS), 3)
            yield Step(seconds=seconds, duty_ratio=duty, memory_bytes=self.memory_bytes)
        for share, occupancy in ((FULL_SHARE, 1.0), (PARTIAL_SHARE, PARTIAL_OCCUPANCY_RATIO)):
            seconds = round(share * self.duration_seconds, 3)
            yield Step(seconds=seconds, duty_ratio=1.0, memory_bytes=self.memory_bytes, occupancy_ratio=occupancy)
        rest = 1.0 - IDLE_SHARE - TURNS_SHARE - STAIRS_SHARE - FULL_SHARE - PARTIAL_SHARE
        yield Step(seconds=round(rest * self.duration_seconds, 3), duty_ratio=0.0)

    def _dwells(self) -> Iterator[float]:
        """Half to one and a half dwell each; the last takes what is left, so that all pods end together."""
        numbers = random.Random(self.seed)  # noqa: S311 - no secret
        left = TURNS_SHARE * self.duration_seconds
        while left > 1.5 * self.dwell_seconds:
            seconds = round(numbers.uniform(0.5, 1.5) * self.dwell_seconds, 3)
            left -= seconds
            yield seconds
        yield round(left, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Excitation:
    """One pod a device, each with its steps; they end by themselves, and what they print tells what they did."""

    name: str
    namespace: str
    steps: tuple[tuple[Step, ...], ...]
    """By pod."""
    begin_utc_seconds: float
    image: str
    resource: str = "nvidia.com/gpu"
    device_class: str = ""
    """Devices are claimed by this class, where it is told, instead of asked for by the resource."""
    nodes: tuple[str, ...] = ()
    """By pod, where it is to run; empty: where the scheduler puts it."""

    def manifests(self) -> list[dict[str, Any]]:
        """A ConfigMap with the program, what claims are made of, and the pods."""
        burn = self._burn(self.steps[0])
        shared = [burn.program(), *burn.claim_templates()]
        for each in shared:
            each["metadata"]["namespace"] = self.namespace
        return [*shared, *self.pods()]

    def pods(self) -> list[dict[str, Any]]:
        """The pods alone, in the order of their steps."""
        return [self._pod(place, steps) for place, steps in enumerate(self.steps)]

    def _pod(self, place: int, steps: tuple[Step, ...]) -> dict[str, Any]:
        metadata = {
            "name": f"{self.name}-{place}",
            "namespace": self.namespace,
            "labels": {"app.kubernetes.io/name": self.name},
        }
        spec = {
            **self._burn(steps).pod_spec(),
            "restartPolicy": "Never",
            "tolerations": [{"key": self.resource, "operator": "Exists"}],
        }
        if self.nodes:
            spec["affinity"] = {
                "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": _on(self.nodes[place])}
            }
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    def _burn(self, steps: tuple[Step, ...]) -> GpuBurn:
        return GpuBurn(
            name=self.name,
            steps=steps,
            begin_utc_seconds=self.begin_utc_seconds,
            image=self.image,
            resource=self.resource,
            device_class=self.device_class,
        )


def _on(node: str) -> dict[str, Any]:
    """By affinity and not by nodeName: the scheduler is to give the devices."""
    fields = [{"key": "metadata.name", "operator": "In", "values": [node]}]
    return {"nodeSelectorTerms": [{"matchFields": fields}]}
