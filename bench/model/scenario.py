"""
What a scenario, a workload and a rig promise to each other.

A scenario yields readings and declares checks; it never judges, prints or writes. A rig is all that it may touch.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from bench.model.check import Check
from bench.model.inventory import Inventory
from bench.model.measurement import Reading
from bench.model.needs import Need
from bench.model.rights import Right, distinct, made
from bench.model.units import Unit


class Clock(Protocol):
    """Two readings of time: UTC for the evidence, monotonic for durations."""

    def utc_seconds(self) -> float:
        """Seconds since the epoch."""

    def monotonic_seconds(self) -> float:
        """Seconds of a clock that never goes back."""


@runtime_checkable
class Workload(Protocol):
    """What runs on accelerators, as Kubernetes objects."""

    @property
    def name(self) -> str:
        """Name of its objects."""

    def manifests(self) -> Iterable[Mapping[str, Any]]:
        """The objects, in the order in which they are made."""


class Gateway(Protocol):
    """Where requests from outside come in."""

    @property
    def name(self) -> str:
        """Name of the Gateway."""

    @property
    def namespace(self) -> str:
        """Its namespace."""

    @property
    def url(self) -> str:
        """What to send requests to."""

    @property
    def inside_url(self) -> str:
        """What pods of the cluster send requests to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadWorkers:
    """Pods that make a load inside the cluster, in place of this machine."""

    count: int = 1
    image: str = "gpu-bench:0.1.0"
    cpu_request: str = "250m"
    """Of each; a worker at its end takes a core."""


class Load(Protocol):
    """A load under way."""

    def finish(self, *, within_seconds: float) -> None:
        """Wait for the end of its schedule; end it if it has not come by then."""

    def stop(self) -> None:
        """End it now; what was measured is kept."""

    def readings(
        self, labels: Mapping[str, str], *, since_seconds: float = 0.0, until_seconds: float = math.inf
    ) -> Iterable[Reading]:
        """What the requests met that were due in this part of the load, with these labels."""

    @property
    def started_utc_seconds(self) -> float:
        """When its schedule began; known when it is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledMetric:
    """A metric as an HPA names it."""

    kind: str
    """``Object`` (of a Namespace), ``Pods`` or ``External``."""
    metric: str
    pod_selector: str = ""
    """Of a Pods metric: the label selector of the scale target's pods."""


class Poll(Protocol):
    """A value that is asked for again and again."""

    def wait_until(self, claim: Callable[[float], bool], *, within_seconds: float) -> bool:
        """Whether the claim became true of an answer within the time."""

    def answered(self, name: str, statement: str) -> Reading:
        """Of every question whether it was answered: 1 or 0."""

    def close(self) -> None:
        """Stop asking."""

    def reading(self, name: str, unit: Unit, statement: str, labels: Mapping[str, str] = ...) -> Reading:
        """What was answered, under this name."""


class Probes(Protocol):
    """Probes on the nodes, under way."""

    def catch_up(self, *, within_seconds: float) -> None:
        """Wait until they have told all that they saw until now; one that tells no more is not waited for."""

    def readings(self) -> Iterable[Reading]:
        """What they saw so far, by device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A pod that was to run to its end."""

    logs: Mapping[str, str] = field(default_factory=dict)
    """What each container wrote."""
    reason: str = ""
    """Why it did not end; empty where it did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a scenario is, for whoever watches; no part of the evidence."""

    phase: str
    left_seconds: float | None = None
    """Until the scenario is over, as far as it knows; None: as its footprint says."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Numbers to be seen beside the phase, by names that end in their unit."""


class Holders(Protocol):
    """The devices that pods say they hold, learnt as the pods come."""

    def readings(self) -> Iterable[Reading]:
        """One a pod and device."""


class ClockReadings(Protocol):
    """Clocks that are being compared."""

    def readings(self) -> Iterable[Reading]:
        """How far each is ahead of this machine's, and within which bound."""


