"""Runs an order: in this process, or in several that each take a share and hand their counts back."""

import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.errors import BenchBroke
from bench.load import engines
from bench.load.engines import Engine, EngineKind, Glance
from bench.load.orders import LoadOrder, LoopKind, Share, shares
from bench.load.results import Circumstances, LoadResult
from bench.load.tallies import merged

Watcher = Callable[[Glance], None]

#: From the word to begin to the first second of the schedule: time enough for every worker to hear it.
_LEAD_SECONDS = 0.1


@dataclass(slots=True)
class Stop:
    """Set by a signal handler or a caller; looked at a few times a second."""

    asked: bool = False
    _told: list[Callable[[], None]] = field(default_factory=list)

    def ask(self) -> None:
        self.asked = True
        for tell in self._told:
            tell()

    def on_ask(self, tell: Callable[[], None]) -> None:
        self._told.append(tell)


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """By what an order is run; it changes nothing of what is sent."""

    processes: int = 1
    kind: EngineKind | None = None
    records_file: Path | None = None


def run(
    order: LoadOrder, means: Means | None = None, *, watcher: Watcher = lambda _: None, stop: Stop | None = None
) -> LoadResult:
    """Sends the whole order and gives what came of it. Ends by the order's own bounds, or when asked to stop."""
    stop, means = stop or Stop(), means or Means()
    started_at, began = datetime.now(UTC), time.monotonic()
    told, planned = (_run_here if means.processes == 1 else _run_processes)(order, means, watcher, stop)
    around = Circumstances(
        engine=told[0]["engine"],
        workers=means.processes,
        planned=planned if order.loop is LoopKind.OPEN else None,
        started_at=started_at.isoformat(),
        wall_seconds=time.monotonic() - began,
        interrupted=stop.asked,
        origin_unix_seconds=min(one["origin_ns"] for one in told) / 1e9 + time.time() - time.monotonic(),
        kernel_stamps=all(one["kernel_stamps"] for one in told),
        stamp_bound_seconds=max(one["stamp_bound_ns"] for one in told) / 1e9,
        cpu_seconds=sum(one["thread_cpu_seconds"] for one in told),
        busiest_second_ratio=max(one["busiest_second_ratio"] for one in told),
        peak_memory_bytes=sum(one["peak_memory_bytes"] for one in told),
    )
    return LoadResult(order=order, tally=merged(told), circumstances=around)


def _run_here(order: LoadOrder, means: Means, watcher: Watcher, stop: Stop) -> tuple[list[dict[str, Any]], int]:
    share = shares(order, workers=1, start_ns=0, records_file=means.records_file)[0]
    engine = engines.start(share, means.kind)
    stop.on_ask(engine.stop)
    if stop.asked:
        engine.stop()
    _follow(engine, watcher)
    return [_told(engine)], share.planned


def _follow(engine: Engine, watcher: Watcher) -> None:
    """Looks at the run until it is over; a second look at the stop flag is not needed, the engine was told by it."""
    interval = 0.25
    while not engine.wait(interval):
        watcher(engine.glance())
    watcher(engine.glance())


def _told(engine: Engine) -> dict[str, Any]:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return engine.tally() | {"engine": engine.kind.value, "peak_memory_bytes": memory}


def _run_processes(order: LoadOrder, means: Means, watcher: Watcher, stop: Stop) -> tuple[list[dict[str, Any]], int]:
    processes, records_file = means.processes, means.records_file
    parts = shares(order, workers=processes, start_ns=0, records_file=records_file)
    started = [_spawn(part, means.kind) for part in parts]

    def tell_all() -> None:
        for worker in started:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)

    stop.on_ask(tell_all)
    try:
        _begintogether(started)
        told = _gather(started, watcher)
    finally:
        for worker in started:
            _end(worker)
    if records_file is not None:
        _join(records_file, processes)
    return told, sum(part.planned for part in parts)


def _spawn(part: Share, kind: EngineKind | None) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C is the parent's to hear, which then asks every worker to drain.
    worker = subprocess.Popen(
        [sys.executable, "-m", "bench.load.workers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    _say(worker, pickle.dumps((part, kind)))
    return worker


def _end(worker: subprocess.Popen[bytes]) -> None:
    """One that has told its tally ends by itself; any other is of no more use."""
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            pipe.close()
    try:
        worker.wait(timeout=5)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def _say(worker: subprocess.Popen[bytes], message: bytes) -> None:
    if worker.stdin is None:
        raise BenchBroke("a worker without standard input")
    worker.stdin.write(message)
    worker.stdin.flush()


def _hear(worker: subprocess.Popen[bytes]) -> dict[str, Any]:
    line = worker.stdout.readline() if worker.stdout else b""
    if not line:
        raise BenchBroke(f"a worker ended without a result, exit code {worker.wait()}; its words stand above")
    message: dict[str, Any] = json.loads(line)
    return message


def _begintogether(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """All have read their shares before any is told when to start."""
    for worker in started:
        _hear(worker)
    begins = time.monotonic_ns() + round(_LEAD_SECONDS * 1e9)
    for worker in started:
        _say(worker, b"%d\n" % begins)


def _gather(started: Sequence[subprocess.Popen[bytes]], watcher: Watcher) -> list[dict[str, Any]]:
    """Reads each worker's lines in turn: glances, the tally last. All write at one pace, so none blocks for long."""
    told: dict[int, dict[str, Any]] = {}
    glances = [Glance()] * len(started)
    while len(told) < len(started):
        for at, worker in enumerate(started):
            if at in told:
                continue
            message = _hear(worker)
            if "glance" in message:
                glances[at] = Glance(**message["glance"])
            else:
                told[at] = message["tally"]
        watcher(together(glances))
    return [told[at] for at in range(len(started))]


def together(glances: Sequence[Glance]) -> Glance:
    """Several workers' as one. Counts add up; of times the worst worker's is shown, since quantiles do not add."""
    return Glance(
        elapsed_seconds=max(glance.elapsed_seconds for glance in glances),
        started=sum(glance.started for glance in glances),
        finished=sum(glance.finished for glance in glances),
        failed=sum(glance.failed for glance in glances),
        in_flight=sum(glance.in_flight for glance in glances),
        output_tokens=sum(glance.output_tokens for glance in glances),
        ttft_p50_seconds=max(glance.ttft_p50_seconds for glance in glances),
        ttft_p99_seconds=max(glance.ttft_p99_seconds for glance in glances),
        lateness_p99_seconds=max(glance.lateness_p99_seconds for glance in glances),
        records_dropped=sum(glance.records_dropped for glance in glances),
    )


def _join(records_file: Path, processes: int) -> None:
    with records_file.open("wb") as out:
        for worker in range(processes):
            part = records_file.with_name(f"{records_file.name}.{worker}")
            out.write(part.read_bytes())
            part.unlink()


def be_worker() -> None:
    """A worker process: a share on standard input, lines of JSON on standard output."""
    share, kind = pickle.load(sys.stdin.buffer)  # noqa: S301 -- our own parent wrote it

    def tell(message: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    tell({"ready": True})
    share.config["start_ns"] = int(sys.stdin.buffer.readline())
    engine = engines.start(share, kind)
    signal.signal(signal.SIGTERM, lambda *_: engine.stop())

    def glance_fields(glance: Glance) -> dict[str, Any]:
        return {name: getattr(glance, name) for name in Glance.__slots__}

    _follow(engine, lambda glance: tell({"glance": glance_fields(glance)}))
    tell({"tally": _told(engine)})


if __name__ == "__main__":
    be_worker()
