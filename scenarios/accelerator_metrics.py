"""Are the metrics of the devices true? Every exporter and every device, held against NVML while known work runs."""

import dataclasses
import itertools
import time
from collections.abc import Iterator, Mapping
from typing import Any

from bench import (
    Basis,
    Check,
    Footprint,
    Kind,
    Measurement,
    Reading,
    Relation,
    Rig,
    ScaledMetric,
    Source,
    Statistic,
    Unit,
    fidelity,
    needs,
    scenario,
)
from workloads.excitation import Course, Excitation
from workloads.gpu_burn import Step

UTILIZATION = ("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_GPU_UTIL_RATIO")
ENERGY = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
POLL_HERTZ = 2.0
WATCHED = "watched_seconds"
"""The window that is judged: its start and its end, UTC."""
LOOK_BACK_SECONDS = 180.0
"""In which two scrapes lie, whatever the interval."""
PROGRAM_SECONDS = 5.0
"""From the creation of a pod whose image is there to its first step."""


@scenario("accelerator-metrics", requirement="accelerator_metrics")
class AcceleratorMetrics:
    """
    The metrics of every accelerator are there, are its own, name the pod that uses it, and are as old as they may be.

    Pods with known work rest, take turns, hold memory and climb a staircase, while a probe on each node reads NVML ten
    times a second. Every sample that Prometheus stored meanwhile is held against the device at the moment at which the
    exporter read it, which the energy counter tells; every label against what the pods saw inside of themselves.
    """

    devices: int = 4
    """On how many work is done, at most; all others are watched too."""
    duration_seconds: float = 600.0
    dwell_seconds: float = 0.0
    """How long a level is held on average; 0: twice the longest interval on the way."""
    seed: int = 1
    memory_bytes: int = 4 << 30
    metric: str = "gpu_utilization"
    """Of the custom metrics API, as autoscalers ask for it; empty: it is not asked."""
    burn_image: str = "nvcr.io/nvidia/pytorch:25.08-py3"
    probe_image: str = "gpu-bench:0.1.0"
    start_seconds: float = 900.0
    """For the pods to pull their image."""

    def needs(self) -> Iterator[needs.Need]:
        yield needs.PrometheusReachable()
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
        trial.open()
        yield from trial.scout()
        trial.excite()
        yield from trial.gathered()

    def analyse(self, readings: tuple[Reading, ...]) -> Iterator[Reading]:
        window = [each for each in readings if each.name == WATCHED and isinstance(each, Measurement)]
        scrape_seconds = fidelity.scrape_interval_seconds(readings)
        if window and scrape_seconds:
            start, end = (float(each) for each in window[0].values)
            settings = fidelity.Settings(start_seconds=start, end_seconds=end, scrape_seconds=scrape_seconds)
            yield from fidelity.fidelity_readings(readings, settings)

    def checks(self) -> Iterator[Check]:
        families = [_presence_checks(), _time_checks(), _value_checks(), _name_checks(), self._view_checks()]
        for check in itertools.chain.from_iterable(families):
            yield dataclasses.replace(check, look_at=fidelity.LOOK_AT[check.measurement])

    def _view_checks(self) -> Iterator[Check]:
        if self.metric:
            yield Check(
                claim="the metrics API tells what Prometheus holds",
                measurement="view_mismatch_ratio",
                statistic=Statistic.LAST,
                relation=Relation.AT_MOST,
                bound=0.05,
                because="an answer may fall between a scrape and its storage; else it is no sum, mean or maximum",
            )


def _none_of(claim: str, measurement: str, because: str, basis: Basis = Basis.OURS) -> Check:
    return Check(
        claim=claim,
        measurement=measurement,
        statistic=Statistic.MAX,
        relation=Relation.AT_MOST,
        bound=0.0,
        because=because,
        basis=basis,
    )


def _bounded(claim: str, measurement: str, relation: Relation, bound: float, because: str) -> Check:
    return Check(
        claim=claim,
        measurement=measurement,
        statistic=Statistic.MIN if relation is Relation.AT_LEAST else Statistic.MAX,
        relation=relation,
        bound=bound,
        because=because,
    )


