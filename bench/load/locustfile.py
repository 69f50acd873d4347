"""
locust in front, the engine below: Users whose requests are sent, stamped and counted by the engine.

`StreamingUser` declares its requests and never wakes for one; `EngineUser` has tasks of its own and a `client`;
`ScheduledUser` with `ScheduleShape` is an open loop. locust's events, CSV, web UI, ``--headless`` and master/worker
work as they do for any User; the histograms of all workers come together at the master, and not in locust's buckets.

Besides the pods' program only this module imports locust, whose import patches every socket of its process; nothing
of ours imports either.
"""

import json
import logging
import math
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import gevent
import gevent.event
import gevent.lock
import gevent.socket
from locust import LoadTestShape, User, constant, events, task
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

from bench.errors import WrongUsage
from bench.load.arrivals import Arrivals, Process, Shape, trace_shape
from bench.load.clients import Client
from bench.load.endpoints import Endpoint, Protocol, TlsOptions, inside_cluster, require_consent
from bench.load.files import require_writable
from bench.load.lines import Line
from bench.load.orders import Limits, LoadOrder, LoopKind, Objectives, shares
from bench.load.requests import Lengths, RequestSource
from bench.load.results import Circumstances, Exit, LoadResult
from bench.load.tallies import Tally, merged

_LOG = logging.getLogger(__name__)
#: Longest that an engine runs without being stopped by locust.
_DAY_SECONDS = 86_400.0
_ANY_TIME = Shape.constant(0.0, _DAY_SECONDS)
_QUEUE = 1_000_000
_REPORT_KEY = "bench_load"


class _Declared(User):
    """What a class of users says of its requests; the host option is the URL."""

    abstract = True
    protocol: ClassVar[str] = Protocol.OPENAI_CHAT.value
    model: ClassVar[str] = "default"
    prompt_tokens: ClassVar[str] = "32"
    output_tokens: ClassVar[str] = "64"
    shared_prefix_tokens: ClassVar[int] = 0
    requests_file: ClassVar[str | None] = None
    headers: ClassVar[Mapping[str, str]] = {}
    extra_body: ClassVar[Mapping[str, Any]] = {}
    think_seconds: ClassVar[tuple[float, float]] = (0.0, 0.0)
    timeout_seconds: ClassVar[float] = 120.0
    drain_seconds: ClassVar[float] = 5.0
    connections_max: ClassVar[int] = 10_000
    http2: ClassVar[bool] = False
    ca_file: ClassVar[str | None] = None
    insecure: ClassVar[bool] = False
    slo: ClassVar[str] = ""
    seed: ClassVar[int] = 1

    @classmethod
    def order(cls, host: str, *, loop: LoopKind, shape: Shape, arrivals: Arrivals) -> LoadOrder:
        """The class as an order of the engine."""
        protocol = Protocol(cls.protocol)
        source = RequestSource(
            model=cls.model,
            prompt_tokens=Lengths.parse(cls.prompt_tokens),
            output_tokens=Lengths.parse(cls.output_tokens),
            shared_prefix_tokens=cls.shared_prefix_tokens,
            file=Path(cls.requests_file) if cls.requests_file else None,
            extra_body=cls.extra_body,
            headers=tuple(cls.headers.items()),
        )
        return LoadOrder(
            endpoint=Endpoint.parse(host, protocol),
            protocol=protocol,
            loop=loop,
            shape=shape,
            arrivals=arrivals,
            source=source,
            think_seconds=cls.think_seconds,
            tls=TlsOptions(ca_file=Path(cls.ca_file) if cls.ca_file else None, insecure=cls.insecure),
            http2=cls.http2,
            limits=Limits(
                requests_max=2**53,
                timeout_seconds=cls.timeout_seconds,
                drain_seconds=cls.drain_seconds,
                connections_max=cls.connections_max,
            ),
            objectives=Objectives.parse(cls.slo) if cls.slo else Objectives(),
            seed=cls.seed,
        )


_LINES: dict[type[_Declared], Line] = {}
_OPENING = gevent.lock.RLock()
#: At a worker: which of how many it is. At a master: the last tally of each worker.
_SHARE: dict[str, int] = {"index": 0, "workers": 1, "start_ns": 0}
_REPORTED: dict[str, dict[str, Any]] = {}
_BEGAN: dict[str, Any] = {}


def _line_of(user: _Declared, loop: str) -> Line:
    kind = type(user)
    # Opening waits for names to be looked up; one user opens, the others of its class find the line.
    with _OPENING:
        if kind not in _LINES:
            _LINES[kind] = _open_line(user, loop)
        return _LINES[kind]


