"""
Probes all devices of this machine: asks everything, watches for a while, judges.

Needs no cluster. A short load can be put on the devices meanwhile, by a program of its own.
"""

import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pynvml

from bench.errors import WrongUsage
from bench.model.check import CheckResult
from bench.model.measurement import Reading
from bench.model.verdict import Verdict, worst
from bench.probes import questions
from bench.probes.assertions import device_readings, identity_readings, judge_devices, signal_readings
from bench.probes.calls import DEVICE_CALLS, SYSTEM_CALLS
from bench.probes.nvml import Answer, Handle, NoDriver, ask, device_handles, session
from bench.probes.sampling import watch

# Long enough for twenty renewals of the energy counter.
WATCH_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReport:
    """All answers of one device; `lost` says why it could not be opened, where it could not."""

    index: int
    uuid: str
    answers: dict[str, Answer]
    lost: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """All that a probe found, and its verdict."""

    machine: str
    system: dict[str, Answer]
    devices: tuple[DeviceReport, ...]
    peers: tuple[Answer, ...]
    readings: tuple[Reading, ...]
    checks: tuple[CheckResult, ...]
    burn: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst check that could be asked; a device that cannot be opened is a failure."""
        if any(device.lost for device in self.devices):
            return Verdict.FAIL
        return worst(each.verdict for each in self.checks if each.verdict is not Verdict.SKIPPED)


def probe(*, burn_seconds: float = 0.0, watch_seconds: float = WATCH_SECONDS) -> ProbeReport:
    """
    Ask every device everything and watch them, under load where `burn_seconds` says so.

    Raises:
        NoDriver: no NVML answers, or it has no devices.

    """
    with session():
        handles = device_handles()
        if not handles:
            raise NoDriver("The NVIDIA driver answers and has no device. Was this container given a GPU?")
        opened = [(index, handle) for index, handle in enumerate(handles) if not isinstance(handle, Answer)]
        names = {index: str(_ask_uuid(handle).value) for index, handle in opened}
        watched = [(names[index], handle) for index, handle in opened]
        reports = tuple(_report(index, handle) for index, handle in enumerate(handles))
        with _load([uuid for uuid, _ in watched], burn_seconds) as load:
            signals = tuple(watch(watched, load.waiter(burn_seconds or watch_seconds)))
        readings = (*signals, *_derived([reports[index] for index, _ in opened], signals))
        return ProbeReport(
            machine=platform.machine(),
            system={call.statement: call.ask() for call in SYSTEM_CALLS},
            devices=reports,
            peers=tuple(questions.peers([handle for _, handle in opened])),
            readings=readings,
            checks=judge_devices(readings),
            burn=load.told,
        )


def _ask_uuid(handle: Handle) -> Answer:
    return ask("nvmlDeviceGetUUID", partial(pynvml.nvmlDeviceGetUUID, handle))


def _report(index: int, handle: Handle | Answer) -> DeviceReport:
    if isinstance(handle, Answer):
        return DeviceReport(index=index, uuid="", answers={handle.statement: handle}, lost=handle.reason)
    answers = {call.statement: call.ask(handle) for call in DEVICE_CALLS}
    for answer in _more(handle):
        answers[answer.statement] = answer
    return DeviceReport(index=index, uuid=str(answers["nvmlDeviceGetUUID"].value), answers=answers)


def _more(handle: Handle) -> Iterator[Answer]:
    yield from questions.field_values(handle)
    yield from questions.structures(handle)
    yield from questions.recent_samples(handle)
    yield from questions.links(handle)
    yield from questions.mig_devices(handle)
    yield from questions.accounting(handle)
    yield questions.events(handle)
    yield from questions.gpm(handle, _pause)


def _pause() -> None:
    """So long apart that the profiling metrics average over more than one renewal."""
    threading.Event().wait(0.2)


def _derived(reports: Sequence[DeviceReport], signals: Sequence[Reading]) -> Iterator[Reading]:
    found = [_lookups(report.answers) for report in reports]
    yield from identity_readings([(report.index, report.answers) for report in reports], found)
    for report in reports:
        yield from device_readings(report.uuid, report.answers)
        yield from signal_readings(report.uuid, signals, report.answers)


def _lookups(answers: dict[str, Answer]) -> dict[str, Answer]:
    """The index that a device has when it is looked up by its uuid and by its PCI address."""
    uuid, pci = answers["nvmlDeviceGetUUID"].value, answers["nvmlDeviceGetPciInfo"].value
    ways = {"nvmlDeviceGetHandleByUUID": uuid}
    if isinstance(pci, dict):
        ways["nvmlDeviceGetHandleByPciBusId"] = pci.get("busId")
    return {name: ask(name, partial(_index_by, name, key)) for name, key in ways.items() if key}


def _index_by(function: str, key: object) -> int:
    # pynvml takes uuids as text from some versions on, as bytes before
    index: int = pynvml.nvmlDeviceGetIndex(getattr(pynvml, function)(str(key).encode()))
    return index


# Loading CUDA and building the first kernels takes so long on a slow machine.
_START_SECONDS = 120.0


class _Load:
    """The burning programs, one a device, and a wait that ends with the last of them."""

    def __init__(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        self._processes = tuple(processes)
        self._idle = threading.Event()
        self.told: tuple[str, ...] = ()

    def waiter(self, seconds: float) -> Callable[[float], bool]:
        """Waits, and says whether it is over: after `seconds`, or once every program has ended."""
        left = [seconds + (_START_SECONDS if self._processes else 0.0)]

        def is_over(pause_seconds: float) -> bool:
            pause = max(0.0, pause_seconds)
            left[0] -= max(pause, 0.001)
            return self._wait(pause) or left[0] <= 0

        return is_over

    def _wait(self, seconds: float) -> bool:
        running = [each for each in self._processes if each.poll() is None]
        if self._processes and not running:
            return True
        if not running:
            self._idle.wait(seconds)
            return False
        try:
            running[0].wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return len(running) == 1

    def end(self) -> None:
        """Stop what still runs, and keep what the programs said."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        outputs = [process.communicate(timeout=30.0)[0] for process in self._processes]
        self.told = tuple(output.strip()[-2000:] for output in outputs)


@contextmanager
def _load(uuids: Sequence[str], seconds: float) -> Iterator[_Load]:
    """The load on every device, started and ended with the block."""
    command = [sys.executable, str(burn_program()), "--seconds", f"{seconds:g}"] if seconds else []
    processes = []
    for uuid in uuids if seconds else ():
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": uuid}
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
    load = _Load(processes)
    try:
        yield load
    finally:
        load.end()


def burn_program() -> Path:
    """
    The program that puts a load on a device; it lies beside the bench, not in it.

    Raises:
        WrongUsage: it is not installed.

    """
    program = Path(__file__).resolve().parents[2] / "workloads" / "gpu_burn.py"
    if not program.is_file():
        raise WrongUsage(f"{program} is not there; --burn needs the workloads that come with the bench.")
    return program