def _presence_checks() -> Iterator[Check]:
    yield Check(
        claim="an exporter answers on every node with accelerators",
        measurement="exporter_answer_seconds",
        statistic=Statistic.MAX,
        relation=Relation.AT_MOST,
        bound=10.0,
        because="Prometheus gives a target ten seconds; a node without an exporter leaves this unknown",
        basis=Basis.CHECKLIST,
    )
    yield _none_of(
        "every device that NVML shows has metrics",
        "device_unseen_total",
        "KAR-0059: metrics per accelerator; of all nodes, not of the one that a Service happens to hit",
        Basis.KAR,
    )
    yield _bounded(
        "at rest the utilisation metric is low",
        "idle_seen_ratio",
        Relation.AT_MOST,
        0.10,
        "a control: NVML saw each of these devices at rest",
    )
    yield _bounded(
        "under full load the utilisation metric is high",
        "load_seen_ratio",
        Relation.AT_LEAST,
        0.90,
        "a control: NVML saw each of these devices full",
    )
    yield Check(
        claim="every scrape of an exporter brings every metric of every device",
        measurement="coverage_ratio",
        statistic=Statistic.MIN,
        relation=Relation.AT_LEAST,
        bound=0.98,
        because="`up` stays 1 while samples are lost; the upper end of Wilson's interval decides",
    )
    yield Check(
        claim="the exporters are scraped as often as they should",
        measurement="scrape_coverage_ratio",
        statistic=Statistic.MIN,
        relation=Relation.AT_LEAST,
        bound=0.95,
        because="the upper end of Wilson's interval of the scrapes that were made",
        kind=Kind.PERFORMANCE,
    )


def _time_checks() -> Iterator[Check]:
    yield _bounded(
        "the exporter collects as often as it is configured to",
        "collect_interval_measured_to_configured_ratio",
        Relation.AT_MOST,
        1.5,
        "a variable with a wrong name is ignored, and the interval stays 30 s",
    )
    yield _none_of(
        "no sample is older than the collect interval",
        "sample_age_excess_seconds",
        "95 of 100 samples, beyond 0.3 s and a twentieth of the interval, which clocks and passes explain",
    )
    yield _bounded(
        "no metric is later than the exporter's own reading of the device",
        "field_delay_seconds",
        Relation.AT_MOST,
        0.5,
        "all fields are read in one pass; tried by the shift that explains the values best",
    )
    yield _none_of(
        "no metric stands still while its device moves",
        "frozen_seconds",
        "three samples alike that the device left, or a counter that stops, which no live device's does",
    )


def _value_checks() -> Iterator[Check]:
    yield _bounded(
        "the values are the device's",
        "unexplained_error_ratio",
        Relation.AT_MOST,
        0.03,
        "lower end of a 95 % interval; what rounding and 0.15 s about the reading explain is taken out",
    )
    yield Check(
        claim="every metric is in the unit that it is declared in",
        measurement="unit_factor_ratio",
        statistic=Statistic.LAST,
        relation=Relation.EQUALS,
        bound=1.0,
        because="watts for milliwatts, bytes for MiB, a ratio for percent: no rule notices",
    )
    yield _none_of(
        "no mark for a blank is shown as a number", "sentinels_total", "DCGM's blanks are about 9e18 and win every sum"
    )
    yield _none_of("every value can be", "out_of_range_total", "no utilisation above 1, nothing below 0")
    yield _bounded(
        "used, free and reserved memory are all the memory",
        "memory_imbalance_bytes",
        Relation.AT_MOST,
        3.0 * 1048576,
        "three values, each cut to a MiB",
    )
    yield _none_of("no counter falls", "counter_resets_total", "rate() takes each fall for a restart")
    yield Check(
        claim="the energy counter rises as power says",
        measurement="energy_to_power_ratio",
        statistic=Statistic.LAST,
        relation=Relation.WITHIN,
        bound=1.0,
        tolerance=0.1,
        because="dcgmproftester's own tolerance of 10 %",
    )
    yield _bounded(
        "the profiling counter means what NVML's utilisation means",
        "engine_unexplained_ratio",
        Relation.AT_MOST,
        0.05,
        "kernels on the whole device: both tell the time in which it worked, within dcgmproftester's 10 %",
    )


