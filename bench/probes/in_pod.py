"""
The program of a probe pod: what NVML says of every device of this node, and what the node's exporter shows, told as
JSON lines on standard output.

NVML is read ten times a second and the exporter's text five times, each with the time of the reading on this node's
clock; what was read in one second is one line. How far the API server's clock is ahead of the node's is told beside it
with its bounds, and how much CPU time the program itself has used. It needs nothing but the standard library and
pynvml, so that a pod that runs it costs less than one hundredth of a core a device.
"""

import argparse
import contextlib
import http.client
import json
import os
import re
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pynvml

from bench.probes.second_hand import SecondHand

NVML_HERTZ: Final = 10.0
EXPORTER_HERTZ: Final = 8.0
"""A change is known to half a period, 0.06 s: with what an answer takes it stays within a tenth of a second."""
REPORT_SECONDS: Final = 1.0

Sample = list[Any]
"""UTC seconds, then one value a column."""

COLUMNS: Final = (
    "utc_seconds",
    "uuid",
    "busy_percent",
    "memory_used_bytes",
    "power_milliwatts",
    "energy_millijoules",
    "temperature_celsius",
    "sm_clock_megahertz",
)
CLOCK_QUESTIONS: Final = 16
"""About a second apart; ten of them reach the length of a round trip."""
CLOCK_REST_SECONDS: Final = 30.0
"""Between two questions after that: what a clock drifts in it is less than a round trip."""
API_CERTIFICATE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
_LINE: Final = re.compile(r'^(?P<name>\w+)\{[^}]*?UUID="(?P<uuid>[^"]+)"[^}]*\} (?P<value>\S+)$', re.MULTILINE)


class Teller:
    """Gathers samples of several threads, and writes them once a second."""

    def __init__(self, write: Callable[[str], object], second_hand: SecondHand | None = None) -> None:
        self._write = write
        self._second_hand = second_hand or SecondHand()
        self._lock = threading.Lock()
        self._device: list[Sample] = []
        self._exporter: list[Sample] = []

    def device(self, sample: Sample) -> None:
        """One reading of one device, in the order of COLUMNS."""
        with self._lock:
            self._device.append(sample)

    def exporter(self, sample: Sample) -> None:
        """UTC seconds before the request, after it, and ``{name: {uuid: value}}`` or the text of an error."""
        with self._lock:
            self._exporter.append(sample)

    def flush(self) -> None:
        """Write what came since the last time."""
        with self._lock:
            device, self._device = self._device, []
            exporter, self._exporter = self._exporter, []
        if not device and not exporter:
            return
        told: dict[str, Any] = {"device": device, "exporter": exporter, "cpu_seconds": time.process_time()}
        if self._second_hand.is_known:
            told["clock"] = [self._second_hand.middle_seconds, self._second_hand.bound_seconds]
        self._write(json.dumps(told, separators=(",", ":")) + "\n")


class Ticks:
    """Calls at a rate that does not drift, until stopped; after a call that took too long some are left out."""

    def __init__(self, stop: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        self._stop = stop
        self._clock = clock

    def run(self, hertz: float, call: Callable[[], None]) -> None:
        """Returns when stopped."""
        due = self._clock()
        while not self._stop.wait(max(0.0, due - self._clock())):
            call()
            due = max(due + 1.0 / hertz, self._clock())


class Devices:
    """The devices that NVML shows here."""

    def __init__(self) -> None:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        self._handles = {pynvml.nvmlDeviceGetUUID(handle): handle for handle in handles}

    def describe(self) -> dict[str, Any]:
        """Told once, first."""
        return {
            "columns": COLUMNS,
            "driver_version": pynvml.nvmlSystemGetDriverVersion(),
            "devices": {uuid: pynvml.nvmlDeviceGetName(handle) for uuid, handle in self._handles.items()},
            "memory_total_bytes": {uuid: _ask(_memory_total, handle) for uuid, handle in self._handles.items()},
            "utc_seconds": time.time(),
            "monotonic_seconds": time.monotonic(),
        }

    def read(self, teller: Teller) -> None:
        """One sample a device; a value that a device does not have is null."""
        for uuid, handle in self._handles.items():
            at = time.time()
            teller.device(
                [
                    at,
                    uuid,
                    _ask(_busy, handle),
                    _ask(_memory_used, handle),
                    _ask(pynvml.nvmlDeviceGetPowerUsage, handle),
                    _ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle),
                    _ask(_temperature, handle),
                    _ask(_sm_clock, handle),
                ]
            )


def _busy(handle: Any) -> int:
    return int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)


def _memory_used(handle: Any) -> int:
    return int(pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2).used)


def _memory_total(handle: Any) -> int:
    return int(pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2).total)