def _open_line(user: _Declared, loop: str) -> Line:
    host = user.host or user.environment.host
    if not host:
        raise WrongUsage(f"{type(user).__name__} has no host; give --host URL")
    options = user.environment.parsed_options
    shape, arrivals = _ANY_TIME, Arrivals()
    if loop == "open":
        shape, arrivals = schedule_of(options)
    kind = LoopKind.OPEN if loop == "open" else LoopKind.CLOSED
    order = type(user).order(host, loop=kind, shape=shape, arrivals=arrivals)
    _require_consent(user.environment, order.endpoint)
    parts = shares(order, workers=_SHARE["workers"], start_ns=_SHARE["start_ns"])
    share = parts[_SHARE["index"] % len(parts)]
    # Users come and go by locust's word, not by a plan.
    share.config.update(queue_capacity=_QUEUE, users=[])
    if loop == "submitted":
        share.config["loop"] = loop
        share.config["templates"] = []
        share.config["capture_text"] = True
    return Line(user.environment, order, share)


def _require_consent(environment: Any, endpoint: Endpoint) -> None:
    """As `bench load` does. A host that was not consented to ends the user, and the run with exit code 2."""
    try:
        require_consent(endpoint, consent=environment.parsed_options.bench_yes_really, inside=inside_cluster())
    except WrongUsage as error:
        _LOG.error("%s", str(error).replace("--yes-really", "--bench-yes-really"))
        environment.process_exit_code = Exit.WRONG_USAGE
        raise StopUser from error


class StreamingUser(_Declared):
    """A user in a closed loop: asks, waits for its answer, thinks, asks again; all of it in the engine."""

    abstract = True
    # A parked user waits, so that locust may take it away at once.
    wait_time = constant(_DAY_SECONDS)

    def on_start(self) -> None:
        _line_of(self, "closed").change_users(+1)

    def on_stop(self) -> None:
        if line := _LINES.get(type(self)):
            line.change_users(-1)

    @task
    def _park(self) -> None:
        """Nothing: the engine asks."""


class ScheduledUser(_Declared):
    """An open loop: requests leave by ``--bench-rate`` and ``--bench-arrivals``, whatever the server does."""

    abstract = True
    wait_time = constant(_DAY_SECONDS)

    def on_start(self) -> None:
        _line_of(self, "open")

    @task
    def _park(self) -> None:
        """Nothing: the schedule asks."""


class EngineUser(_Declared):
    """A user with tasks of its own, whose `client` sends by the engine: one switch a request, none a token."""

    abstract = True

    @property
    def client(self) -> Client:
        return Client(_line_of(self, "submitted"))


def schedule_of(options: Any) -> tuple[Shape, Arrivals]:
    """The open loop that the command line asks for."""
    arrivals, rate, duration = Arrivals.parse(options.bench_arrivals), options.bench_rate, options.bench_duration
    if not 0 < rate < math.inf or (duration is not None and not 0 < duration <= _DAY_SECONDS):
        raise WrongUsage("--bench-rate and --bench-duration must be above 0, and the duration at most a day")
    if arrivals.process is Process.TRACE:
        return trace_shape(arrivals, duration), arrivals
    if options.bench_steps:
        return Shape.parse(options.bench_steps), arrivals
    return Shape.constant(rate, duration or 30.0), arrivals


class ScheduleShape(LoadTestShape):
    """One parked user a worker for as long as the schedule lasts; put it beside a `ScheduledUser`."""

    abstract = True

    def tick(self) -> tuple[int, float] | None:
        runner = self.runner
        if runner is None:
            return None
        shape, _ = schedule_of(runner.environment.parsed_options)
        elapsed: float = time.perf_counter() - self.start_time
        if elapsed > shape.duration_seconds + 1.0:
            return None
        workers = runner.worker_count if isinstance(runner, MasterRunner) else 1
        return max(1, workers), 100.0


def _add_options(parser: Any) -> None:
    group = parser.add_argument_group("bench")
    group.add_argument("--bench-rate", type=float, default=10.0, help="open loop: requests a second")
    group.add_argument("--bench-duration", type=float, help="open loop: seconds (default 30, or the trace's)")
    group.add_argument("--bench-arrivals", default="poisson", help="constant, poisson, gamma:CV, trace:FILE")
    group.add_argument("--bench-steps", default="", help="rates over time, as in bench load --steps")
    group.add_argument("--bench-yes-really", default="", help="consent to load a host that is not this machine")
    group.add_argument("--bench-json", default="", help="file for the exact result, one JSON object")