def _name_checks() -> Iterator[Check]:
    yield _none_of(
        "every device in use names its pod", "missing_labels_total", "beyond two scrapes after the pod's start"
    )
    yield _none_of("no device names a pod that never had it", "wrong_pods_total", "what the pods saw inside decides")
    yield _none_of(
        "no pod is named after its end", "ghosts_total", "beyond two scrapes after it; kubelets before 1.34 do"
    )
    yield _none_of("no device is shown twice", "duplicates_total", "sums over pods would count it twice")
    yield _none_of("labels come within two scrapes", "label_late_seconds", "they are as of the scrape")
    yield _none_of(
        "no sample is lost when a device changes hands", "hand_over_lost_total", "one series ends where the next begins"
    )
    yield _bounded(
        "no label but the pod's changes",
        "series_unexplained_total",
        Relation.AT_MOST,
        3.0,
        "each change of a label begins a new series of every metric; a restarted exporter explains some",
    )
    yield _none_of(
        "what pods that share a device are told adds up to the device",
        "shares_wrong_total",
        "each told the whole of it, sums are as often too high as there are sharers",
    )


class _Trial:
    """One execution: what is deployed, watched and asked."""

    def __init__(self, told: AcceleratorMetrics, rig: Any) -> None:
        self._told = told
        self._rig = rig
        self._count = min(told.devices, _free_accelerators(rig.inventory))
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
        began = time.time()
        scrape = fidelity.scrape_interval_seconds(self._utilization(began - LOOK_BACK_SECONDS)) or 15.0
        rest = (Step(seconds=4.0 * scrape, duty_ratio=0.0),)
        self._play("scout", tuple(rest for _ in range(self._count)), 0.0, 4.0 * scrape)
        longest = max([scrape, *_configured_seconds(self._exporters)])
        self._scrape = scrape
        self._course = Course(
            duration_seconds=self._told.duration_seconds,
            dwell_seconds=self._told.dwell_seconds or 2.0 * longest,
            memory_bytes=self._told.memory_bytes,
            seed=self._told.seed,
        )

    def excite(self) -> None:
        """The course on each device, then a rest in which labels should go."""
        begin = time.time() + PROGRAM_SECONDS
        steps = tuple(self._course.steps(place) for place in range(self._count))
        self._rig.say("known work", left_seconds=self._told.duration_seconds + 4.0 * self._scrape)
        self._play("burn", steps, begin, self._told.duration_seconds + PROGRAM_SECONDS)
        self._wait(4.0 * self._scrape)

    def gathered(self) -> Iterator[Reading]:
        """Everything that was followed, polled and probed meanwhile."""
        ended = time.time()
        yield Measurement(
            name=WATCHED, unit=Unit.SECONDS, values=[self._started, ended], source=Source.LOAD, statement="the window"
        )
        yield from self._probes.readings()
        yield from self._clocks.readings()
        if self._poll is not None:
            self._poll.close()
            statement, labels = f"custom metrics API, {self._told.metric}", {"namespace": self._namespace}
            yield self._poll.reading(fidelity.METRIC, Unit.METRIC_VALUE, statement, labels)
        yield from self._rig.device_samples(start_seconds=self._started, end_seconds=ended)
        yield from self._holders(ended)

    def _utilization(self, start: float) -> tuple[Reading, ...]:
        selector = f'{{__name__=~"{"|".join(UTILIZATION)}"}}'
        found: tuple[Reading, ...] = self._rig.samples(
            selector, name="prometheus_metric_value", start_seconds=start, end_seconds=time.time()
        )
        return found

    def _play(self, name: str, steps: tuple[tuple[Step, ...], ...], begin: float, seconds: float) -> None:
        """Create the pods and wait until each has ended by itself."""
        played = Excitation(
            name=name, namespace=self._namespace, steps=steps, begin_utc_seconds=begin, image=self._told.burn_image
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
            if name.startswith(("scout-", "burn-")):
                log = self._rig.logs(namespace=self._namespace, pod=name, container="burn")
                yield from fidelity.holder_readings(pod, log, ended_seconds=ended)


def _free_accelerators(inventory: Any) -> int:
    return int(inventory.allocatable_total(needs.GPU_RESOURCE))


def _configured_seconds(readings: list[Reading]) -> list[float]:
    name = "exporter_configured_collect_seconds"
    return [float(each.values[0]) for each in readings if isinstance(each, Measurement) and each.name == name]
