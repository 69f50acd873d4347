"""Probe pods: one a node, reading its devices and its exporter, heard through their logs."""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import urllib3

from bench.cluster.client import Cluster
from bench.cluster.objects import Ref
from bench.cluster.sandbox import Sandbox
from bench.cluster.wait import wait_until
from bench.cluster.watch import AWAY_SECONDS
from bench.errors import BenchError, DeadlineExceeded, Unreachable
from bench.model.measurement import Absent, Measurement, Reading, Source
from bench.model.units import Unit

START_SECONDS: Final = 120.0
"""To pull an image of some hundred megabytes."""
LOG_SILENCE_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 0.5
REPORTS: Final = 2
"""The first line that is heard from now on may have been written before now; the next one has all until now."""

COLUMNS: Final[tuple[tuple[str, Unit, float], ...]] = (
    ("gpu_busy_time_ratio", Unit.RATIO, 0.01),
    ("gpu_memory_used_bytes", Unit.BYTES, 1.0),
    ("gpu_power_watts", Unit.WATTS, 1e-3),
    ("gpu_energy_joules", Unit.JOULES, 1e-3),
    ("gpu_temperature_celsius", Unit.CELSIUS, 1.0),
    ("gpu_sm_clock_hertz", Unit.HERTZ, 1e6),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePlan:
    """Where to probe and with what."""

    namespace: str
    image: str
    exporters: Mapping[str, str]
    """Node → the URL of its exporter's text; a node without one is probed by NVML alone."""
    metrics: tuple[str, ...]
    seconds: float


@dataclass(slots=True)
class ProbePods:
    """The probe pods of one scenario; `readings` may be asked for at any time."""

    cluster: Cluster
    plan: ProbePlan
    _lines: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _failures: dict[str, str] = field(default_factory=dict)
    _heard: set[int] = field(default_factory=set)
    _heard_at: dict[str, float] = field(default_factory=dict)
    _threads: dict[str, threading.Thread] = field(default_factory=dict)
    _has_told: threading.Condition = field(default_factory=threading.Condition)

    def start(self, sandbox: Sandbox) -> None:
        """Create them and wait until each has told its devices, or why it cannot."""
        for node in self.plan.exporters:
            self._lines[node] = []
            sandbox.create(_pod(self.plan, node))
        for node in self.plan.exporters:
            try:
                wait_until(self.cluster, self._ref(node), has_started, within_seconds=START_SECONDS)
            except DeadlineExceeded as error:
                self._failures[node] = str(error)
                continue
            self.listen(node)

    def listen(self, node: str) -> threading.Thread:
        """Begin to hear the log of a node's probe; the thread ends with the log."""
        self._lines.setdefault(node, [])
        self._threads[node] = threading.Thread(target=self._hear_all, args=(node,), name=f"probe {node}", daemon=True)
        self._threads[node].start()
        return self._threads[node]

    def catch_up(self, *, within_seconds: float) -> None:
        """Return when every probe that still tells has told all that it read until now, or the time is over."""
        wanted = {node: len(self._lines[node]) + REPORTS for node in self._threads}

        def is_told() -> bool:
            behind = (node for node, count in wanted.items() if len(self._lines[node]) < count)
            return not any(self._threads[node].is_alive() for node in behind)

        with self._has_told:
            self._has_told.wait_for(is_told, within_seconds)

    def readings(self) -> Iterator[Reading]:
        """NVML by device, and what the exporter showed by device and metric."""
        for node, lines in self._lines.items():
            found = [*_devices(node, list(lines)), *_exporters(node, list(lines)), *_own(node, list(lines))]
            if not found:
                reason = self._failures.get(node, "the probe pod has told nothing")
                name, statement = COLUMNS[0][0], f"probe pod on {node}"
                yield Absent(name=name, source=Source.NVML, statement=statement, reason=reason, labels={"node": node})
            yield from found

    def busy_ratios(self) -> Mapping[str, float]:
        """How busy each device was when it was last seen, by UUID."""
        newest = [line["device"] for lines in self._lines.values() for line in lines[-1:] if "device" in line]
        samples = [sample for device in newest for sample in device]
        return {sample[1]: sample[2] / 100.0 for sample in samples if sample[2] is not None}

    def _ref(self, node: str) -> Ref:
        return Ref(api_version="v1", kind="Pod", name=_name(node), namespace=self.plan.namespace)

    def _hear_all(self, node: str) -> None:
        """Until the log ends; one that breaks off is asked for again, as an API server that restarts breaks it off."""
        self._heard_at[node] = time.monotonic()
        while time.monotonic() - self._heard_at[node] < AWAY_SECONDS:
            try:
                self._hear_once(node)
            except (Unreachable, OSError, ValueError, urllib3.exceptions.HTTPError) as error:
                self._failures[node] = f"the log of the probe pod broke off: {error}"
            except BenchError as error:
                self._failures[node] = f"the log of the probe pod cannot be read: {error}"
                return
            else:
                return
            threading.Event().wait(RETRY_SECONDS)

    def _hear_once(self, node: str) -> None:
        path = f"/api/v1/namespaces/{self.plan.namespace}/pods/{_name(node)}/log"
        answer = self.cluster.stream(path, query={"follow": "true"}, read_timeout_seconds=LOG_SILENCE_SECONDS)
        for line in _split(answer.stream(amt=None)):
            self._hear(node, line)

    def _hear(self, node: str, line: bytes) -> None:
        """Each line has its time in it; the log of a second try begins with what the first has told."""
        self._heard_at[node] = time.monotonic()
        mark = hash((node, line))
        if mark in self._heard:
            return
        self._heard.add(mark)
        told = json.loads(line)
        if "error" in told:
            self._failures[node] = told["error"]
        else:
            with self._has_told:
                self._lines[node].append(told)
                self._has_told.notify_all()


def has_started(pod: Mapping[str, Any]) -> bool:
    """Its program runs, or ran."""
    return pod.get("status", {}).get("phase") in ("Running", "Succeeded", "Failed")


def _name(node: str) -> str:
    return f"probe-{node.replace('.', '-')}"[:63]


def _pod(plan: ProbePlan, node: str) -> dict[str, Any]:
    command = ["python3", "-m", "bench.probes.in_pod", "--seconds", f"{plan.seconds:.0f}"]
    if plan.exporters[node]:
        command += ["--exporter", plan.exporters[node]]
        command += [word for metric in plan.metrics for word in ("--metric", metric)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _name(node), "namespace": plan.namespace},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 2,
            "tolerations": [{"operator": "Exists"}],
            "containers": [
                {
                    "name": "probe",
                    "image": plan.image,
                    "command": command,
                    # As the exporter does: sees the devices without holding one.
                    "env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}],
                    "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}},
                }
            ],
        },
    }


