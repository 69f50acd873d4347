"""
Load from pods: ``python -m bench.load.pod master`` and any number of ``python -m bench.load.pod worker``.

The master is told over HTTP what to send, shares it out over locust's master and worker protocol, starts all workers at
one time of its own clock, and keeps what they counted until it is fetched. A process of its own: it imports locust,
whose import patches every socket. Who does not know the token of the environment is not heard.
"""

import base64
import contextlib
import hmac
import json
import os
import resource
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final

import gevent
import gevent.event
from locust import User, constant, task
from locust.env import Environment

from bench.errors import BenchError
from bench.load import engines
from bench.load.arguments import parse_order
from bench.load.clocks import ClockOffset, measure, over_run
from bench.load.engines import Glance
from bench.load.orders import LoadOrder, LoopKind, shares
from bench.load.results import Circumstances, LoadResult
from bench.load.tallies import merged
from bench.load.workers import together

HTTP_PORT: Final = 8089
LOCUST_PORT: Final = 5557
TOKEN: Final = "BENCH_LOAD_TOKEN"  # noqa: S105 -- the name of a variable
FOLDER: Final = "{folder}"
"""Stands in arguments for the folder that holds the files of an order."""

LEAD_SECONDS: Final = 1.5
"""From the shares to the first second of the schedule: time for the slowest worker to make its requests."""
CONNECT_SECONDS: Final = 60.0
ECHO_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.25
UNHEARD_SECONDS: Final = 120.0
"""A run whose owner does not ask any more is ended; one that is not running ends its pods after fifteen times this."""
RECORDS_PIECE_BYTES: Final = 1 << 20


@dataclass(slots=True, kw_only=True)
class Told:
    """What one worker told of its part."""

    counts: dict[str, Any] | None = None
    glance: Glance = field(default_factory=Glance)
    records: list[bytes] = field(default_factory=list)
    error: str = ""

    @property
    def is_over(self) -> bool:
        return self.counts is not None or bool(self.error)


class Sender(User):
    """A worker's one user: while it is there, the engine sends the worker's share."""

    wait_time = constant(86_400.0)
    part: ClassVar["Part"]

    def on_start(self) -> None:
        """The worker's part begins."""
        self.part.begin()

    @task
    def _park(self) -> None:
        """Nothing: the engine asks."""


