"""Each gate of the load generator as a run against the C server, told as a row: what was measured, and the bound."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.programs import (
    CLIENT_CORE,
    HERE,
    SERVER_CORE,
    Truth,
    build_paced_server,
    cpu_seconds,
    memory_bytes,
    pinned,
    say,
    self_signed,
    serve,
    wait_seconds,
)
from tests.bench.rows import Row

PACED = "/v1/chat/completions?ttft_us=200000-300000&itl_us=20000&tokens=64"
_RAMP_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A client under load, seen from outside in a window."""

    events_per_cpu_second: float
    events_per_second: float
    core_used: float
    start_cpu_seconds: float
    memory_bytes: int
    truth: Truth
    told: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where the programs are and how long a window is."""

    programs: Path
    window_seconds: float

    def url(self, port: int, path: str) -> str:
        return f"http://127.0.0.1:{port}{path}"

    def locust(self, file: str, url: str, streams: int, told: Path | None = None) -> list[str]:
        seconds = round(_RAMP_SECONDS + self.window_seconds + 2)
        command = [
            sys.executable,
            "-m",
            "locust",
            "-f",
            str(HERE / file),
            "--headless",
            "--host",
            url,
            "--only-summary",
        ]
        command += ["-u", str(streams), "-r", str(streams), "-t", f"{seconds}s", "--loglevel", "WARNING"]
        return command + (["--bench-json", str(told)] if told else [])

    def sample(self, command: Sequence[str], port_path: str, *, told: Path | None = None) -> Sample:
        """Runs a client; `URL` and `PORT` in its command are filled in."""
        with serve(self.programs) as server:
            url = self.url(server.port, port_path)
            filled = [word.replace("URL", url).replace("PORT", str(server.port)) for word in command]
            client = subprocess.Popen(
                pinned(filled, CLIENT_CORE), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            try:
                server.wait_for_first()
                start_cpu = cpu_seconds(client.pid)
                wait_seconds(_RAMP_SECONDS)
                begin, cpu = time.time_ns(), cpu_seconds(client.pid)
                wait_seconds(self.window_seconds)
                used, end = cpu_seconds(client.pid) - cpu, time.time_ns()
                memory = memory_bytes(client.pid)
                _, errors = client.communicate(timeout=90)
            finally:
                if client.poll() is None:
                    client.kill()
                    client.wait()
        if client.returncode not in (0, 1):
            sys.exit(f"{filled}: exit code {client.returncode}\n{errors}")
        events = server.truth.sent_between(begin, end)
        seconds = (end - begin) / 1e9
        return Sample(
            events_per_cpu_second=events / used,
            events_per_second=events / seconds,
            core_used=used / seconds,
            start_cpu_seconds=start_cpu,
            memory_bytes=memory,
            truth=server.truth,
            told=json.loads(told.read_text()) if told else None,
        )

    def load(
        self, path: str, words: Sequence[str], *, stall: str = "", core: int | None = CLIENT_CORE
    ) -> tuple[dict[str, Any], Truth]:
        """`bench load` by itself: its result and the server's truth."""
        told = self.programs / "told.json"
        with serve(self.programs, stall=stall) as server:
            command = [
                sys.executable,
                "-m",
                "bench.cli",
                "load",
                self.url(server.port, path),
                "--quiet",
                "--json",
                str(told),
            ]
            done = subprocess.run(
                pinned([*command, *words], core),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        if done.returncode not in (0, 1, 3):
            sys.exit(f"bench load {words}: exit code {done.returncode}\n{done.stderr}")
        return json.loads(told.read_text()), server.truth


def clients(bench: Bench, streams: int, told: Path) -> dict[str, list[str]]:
    seconds = str(_RAMP_SECONDS + bench.window_seconds + 1)
    found = {
        "C": [str(bench.programs / "client"), "PORT", PACED, str(streams), seconds],
        "engine": bench.locust("locust_engine.py", "URL", streams, told),
        "locust": bench.locust("locust_stock.py", "URL", streams),
        "aiohttp+uvloop": [sys.executable, str(HERE / "client_aiohttp.py"), "URL", str(streams), seconds],
    }
    return found if streams <= 100 else {name: found[name] for name in ("C", "engine", "locust")}


def paced(bench: Bench, streams: int, rounds: int) -> list[Row]:
    """Events per client CPU-second in interleaved rounds; the median of each client."""
    told = bench.programs / "locust.json"
    samples: dict[str, list[Sample]] = {}
    for _ in range(rounds):
        for name, command in clients(bench, streams, told).items():
            one = bench.sample(command, PACED, told=told if name == "engine" else None)
            samples.setdefault(name, []).append(one)
            seen = f"{one.events_per_cpu_second:,.0f} events per CPU-s, core {one.core_used:.2f}"
            say(f"  {streams} streams, {name}: {seen}")
    rate = {name: float(np.median([one.events_per_cpu_second for one in many])) for name, many in samples.items()}
    detail = ", ".join(f"{name} {value:,.0f}" for name, value in rate.items())
    title = f"paced events per CPU-s, {streams} streams, locust + engine"
    rows = [
        Row(
            gate=f"{title} / C client",
            value=rate["engine"] / rate["C"],
            unit="ratio",
            relation=">=",
            must=0.6,
            stretch=0.85,
            detail=detail,
        ),
        Row(
            gate=f"{title} / stock locust",
            value=rate["engine"] / rate["locust"],
            unit="ratio",
            relation=">=",
            must=3.0,
            stretch=5.0,
        ),
    ]
    engine = samples["engine"][-1]
    return rows + (_errors(engine) + _footprint(samples["engine"]) if streams >= 1000 else [])


def _errors(engine: Sample) -> list[Row]:
    assert engine.told is not None
    told, truth = engine.told, engine.truth
    ttft = told["ttft_seconds"]["from_sent"]["p99"] - float(np.quantile(truth.ttft_seconds(64), 0.99))
    itl = told["itl_seconds"]["p99"] - float(np.quantile(truth.itl_seconds(64), 0.99))
    return [
        Row(
            gate="TTFT p99 at 1000 streams, reported - truth",
            value=abs(ttft) * 1e3,
            unit="ms",
            relation="<=",
            must=1.0,
            stretch=0.1,
        ),
        Row(gate="ITL p99 at 1000 streams, reported - truth", value=abs(itl) * 1e3, unit="ms", relation="<=", must=1.0),
    ]


def _footprint(samples: Sequence[Sample]) -> list[Row]:
    start = float(np.median([one.start_cpu_seconds for one in samples]))
    memory = max(one.memory_bytes for one in samples) / 1e6
    return [
        Row(gate="start to first request, locust + engine", value=start, unit="CPU-s", relation="<=", must=2.5),
        Row(gate="memory at 1000 streams, locust + engine", value=memory, unit="MB", relation="<=", must=100.0),
    ]


def short_requests(bench: Bench) -> list[Row]:
    words = [
        "--users",
        "64",
        "--duration",
        "4",
        "--max-requests",
        "100000000",
        "--distinct",
        "1",
        "--output-tokens",
        "1",
    ]
    told, truth = bench.load("/v1/chat/completions?tokens=1", words)
    begin = min(truth.received) + 10**9
    rate = truth.received_between(begin, begin + 2 * 10**9) / 2
    cpu = told["generator"]["cpu_seconds"]
    detail = f"{told['requests']['ok'] / cpu:,.0f} per client CPU-s"
    return [
        Row(
            gate="short streamed requests on one core",
            value=rate,
            unit="1/s",
            relation=">=",
            must=20_000,
            stretch=50_000,
            detail=detail,
        )
    ]


def _deviations(told: dict[str, Any], truth: Truth, rate: float) -> np.ndarray:
    """Arrival at the server's kernel against the intended time, of a constant rate."""
    origin = told["clock"]["origin_unix_seconds"]
    number = np.asarray([int(name.rpartition("-")[2]) for name in truth.ids])
    return np.asarray(truth.received) / 1e9 - origin - number / rate


def fidelity(bench: Bench) -> list[Row]:
    path = "/v1/chat/completions?ttft_us=50000&itl_us=5000&tokens=16"
    told, truth = bench.load(path, ["--rate", "400", "--arrivals", "constant", "--duration", "8"])
    late = float(np.quantile(_deviations(told, truth, 400.0), 0.99)) * 1e3
    gaps = np.diff(np.sort(truth.received))
    poisson, drawn = bench.load(path, ["--rate", "200", "--arrivals", "poisson", "--duration", "8"])
    between = np.sort(np.diff(np.sort(drawn.received)) / 1e9)
    expected = 1 - np.exp(-between * 200.0)
    steps = np.arange(len(between) + 1) / len(between)
    distance = float(max(np.max(steps[1:] - expected), np.max(expected - steps[:-1])))
    own = told["lateness_seconds"]["p99"] * 1e3
    return [
        Row(
            gate="constant 400/s: arrival after intended, p99",
            value=late,
            unit="ms",
            relation="<=",
            must=1.0,
            detail=f"own lateness p99 {own:.3f} ms",
        ),
        Row(
            gate="constant 400/s: CV of gaps",
            value=float(np.std(gaps) / np.mean(gaps)),
            unit="ratio",
            relation="<=",
            must=0.1,
        ),
        Row(
            gate="Poisson 200/s: KS over its 1 % bound",
            value=distance / (1.628 / np.sqrt(len(between))),
            unit="ratio",
            relation="<=",
            must=1.0,
            detail=f"n {poisson['requests']['sent']}",
        ),
    ]


def stall(bench: Bench) -> list[Row]:
    path = "/v1/chat/completions?ttft_us=50000&itl_us=5000&tokens=16"
    told, truth = bench.load(path, ["--rate", "100", "--arrivals", "constant", "--duration", "10"], stall="4000,2000")
    # half a gap earlier: requests are due at the very edges of the stall, and come some microseconds off
    begin = min(truth.received) + 4 * 10**9 - 5 * 10**6
    sent = truth.received_between(begin, begin + 2 * 10**9)
    real = float(np.quantile(truth.e2e_seconds(16), 0.99))
    off = abs(told["e2e_seconds"]["from_intended"]["p99"] / real - 1)
    return [
        Row(
            gate="2 s stall at 100/s: sent of 200 due",
            value=sent,
            unit="requests",
            relation=">=",
            must=200.0,
            stretch=200.0,
        ),
        Row(
            gate="2 s stall: E2E from intended p99 against truth",
            value=off * 100,
            unit="%",
            relation="<=",
            must=2.0,
            detail=f"truth {real:.3f} s",
        ),
    ]


def merging(bench: Bench) -> list[Row]:
    path = "/v1/chat/completions?ttft_us=20000-120000&itl_us=5000&tokens=16"
    words = ["--rate", "300", "--duration", "10"]
    one, _ = bench.load(path, words)
    four, _ = bench.load(path, [*words, "--processes", "4"])
    worst, where = 0.0, ""
    for name, part in (("ttft", "from_sent"), ("e2e", "from_sent"), ("itl", "")):
        left, right = (told[f"{name}_seconds"][part] if part else told[f"{name}_seconds"] for told in (one, four))
        for key in ("p50", "p90", "p99"):
            off = abs(right[key] / left[key] - 1)
            worst, where = max((worst, where), (off, f"{name} {key}"))
    same = one["requests"]["sent"] == four["requests"]["sent"]
    return [
        Row(
            gate="4 workers merged against 1, same schedule: quantiles",
            value=worst * 100,
            unit="%",
            relation="<=",
            must=1.0,
            detail=f"worst: {where}; same requests: {same}",
        )
    ]


def growth(bench: Bench) -> list[Row]:
    """Two workers on both cores, the server on one of them too: how it grows, for information."""
    words = ["--users", "128", "--duration", "4", "--max-requests", "100000000", "--distinct", "1"]
    one, _ = bench.load("/v1/chat/completions?tokens=1", words, core=None)
    two, _ = bench.load("/v1/chat/completions?tokens=1", [*words, "--processes", "2"], core=None)
    ratio = two["requests"]["ok"] / one["requests"]["ok"]
    return [Row(gate="short requests, 2 workers / 1 worker, 2 cores shared with the server", value=ratio, unit="ratio")]


def secured(bench: Bench) -> list[Row]:
    """TLS and HTTP/2 at 100 paced streams, beside HTTP/1.1 in the clear on the same server; for information."""
    path = "/v1/chat/completions?ttft_us=250000&itl_us=20000&tokens=64"
    server = build_paced_server()
    certificate, key = self_signed(bench.programs)
    kinds: dict[str, tuple[list[str], list[str]]] = {
        "HTTP/1.1": ([], []),
        "HTTP/1.1 over TLS": ([str(certificate), str(key)], ["--insecure"]),
        "HTTP/2": ([], ["--http", "2"]),
        "HTTP/2 over TLS": ([str(certificate), str(key)], ["--http", "2", "--insecure"]),
    }
    rates: dict[str, float] = {}
    for name, (secrets, words) in kinds.items():
        told = bench.programs / "told.json"
        process = subprocess.Popen(pinned([str(server), *secrets], SERVER_CORE), stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            url = f"http{'s' if secrets else ''}://127.0.0.1:{port}{path}"
            command = [sys.executable, "-m", "bench.cli", "load", url, "--quiet", "--json", str(told), *words]
            command += ["--users", "100", "--duration", str(bench.window_seconds), "--output-tokens", "64"]
            subprocess.run(pinned(command, CLIENT_CORE), check=True, stdout=subprocess.DEVNULL)
        finally:
            process.kill()
            process.wait()
        result = json.loads(told.read_text())
        rates[name] = result["tokens"]["output"] / result["generator"]["cpu_seconds"]
        say(f"  {name}: {rates[name]:,.0f} events per CPU-s, {result['requests']['connections_opened']} connections")
    return [
        Row(
            gate=f"paced events per CPU-s, 100 streams, {name} / HTTP/1.1",
            value=rate / rates["HTTP/1.1"],
            unit="ratio",
            detail=f"{rate:,.0f}",
        )
        for name, rate in rates.items()
        if name != "HTTP/1.1"
    ]