def _require_sound(environment: Any) -> None:
    """What would fail in every user is told once, before there is one."""
    options = environment.parsed_options
    if options is None:  # locust as a library
        return
    if options.bench_json:
        require_writable(Path(options.bench_json), named_by="--bench-json")
    for kind in environment.user_classes:
        if not issubclass(kind, _Declared):
            continue
        host = kind.host or environment.host
        if not host and options.headless:
            raise WrongUsage(f"{kind.__name__} has no host; give --host URL")
        declared: type[_Declared] = kind
        shape, arrivals = schedule_of(options) if issubclass(kind, ScheduledUser) else (_ANY_TIME, Arrivals())
        declared.order(host or "http://127.0.0.1", loop=LoopKind.OPEN, shape=shape, arrivals=arrivals)


def _on_share(environment: Any, msg: Any, **_: Any) -> None:  # noqa: ARG001 -- locust's signature
    _SHARE.update(msg.data)


def _on_init(environment: Any, **_: Any) -> None:
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        runner.register_message("bench_share", _on_share)
        return
    try:
        _require_sound(environment)
    except WrongUsage as error:
        _LOG.error("%s", error)
        raise SystemExit(int(Exit.WRONG_USAGE)) from None
    # What is known to be refused is refused before anything is opened; a host of the web page's form comes later.
    for kind in environment.user_classes:
        if issubclass(kind, _Declared) and (host := kind.host or environment.host):
            try:
                _require_consent(environment, Endpoint.parse(host, Protocol(kind.protocol)))
            except StopUser:
                raise SystemExit(int(Exit.WRONG_USAGE)) from None


def _on_test_start(environment: Any, **_: Any) -> None:
    _LINES.clear()
    _REPORTED.clear()
    _BEGAN.update(at=datetime.now(UTC).isoformat(), monotonic=time.monotonic())
    runner = environment.runner
    if isinstance(runner, MasterRunner):
        ready = [client.id for client in runner.clients.ready]
        for index, client_id in enumerate(ready):
            runner.send_message("bench_share", {"index": index, "workers": len(ready), "start_ns": 0}, client_id)


def _on_test_stop(environment: Any, **_: Any) -> None:
    for line in _LINES.values():
        line.finish()
    if not isinstance(environment.runner, MasterRunner):
        _write(environment, [line.tally() for line in _LINES.values()])


def _on_report(client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG001 -- locust's signature
    tallies = [line.tally() for line in _LINES.values()]
    if tallies:
        data[_REPORT_KEY] = json.dumps(merged(tallies).to_json())


def _on_worker_report(client_id: str, data: dict[str, Any]) -> None:
    if _REPORT_KEY in data:
        _REPORTED[client_id] = json.loads(data[_REPORT_KEY])


def _on_quitting(environment: Any, **_: Any) -> None:
    if isinstance(environment.runner, MasterRunner):
        _write(environment, list(_REPORTED.values()))


def merged_tally() -> Tally:
    """All workers' counts so far, at the master; of this process elsewhere. For listeners and the web UI."""
    return merged(_tallies())


def _tallies() -> Iterator[dict[str, Any]]:
    yield from _REPORTED.values()
    for line in _LINES.values():
        yield line.tally()


def _write(environment: Any, told: list[dict[str, Any]]) -> None:
    file = environment.parsed_options.bench_json if environment.parsed_options else ""
    if not file or not told:
        return
    order = _any_order(environment)
    if order is None:
        _LOG.warning("%s was not written: the users say no host", file)
        return
    around = Circumstances(
        engine="native",
        workers=len(told),
        planned=shares(order, workers=1, start_ns=0)[0].planned if order.loop is LoopKind.OPEN else None,
        started_at=_BEGAN.get("at", ""),
        wall_seconds=time.monotonic() - _BEGAN.get("monotonic", time.monotonic()),
        kernel_stamps=True,
        cpu_seconds=sum(one.get("thread_cpu_seconds", 0.0) for one in told),
    )
    result = LoadResult(order=order, tally=merged(told), circumstances=around)
    Path(file).write_text(json.dumps(result.to_json()) + "\n")


def _any_order(environment: Any) -> LoadOrder | None:
    for line in _LINES.values():
        return line.order
    shape, arrivals = schedule_of(environment.parsed_options)
    for kind in environment.user_classes:
        host = kind.host or environment.host
        if issubclass(kind, _Declared) and host:
            loop = LoopKind.OPEN if issubclass(kind, ScheduledUser) else LoopKind.CLOSED
            declared: type[_Declared] = kind
            return declared.order(host, loop=loop, shape=shape, arrivals=arrivals)
    return None


def _listen(hooks: Any) -> None:
    hooks.init_command_line_parser.add_listener(_add_options)
    hooks.init.add_listener(_on_init)
    hooks.test_start.add_listener(_on_test_start)
    hooks.test_stop.add_listener(_on_test_stop)
    hooks.report_to_master.add_listener(_on_report)
    hooks.worker_report.add_listener(_on_worker_report)
    hooks.quitting.add_listener(_on_quitting)


_listen(events)