def _temperature(handle: Any) -> int:
    return int(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))


def _sm_clock(handle: Any) -> int:
    return int(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM))


def _ask(call: Callable[[Any], int], handle: Any) -> int | None:
    try:
        return call(handle)
    except pynvml.NVMLError:
        return None


class Exporter:
    """The exporter of this node, over one connection that is kept."""

    def __init__(self, url: str, names: Sequence[str]) -> None:
        self._url = urlsplit(url)
        self._names = frozenset(names)
        self._connection: http.client.HTTPConnection | None = None

    def read(self, teller: Teller) -> None:
        """One sample; an exporter that does not answer is told, not left out."""
        before = time.time()
        try:
            text = self._fetch()
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            teller.exporter([before, time.time(), f"{type(error).__name__}: {error}"])
        else:
            teller.exporter([before, time.time(), parse(text, self._names)])

    def _fetch(self) -> str:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._url.hostname or "", self._url.port, timeout=2.0)
        self._connection.request("GET", self._url.path or "/metrics")
        answer = self._connection.getresponse()
        body = answer.read().decode(errors="replace")
        if answer.status != http.client.OK:
            raise http.client.HTTPException(f"HTTP {answer.status}")
        return body

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class ApiClock:
    """The API server's clock, asked without credentials: the date of its answer is all that is read."""

    def __init__(self, second_hand: SecondHand, environment: Mapping[str, str]) -> None:
        self._second_hand = second_hand
        self._host = environment.get("KUBERNETES_SERVICE_HOST", "")
        self._port = int(environment.get("KUBERNETES_SERVICE_PORT", "443"))

    def follow(self, stop: threading.Event) -> None:
        """Until stopped; where there is no API server to reach, the clock stays unknown."""
        if not self._host or not API_CERTIFICATE.exists():
            return
        wait, asked = 0.0, 0
        while not stop.wait(wait):
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._ask()
            asked += 1
            now = time.time()
            rest = 0.5 if asked < CLOCK_QUESTIONS else CLOCK_REST_SECONDS
            wait = max(0.0, self._second_hand.next_question_seconds(now, rest) - now)

    def _ask(self) -> None:
        """A connection for each question: one that is kept for long is closed by the other side."""
        context = ssl.create_default_context(cafile=str(API_CERTIFICATE))
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=2.0, context=context)
        try:
            connection.connect()
            before = time.time()
            connection.request("GET", "/livez")
            answer = connection.getresponse()
            self._second_hand.hear(before, time.time(), answer.headers.get("Date", ""))
        finally:
            connection.close()


def parse(text: str, names: frozenset[str]) -> dict[str, dict[str, float]]:
    """Of an exporter's text the metrics of these names, by name and UUID."""
    found: dict[str, dict[str, float]] = {}
    for line in _LINE.finditer(text):
        if line["name"] in names:
            found.setdefault(line["name"], {})[line["uuid"]] = float(line["value"])
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Until SIGTERM, or until the time is over: a probe that was forgotten ends by itself."""
    arguments = _parser().parse_args(argv)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        devices = Devices()
    except pynvml.NVMLError as error:
        print(json.dumps({"error": f"NVML: {error}"}), flush=True)  # noqa: T201 (the program's output)
        return 3
    print(json.dumps(devices.describe()), flush=True)  # noqa: T201
    second_hand = SecondHand()
    teller = Teller(_write_out, second_hand)
    limit = threading.Timer(arguments.seconds, stop.set)
    limit.daemon = True
    limit.start()
    work: list[tuple[float, Callable[[], None]]] = [(NVML_HERTZ, lambda: devices.read(teller))]
    if arguments.exporter:
        exporter = Exporter(arguments.exporter, arguments.metric)
        work.append((EXPORTER_HERTZ, lambda: exporter.read(teller)))
    threads = [threading.Thread(target=Ticks(stop).run, args=each, daemon=True) for each in work]
    threads.append(threading.Thread(target=ApiClock(second_hand, os.environ).follow, args=(stop,), daemon=True))
    for thread in threads:
        thread.start()
    Ticks(stop).run(1.0 / REPORT_SECONDS, teller.flush)
    for thread in threads:
        thread.join()
    teller.flush()
    return 0


def _write_out(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody reads any more
        sys.stdout.write(text)
        sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.probes.in_pod", description=__doc__)
    parser.add_argument("--exporter", default="", metavar="URL", help="the /metrics of this node's exporter")
    parser.add_argument("--metric", action="append", default=[], help="a metric of the exporter; may be repeated")
    parser.add_argument("--seconds", type=float, default=3600.0, help="end by itself after this time")
    return parser


if __name__ == "__main__":
    sys.exit(main())