class Part:
    """At a worker: its share, the engine that sends it, and the words to the master."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._share: Mapping[str, Any] = {}
        self._engine: engines.Engine | None = None
        runner.register_message("bench_clock", self._on_clock)
        runner.register_message("bench_share", self._on_share)
        runner.register_message("bench_halt", self._on_halt)

    def _on_clock(self, environment: Any, msg: Any, **_: Any) -> None:  # noqa: ARG002 -- locust's signature
        heard = time.monotonic_ns()
        self._runner.send_message("bench_clock", {**msg.data, "heard": heard, "told": time.monotonic_ns()})

    def _on_share(self, environment: Any, msg: Any, **_: Any) -> None:  # noqa: ARG002
        self._share, self._engine = msg.data, None

    def _on_halt(self, environment: Any, msg: Any, **_: Any) -> None:  # noqa: ARG002
        if self._engine is not None:
            self._engine.stop()

    def begin(self) -> None:
        """Makes the share and sends it; what came of it is told by a greenlet."""
        gevent.spawn(self._send)

    def _send(self) -> None:
        with tempfile.TemporaryDirectory(prefix="bench-load-") as folder:
            try:
                self._follow(Path(folder))
            except (BenchError, OSError, ValueError) as error:
                self._runner.send_message("bench_over", {"error": f"{type(error).__name__}: {error}"})

    def _follow(self, folder: Path) -> None:
        told, records = self._share, folder / "records.jsonl"
        order = order_from(told, folder)
        parts = shares(order, workers=told["workers"], start_ns=told["start_ns"], records_file=records)
        share = parts[told["index"]]
        share.config["records_file"] = str(records)
        engine = self._engine = engines.start(share)
        while not engine.wait(0.0):
            self._runner.send_message("bench_glance", asdict(engine.glance()))
            gevent.sleep(LOOK_SECONDS)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        counts = engine.tally() | {"engine": engine.kind.value, "peak_memory_bytes": memory}
        packed = zlib.compress(records.read_bytes(), 1)
        for at in range(0, len(packed), RECORDS_PIECE_BYTES):
            self._runner.send_message("bench_records", {"piece": packed[at : at + RECORDS_PIECE_BYTES]})
        self._runner.send_message("bench_over", {"counts": json.dumps(counts)})


def order_from(told: Mapping[str, Any], folder: Path) -> LoadOrder:
    """The order as `bench load` would understand these arguments, with the files that came along."""
    for name, content in told["files"].items():
        (folder / Path(name).name).write_bytes(base64.b64decode(content))
    return parse_order([word.replace(FOLDER, str(folder)) for word in told["arguments"]])


class Gathering:
    """At a master: one run at a time, from its order to what the workers told together."""

    def __init__(self, runner: Any, workers: int) -> None:
        self._runner, self._workers = runner, workers
        self._told: dict[str, Told] = {}
        self._echo: gevent.event.AsyncResult[Any] = gevent.event.AsyncResult()
        self._halted = False
        self.state, self.error = "idle", ""
        self.result: dict[str, Any] = {}
        self.changed = gevent.event.Event()
        self.heard_at = time.monotonic()
        for name, listener in (
            ("bench_clock", self._on_clock),
            ("bench_glance", self._on_glance),
            ("bench_records", self._on_records),
            ("bench_over", self._on_over),
        ):
            runner.register_message(name, listener)

    @property
    def ready(self) -> int:
        return len(self._runner.clients.ready)

    def glance(self) -> Glance:
        return together([told.glance for told in self._told.values()]) if self._told else Glance()

    def run(self, asked: Mapping[str, Any]) -> None:
        """The whole of a run; its end is a result or an error, whatever happens."""
        self._turn("running")
        self.error, self.result, self._halted = "", {}, False
        try:
            with tempfile.TemporaryDirectory(prefix="bench-load-") as folder:
                self._run(asked, order_from(asked, Path(folder)))
        except (BenchError, OSError, ValueError, gevent.Timeout) as error:
            self.error = f"{type(error).__name__}: {error}"
        self._turn("over")

    def halt(self) -> None:
        """No request leaves after this; what is open may end."""
        self._halted = True
        self._runner.send_message("bench_halt", {})

    def _turn(self, state: str) -> None:
        self.state = state
        self.changed.set()
        self.changed.clear()

    def _run(self, asked: Mapping[str, Any], order: LoadOrder) -> None:
        with gevent.Timeout(CONNECT_SECONDS, TimeoutError(f"not {self._workers} workers in {CONNECT_SECONDS:g} s")):
            while self.ready < self._workers:
                gevent.sleep(LOOK_SECONDS)
        clients = sorted(client.id for client in self._runner.clients.ready)
        self._told = {client: Told() for client in clients}
        before = {client: self._clock_of(client) for client in clients}
        start = time.monotonic_ns() + round(LEAD_SECONDS * 1e9)
        started_at = datetime.now(UTC).isoformat()
        for index, client in enumerate(clients):
            offset = before[client]
            its_start = start + (offset.offset_ns if offset else 0)
            share = {"index": index, "workers": len(clients), "start_ns": its_start, **asked}
            self._runner.send_message("bench_share", share, client)
        self._runner.start(len(clients), spawn_rate=100.0 * len(clients))
        self._wait(order)
        clocks = tuple(over_run(before[client], self._clock_of(client)) for client in clients)
        self._runner.stop()
        self.result = self._together(order, clocks, start, started_at)

    def _wait(self, order: LoadOrder) -> None:
        """Until every worker has told its end, or is gone, or should long have."""
        limits = order.limits
        longest = order.shape.duration_seconds + limits.drain_seconds + limits.timeout_seconds
        with contextlib.suppress(gevent.Timeout), gevent.Timeout(longest + 30.0):
            while not all(told.is_over or client not in self._runner.clients for client, told in self._told.items()):
                if time.monotonic() - self.heard_at > UNHEARD_SECONDS and not self._halted:
                    self.halt()
                gevent.sleep(LOOK_SECONDS)

    def _clock_of(self, client: str) -> ClockOffset | None:
        def ask() -> Any:
            self._echo = gevent.event.AsyncResult()
            self._runner.send_message("bench_clock", {}, client)
            with contextlib.suppress(gevent.Timeout), gevent.Timeout(ECHO_SECONDS):
                return self._echo.get()
            return None

        return measure(ask, time.monotonic_ns)

    def _together(
        self, order: LoadOrder, clocks: tuple[ClockOffset | None, ...], start: int, started_at: str
    ) -> dict[str, Any]:
        errors = [told.error for told in self._told.values() if told.error]
        counts = [told.counts for told in self._told.values() if told.counts is not None]
        if errors or not counts:
            raise OSError(errors[0] if errors else "no worker told its end")
        planned = shares(order, workers=1, start_ns=0)[0].planned if order.loop is LoopKind.OPEN else None
        around = Circumstances(
            engine=counts[0]["engine"],
            workers=len(self._told),
            workers_lost=len(self._told) - len(counts),
            planned=planned,
            started_at=started_at,
            wall_seconds=(time.monotonic_ns() - start) / 1e9,
            interrupted=self._halted,
            kernel_stamps=all(one["kernel_stamps"] for one in counts),
            stamp_bound_seconds=max(one["stamp_bound_ns"] for one in counts) / 1e9,
            clocks=clocks,
            origin_unix_seconds=(start + time.time_ns() - time.monotonic_ns()) / 1e9,
            cpu_seconds=sum(one["thread_cpu_seconds"] for one in counts),
            busiest_second_ratio=max(one["busiest_second_ratio"] for one in counts),
            peak_memory_bytes=sum(one["peak_memory_bytes"] for one in counts),
        )
        records = b"".join(zlib.decompress(b"".join(told.records)) for told in self._told.values() if told.records)
        result = LoadResult(order=order, tally=merged(counts), circumstances=around)
        return {"summary": result.to_json(), "records": base64.b64encode(zlib.compress(records)).decode()}

    def _on_clock(self, environment: Any, msg: Any, **_: Any) -> None:  # noqa: ARG002 -- locust's signature
        self._echo.set(msg.data)

    def _on_glance(self, environment: Any, msg: Any, **_: Any) -> None:  # noqa: ARG002
        if told := self._told.get(msg.node_id):
            told.glance = Glance(**msg.data)

    def _on_records(self, environment: Any, msg: Any, **_: Any) -> None:  # noqa: ARG002
        if told := self._told.get(msg.node_id):
            told.records.append(msg.data["piece"])

    def _on_over(self, environment: Any, msg: Any, **_: Any) -> None:  # noqa: ARG002
        if told := self._told.get(msg.node_id):
            told.error = msg.data.get("error", "")
            told.counts = json.loads(msg.data["counts"]) if "counts" in msg.data else None


class Desk:
    """The master's HTTP side: POST of a JSON object with the token, a JSON object back."""

    def __init__(self, gathering: Gathering, token: str) -> None:
        self._gathering, self._token = gathering, token

    def answer(self, path: str, body: bytes) -> tuple[int, Mapping[str, Any]]:
        """Status and answer to one POST."""
        heard = time.time_ns()
        try:
            asked = json.loads(body or b"{}")
            is_known = hmac.compare_digest(str(asked.pop("token", "")), self._token)
        except (ValueError, AttributeError):
            return 400, {"message": "no JSON object"}
        if not is_known:
            return 403, {"message": "not the token of this master"}
        self._gathering.heard_at = time.monotonic()
        routes = {name: getattr(self, f"_{name}") for name in ("run", "state", "clock", "halt", "result")}
        route = routes.get(path.strip("/"))
        if route is None:
            return 404, {"message": "POST to run, state, clock, halt or result"}
        status, answer = route(asked)
        return status, {**answer, "heard": heard, "told": time.time_ns()}

    def _run(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        if self._gathering.state == "running":
            return 409, {"message": "a run is under way"}
        gevent.spawn(self._gathering.run, asked)
        return 200, {}

    def _state(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        if self._gathering.state != "over":
            self._gathering.changed.wait(min(20.0, float(asked.get("wait_seconds", 0.0))))
        of = self._gathering
        told = {"state": of.state, "error": of.error, "ready": of.ready, "glance": asdict(of.glance())}
        return 200, told

    def _clock(self, _: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        return 200, {}

    def _halt(self, _: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        self._gathering.halt()
        return 200, {}

    def _result(self, _: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        return 200, self._gathering.result


class _Request(BaseHTTPRequestHandler):
    """One connection to the desk, kept open between questions."""

    protocol_version = "HTTP/1.1"
    # Head and body leave in one packet: the second of two would wait 40 ms for the first to be acknowledged.
    wbufsize = -1
    disable_nagle_algorithm = True
    desk: ClassVar[Desk]

    def do_POST(self) -> None:  # noqa: N802 -- the library's name
        """Reads the question whole before it answers."""
        status, told = self.desk.answer(self.path, self.rfile.read(int(self.headers.get("content-length", 0))))
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *words: Any) -> None:  # noqa: A002 -- the library's name
        """Nothing: the bench asks every second."""


def _port(variable: str, default: int) -> int:
    return int(os.environ.get(variable, default))


def be_master() -> None:
    """Serves until nobody has asked for long."""
    environment = Environment(user_classes=[Sender])
    runner = environment.create_master_runner("*", _port("BENCH_LOAD_PORT", LOCUST_PORT))
    gathering = Gathering(runner, int(os.environ["BENCH_LOAD_WORKERS"]))
    _Request.desk = Desk(gathering, os.environ[TOKEN])
    server = ThreadingHTTPServer(("0.0.0.0", _port("BENCH_LOAD_HTTP_PORT", HTTP_PORT)), _Request)
    server.daemon_threads = True
    gevent.spawn(server.serve_forever)
    while gathering.state == "running" or time.monotonic() - gathering.heard_at < 15 * UNHEARD_SECONDS:
        gevent.sleep(1.0)
    runner.quit()


def be_worker() -> None:
    """Serves until the master ends or is silent for a minute."""
    environment = Environment(user_classes=[Sender])
    runner = environment.create_worker_runner(os.environ["BENCH_LOAD_MASTER"], _port("BENCH_LOAD_PORT", LOCUST_PORT))
    Sender.part = Part(runner)
    runner.greenlet.join()


if __name__ == "__main__":
    {"master": be_master, "worker": be_worker}[sys.argv[1]]()