def _split(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line for line in lines if line.strip())


def _devices(node: str, lines: Sequence[Mapping[str, Any]]) -> Iterator[Reading]:
    samples = [sample for line in lines for sample in line.get("device", ())]
    for uuid in sorted({sample[1] for sample in samples}):
        of_device = [sample for sample in samples if sample[1] == uuid]
        for place, (name, unit, factor) in enumerate(COLUMNS, start=2):
            yield _column(
                [(sample[0], sample[place]) for sample in of_device if place < len(sample)],
                Column(name=name, unit=unit, factor=factor, labels={"node": node, "uuid": uuid}),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What a column of the probe's output is called."""

    name: str
    unit: Unit
    factor: float
    labels: Mapping[str, str]


def _column(pairs: Sequence[tuple[float, float | None]], column: Column) -> Reading:
    known = [(at, value) for at, value in pairs if value is not None]
    statement = f"NVML through pynvml in a pod on {column.labels['node']}"
    if not known:
        reason = "the device does not have it"
        return Absent(name=column.name, source=Source.NVML, statement=statement, reason=reason, labels=column.labels)
    return Measurement(
        name=column.name,
        unit=column.unit,
        values=[value * column.factor for _, value in known],
        times_seconds=[at for at, _ in known],
        source=Source.NVML,
        statement=statement,
        labels=column.labels,
    )


def _exporters(node: str, lines: Sequence[Mapping[str, Any]]) -> Iterator[Reading]:
    series: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for line in lines:
        for before, after, told in line.get("exporter", ()):
            if isinstance(told, str):
                continue
            for metric, by_uuid in told.items():
                for uuid, value in by_uuid.items():
                    series.setdefault((metric, uuid), []).append(((before + after) / 2, value))
    for (metric, uuid), pairs in sorted(series.items()):
        yield Measurement(
            name="exporter_metric_value",
            unit=Unit.METRIC_VALUE,
            values=[value for _, value in pairs],
            times_seconds=[at for at, _ in pairs],
            source=Source.EXPORTER,
            statement=f"GET /metrics of the exporter on {node}",
            labels={"node": node, "uuid": uuid, "metric": metric},
        )


def _own(node: str, lines: Sequence[Mapping[str, Any]]) -> Iterator[Reading]:
    """What the probe says of itself: sizes of the devices' memory, the API server's clock against its own, its cost."""
    totals = lines[0].get("memory_total_bytes", {}) if lines else {}
    for uuid, total in sorted(totals.items()):
        if total is not None:
            labels = {"node": node, "uuid": uuid}
            yield _said("gpu_memory_total_bytes", Unit.BYTES, [total], "nvmlDeviceGetMemoryInfo(v2).total", labels)
    clocks = [line["clock"] for line in lines if "clock" in line]
    if clocks:
        middle, bound = clocks[-1]
        labels = {"node": node, "of": "api-server", "against": node}
        statement = "dates of the API server's answers to a pod"
        yield _said("clock_offset_seconds", Unit.SECONDS, [middle], statement, labels)
        yield _said("clock_bound_seconds", Unit.SECONDS, [bound], statement, labels)
    used = [(line["device"][-1][0], line["cpu_seconds"]) for line in lines if "cpu_seconds" in line and line["device"]]
    if totals and len(used) > 1:
        cores = (used[-1][1] - used[0][1]) / (used[-1][0] - used[0][0])
        name, statement = "probe_core_per_device_ratio", "the probe's own CPU time"
        yield _said(name, Unit.RATIO, [cores / len(totals)], statement, {"node": node})


def _said(name: str, unit: Unit, values: Sequence[float], statement: str, labels: Mapping[str, str]) -> Measurement:
    return Measurement(name=name, unit=unit, values=values, source=Source.NVML, statement=statement, labels=labels)