class Rig(Protocol):
    """All that a scenario may touch during one run; what it makes is gone when the scenario is over."""

    @property
    def run_id(self) -> str:
        """Label value of every object of this run."""

    @property
    def clock(self) -> Clock:
        """The one clock that durations come from."""

    @property
    def inventory(self) -> Inventory:
        """What the target was seen to have."""

    def say(self, phase: str, *, left_seconds: float | None = None, **figures: float) -> None:
        """
        Tell whoever watches what is done now, such as ``step up 1 of 2``.

        Replicas, device utilisation, the polled metric, rate and TTFT of a load under way need not be told: the rig
        knows them of what it follows, probes, polls and loads. Other numbers go by names that end in their unit.
        """

    def namespace(self, purpose: str, labels: Mapping[str, str] = ...) -> str:
        """A namespace of the run's own, with these labels; its name."""

    def create(self, manifest: Mapping[str, Any]) -> Any:
        """Create one object of the run's own."""

    def refusal(self, manifest: Mapping[str, Any]) -> str:
        """Why the API server would not admit an object; empty where it would. Nothing is created."""

    def remove(self, *manifests: Mapping[str, Any], grace_seconds: int | None = None) -> None:
        """Remove objects before the end, all at once."""

    def errands(self, pods: Iterable[Mapping[str, Any]], *, within_seconds: float) -> Mapping[str, Errand]:
        """Create these pods at once, and return what each wrote when all have ended; by name."""

    def allocations(self, followed: Any) -> Iterable[Reading]:
        """Which devices the followed ResourceClaims were allocated until now, pod by pod."""

    def unused(self, resource: str) -> Mapping[str, int]:
        """Node → how much of an extended resource no pod has asked for."""

    def deploy(self, workload: Workload, *, within_seconds: float) -> None:
        """Create a workload's objects, and wait until it is available."""

    def wait_until(self, manifest: Mapping[str, Any], claim: Callable[[Any], bool], *, within_seconds: float) -> Any:
        """The object as soon as the claim is true of it."""

    def wait_until_gone(self, manifest: Mapping[str, Any], *, within_seconds: float) -> None:
        """Return when the object is not there."""

    def follow(self, api_version: str, plural: str, *, namespace: str, label_selector: str = "") -> Any:
        """Begin to follow a collection: every change, with the time of its receipt."""

    def observe(self, followed: Any, claim: Callable[[Any], bool], within_seconds: float) -> bool:
        """Whether the claim became true of what is followed, within the time."""

    def holders(self, followed: Any, *, container: str) -> Holders:
        """The devices that the followed pods tell in the log of a container."""

    def counts(self, followed: Any, name: str, path: tuple[str, str], *, of: str) -> Iterable[Reading]:
        """A count of the object of this name at each of its changes."""

    def hpa_values(self, followed: Any) -> Iterable[Reading]:
        """What the followed HPA showed of its metric."""

    def pod_moments(self, followed: Any) -> Iterable[Reading]:
        """When each followed pod was first seen in each state."""

    def cost(self) -> Iterable[Reading]:
        """What the bench itself takes of a core and of the API server."""

    def away(self) -> Iterable[Reading]:
        """When the API server and Prometheus did not answer; nothing where they always did."""

    def logs(self, *, namespace: str, pod: str, container: str) -> str:
        """What a container has written so far."""

    def gateway(self) -> Gateway:
        """The Gateway that requests go through."""

    def is_answered(self, url: str, *, hostname: str, by_header: str, within_seconds: float) -> bool:
        """Whether a GET through the Gateway reached a pod, which answers with the header, within the time."""

    def load(
        self, *, url: str, steps: str, arguments: tuple[str, ...] = (), workers: LoadWorkers | None = None
    ) -> Load:
        """Start a load with these steps: from this machine, or from workers in the cluster."""

    def probes(self, *, namespace: str, image: str, metrics: tuple[str, ...], seconds: float) -> Probes:
        """A probe on every node with accelerators."""

    def poll_metric(self, asked: ScaledMetric, *, namespace: str, hertz: float) -> Poll:
        """The metrics API, asked as the autoscaler asks it."""

    def clocks(self) -> ClockReadings:
        """Clocks of the API server and of Prometheus against this machine's, asked from now on."""

    def exporters(self) -> Iterable[Reading]:
        """What each exporter of device metrics is told to do, and what its text declares."""

    def device_samples(self, *, start_seconds: float, end_seconds: float) -> Iterable[Reading]:
        """Of every known metric of devices, all samples that Prometheus has stored, in base units."""

    def samples(self, selector: str, *, name: str, start_seconds: float, end_seconds: float) -> tuple[Reading, ...]:
        """The samples of a selector that Prometheus has stored."""


class Scenario(Protocol):
    """One claim: what it needs, how it is tried, and what must hold."""

    def needs(self) -> Iterable[Need]:
        """Conditions without which the run proves nothing."""

    def run(self, rig: Any) -> Iterable[Reading]:
        """Try it; yield what was measured as it comes."""

    def checks(self) -> Iterable[Check]:
        """What must hold of the readings."""


@runtime_checkable
class Analysed(Protocol):
    """A scenario that derives readings from its readings, purely, so that it can be done again from disk."""

    def analyse(self, readings: tuple[Reading, ...]) -> Iterable[Reading]:
        """Readings that follow from the readings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What a scenario takes: time, accelerators, objects and rights; shown before anything is done."""

    duration_seconds: float
    accelerators: int = 0
    objects: tuple[str, ...] = ()
    """Kinds that it makes, by their names; of those that Kubernetes does not bring such as ``rayjobs.ray.io``."""
    rights: tuple[Right, ...] = ()
    """What it uses beside what making the objects takes."""

    @property
    def gpu_minutes(self) -> float:
        """Accelerators held times minutes."""
        return self.accelerators * self.duration_seconds / 60.0

    @property
    def all_rights(self) -> tuple[Right, ...]:
        """Those said, and those that making the objects takes. Raises ValueError for a kind that is not known."""
        return distinct((*self.rights, *(right for kind in self.objects for right in made(kind))))


@runtime_checkable
class Weighed(Protocol):
    """A scenario that says what it takes."""

    def footprint(self) -> Footprint:
        """What it takes with its present parameters."""
