"""Are the metrics of the devices true? Every exporter and every device, held against NVML while known work runs."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bench import (
    Absent,
    BenchError,
    Check,
    Footprint,
    Measurement,
    Reading,
    Rig,
    ScaledMetric,
    Source,
    Unit,
    fidelity,
    needs,
    scenario,
)
from workloads.excitation import Course, Excitation
from workloads.gpu_burn import Step

UTILIZATION = ("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_GPU_UTIL_RATIO")
ENERGY = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
GPU_CLASS = "gpu.nvidia.com"
POLL_HERTZ = 2.0
WATCHED = "watched_seconds"
"""The window that is judged: its start and its end, UTC."""
LOOK_BACK_SECONDS = 180.0
"""In which two scrapes lie, whatever the interval."""
CHART_SCRAPE_SECONDS = 15.0
SHARED_SCRAPES = 6.0
SHARED_DUTY_RATIO = 0.3
"""Of each sharer: two of them, and three as well, leave the device room."""
SHARED_MEMORY_BYTES = 256 << 20
PROBES_SECONDS = 10.0
"""For probes to tell what they have seen; they do so every second."""
PROGRAM_SECONDS = 5.0
"""From the creation of a pod whose image is there to its first step."""


@scenario("accelerator-metrics", requirement="accelerator_metrics")
class AcceleratorMetrics:
    """
    The metrics of every accelerator are there, are its own, name the pod that uses it, and are as old as they may be.

    Pods with known work rest, take turns, hold memory, climb a staircase and end on a part of each device, while a
    probe on each node reads NVML ten times a second. Every sample that Prometheus stored meanwhile is held against
    the device at the moment at which the exporter read it, which the energy counter tells; every label against what
    the pods saw inside of themselves.
    """

    devices: int = 4
    """On how many work is done, at most; all others are watched too."""
    duration_seconds: float = 600.0
    dwell_seconds: float = 0.0
    """How long a level is held on average; 0: twice the longest interval on the way."""
    seed: int = 1
    memory_bytes: int = 4 << 30
    resource: str = "nvidia.com/gpu"
    """What pods ask for, where devices are not claimed."""
    metric: str = "gpu_utilization"
    """Of the custom metrics API, as autoscalers ask for it; empty: it is not asked."""
    burn_image: str = "nvcr.io/nvidia/pytorch:25.08-py3"
    probe_image: str = "gpu-bench:0.1.0"
    start_seconds: float = 900.0
    """For the pods to pull their image."""

    def needs(self) -> Iterator[needs.Need]:
        yield needs.PrometheusReachable()
        yield needs.WholeDevices()
        yield needs.MetricServed(names=UTILIZATION)
        yield needs.Accelerators(at_least=1)

    def footprint(self) -> Footprint:
        return Footprint(
            duration_seconds=self.duration_seconds + 90.0,
            accelerators=self.devices,
            objects=("Namespace", "ConfigMap", "Pod"),
        )

    def run(self, rig: Rig) -> Iterator[Reading]:
        trial = _Trial(self, rig)
        try:
            trial.open()
            yield from trial.scout()
            trial.excite()
            yield from trial.share()
        except (KeyboardInterrupt, Exception):
            yield from trial.broken_off()
            raise
        yield from trial.gathered()

    def analyse(self, readings: tuple[Reading, ...]) -> Iterator[Reading]:
        window = [each for each in readings if each.name == WATCHED and isinstance(each, Measurement)]
        scrape_seconds = fidelity.scrape_interval_seconds(readings)
        if window and scrape_seconds:
            start, end = (float(each) for each in window[0].values)
            settings = fidelity.Settings(start_seconds=start, end_seconds=end, scrape_seconds=scrape_seconds)
            yield from fidelity.fidelity_readings(readings, settings)

    def checks(self) -> Iterator[Check]:
        return fidelity.checks(asks_the_metrics_api=bool(self.metric))


class _Trial:
    """One execution: what is deployed, watched and asked."""

    def __init__(self, told: AcceleratorMetrics, rig: Any) -> None:
        self._told = told
        self._rig = rig
        self._count = min(told.devices, _free_accelerators(rig.inventory, told.resource))
        self._alone: tuple[str, ...] = ()
        self._started = 0.0
        self._course = Course(duration_seconds=0.0, dwell_seconds=0.0, memory_bytes=0, seed=0)
        self._exporters: list[Reading] = []
        self._poll: Any = None

    def open(self) -> None:
        """Begin to look at everything that will change."""
        rig, told = self._rig, self._told
        self._namespace = rig.namespace("metrics")
        self._clocks = rig.clocks()
        self._exporters = list(rig.exporters())
        self._pods = rig.follow("v1", "pods", namespace=self._namespace)
        rig.say("probes", left_seconds=told.footprint().duration_seconds)
        metrics = (*UTILIZATION, ENERGY)
        seconds = 2.0 * told.footprint().duration_seconds + told.start_seconds
        self._probes = rig.probes(namespace=self._namespace, image=told.probe_image, metrics=metrics, seconds=seconds)
        self._started = time.time()
        if told.metric:
            asked = ScaledMetric(kind="Object", metric=told.metric)
            self._poll = rig.poll_metric(asked, namespace=self._namespace, hertz=POLL_HERTZ)

    def scout(self) -> Iterator[Reading]:
        """
        Pods that hold a device each and rest: their image is pulled, and every device changes hands once.

        Meanwhile the intervals on the way are learnt, which say how long levels must be held.
        """
        yield from self._exporters
        self._rig.say("scouts")
        scrape = self._scrape_seconds()
        self._alone = fidelity.alone(self._rig.inventory, self._rig.unused(self._told.resource), self._count)
        self._count = len(self._alone) or self._count
        rest = (Step(seconds=4.0 * scrape, duty_ratio=0.0),)
        self._play("scout", tuple(rest for _ in range(self._count)), 0.0, 4.0 * scrape, nodes=self._alone)
        longest = max([scrape, *_configured_seconds(self._exporters)])
        self._scrape, self._longest = scrape, longest
        self._course = Course(
            duration_seconds=self._told.duration_seconds,
            dwell_seconds=self._told.dwell_seconds or 2.0 * longest,
            memory_bytes=self._told.memory_bytes,
            seed=self._told.seed,
        )

    def _scrape_seconds(self) -> float:
        """By what Prometheus stored, once it has scraped an exporter twice; else as NVIDIA's chart sets it."""
        began, deadline = time.time(), time.monotonic() + LOOK_BACK_SECONDS
        while time.monotonic() < deadline:
            found = fidelity.scrape_interval_seconds(self._utilization(began - LOOK_BACK_SECONDS))
            if found is not None:
                return found
            self._wait(1.0)
        return CHART_SCRAPE_SECONDS

    def excite(self) -> None:
        """The course on each device, then a rest in which labels should go."""
        begin = time.time() + PROGRAM_SECONDS
        steps = tuple(self._course.steps(place) for place in range(self._count))
        self._rig.say("known work", left_seconds=self._told.duration_seconds + 4.0 * self._scrape)
        self._play("burn", steps, begin, self._told.duration_seconds + PROGRAM_SECONDS, nodes=self._alone)
        self._wait(4.0 * self._scrape)

    def share(self) -> Iterator[Reading]:
        """Where devices may be shared: one pod more than a node has of them, none of which has work for a whole one."""
        inventory, free = self._rig.inventory, self._rig.unused(self._told.resource)
        nodes = fidelity.crowded(inventory, free)
        if not nodes:
            if fidelity.is_shared(inventory):
                reason = "no node has a share of a device more free than it has devices"
                for name in ("sharers_unnamed_total", "conservation_ratio", "shares_wrong_total"):
                    yield Absent(name=name, source=Source.KUBERNETES, statement=self._told.resource, reason=reason)
            return
        seconds = 2.0 * SHARED_SCRAPES * self._scrape + 4.0 * self._longest
        self._rig.say("pods that share a device", left_seconds=seconds + 4.0 * self._scrape)
        steps = (Step(seconds=seconds, duty_ratio=SHARED_DUTY_RATIO, memory_bytes=SHARED_MEMORY_BYTES),)
        begin = time.time() + PROGRAM_SECONDS
        self._play("share", tuple(steps for _ in nodes), begin, seconds + PROGRAM_SECONDS, nodes=nodes)
        self._wait(4.0 * self._scrape)

    def gathered(self) -> Iterator[Reading]:
        """Everything that was followed, polled and probed meanwhile; what one source cannot tell is told last."""
        ended, failures = time.time(), list[BenchError]()
        self._probes.catch_up(within_seconds=PROBES_SECONDS)
        yield from self._told_by_sources(ended, failures)
        if failures:
            raise failures[0]

    def broken_off(self) -> Iterator[Reading]:
        """What was seen until something ended the trial before its time; a source that fails now has no say."""
        if self._started:
            yield from self._told_by_sources(time.time(), [])

    def _told_by_sources(self, ended: float, failures: list[BenchError]) -> Iterator[Reading]:
        values, statement = [self._started, ended], "the window"
        yield Measurement(name=WATCHED, unit=Unit.SECONDS, values=values, source=Source.LOAD, statement=statement)
        for source in self._sources(ended):
            try:
                yield from source()
            except BenchError as error:  # noqa: PERF203 - what the others tell is kept all the same
                failures.append(error)

    def _sources(self, ended: float) -> tuple[Callable[[], Iterator[Reading]], ...]:
        return (
            self._probes.readings,
            self._clocks.readings,
            self._polled,
            lambda: self._rig.device_samples(start_seconds=self._started, end_seconds=ended),
            lambda: self._holders(ended),
        )

    def _polled(self) -> Iterator[Reading]:
        if self._poll is not None:
            self._poll.close()
            statement, labels = f"custom metrics API, {self._told.metric}", {"namespace": self._namespace}
            yield self._poll.reading(fidelity.METRIC, Unit.METRIC_VALUE, statement, labels)

    def _utilization(self, start: float) -> tuple[Reading, ...]:
        selector = f'{{__name__=~"{"|".join(UTILIZATION)}"}}'
        found: tuple[Reading, ...] = self._rig.samples(
            selector, name="prometheus_metric_value", start_seconds=start, end_seconds=time.time()
        )
        return found

    def _play(
        self, name: str, steps: tuple[tuple[Step, ...], ...], begin: float, seconds: float, *, nodes: tuple[str, ...]
    ) -> None:
        """Create the pods and wait until each has ended by itself."""
        played = Excitation(
            name=name,
            namespace=self._namespace,
            steps=steps,
            begin_utc_seconds=begin,
            image=self._told.burn_image,
            resource=self._told.resource,
            nodes=nodes,
            device_class=_device_class(self._rig.inventory, self._told.resource),
        )
        for manifest in played.manifests():
            self._rig.create(manifest)
        names = {pod["metadata"]["name"] for pod in played.pods()}

        def have_ended(present: Mapping[str, Any]) -> bool:
            phases = [
                pod.get("status", {}).get("phase") for pod in present.values() if pod["metadata"]["name"] in names
            ]
            return len(phases) == len(names) and all(phase in ("Succeeded", "Failed") for phase in phases)

        self._rig.observe(self._pods, have_ended, seconds + self._told.start_seconds)

    def _wait(self, seconds: float) -> None:
        """A window of observation: nothing may happen in it, and clocks tick."""
        deadline = time.monotonic() + seconds
        self._rig.observe(self._pods, lambda _: time.monotonic() >= deadline, seconds)

    def _holders(self, ended: float) -> Iterator[Reading]:
        """From each pod's own log the devices that it saw, and what it did on them."""
        for pod in self._pods.present().values():
            name = pod["metadata"]["name"]
            if name.startswith(("scout-", "burn-", "share-")):
                log = self._rig.logs(namespace=self._namespace, pod=name, container="burn")
                yield from fidelity.holder_readings(pod, log, ended_seconds=ended)


def _device_class(inventory: Any, resource: str) -> str:
    """The DeviceClass by which pods claim their devices; empty where a device plugin offers any."""
    by_claim = not inventory.allocatable_total(resource) and GPU_CLASS in inventory.device_classes
    return GPU_CLASS if by_claim else ""


def _free_accelerators(inventory: Any, resource: str) -> int:
    """Devices, not shares of them: of two pods on one device neither would know the other's work."""
    offered = int(inventory.allocatable_total(resource))
    listed = len(inventory.devices)
    return min(offered, listed) if offered and listed else offered or listed


def _configured_seconds(readings: list[Reading]) -> list[float]:
    name = "exporter_configured_collect_seconds"
    return [float(each.values[0]) for each in readings if isinstance(each, Measurement) and each.name == name]
