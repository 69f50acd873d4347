"""
The engine in Python (asyncio, aiohttp), for an installation without a Rust toolchain.

Same order, same results, marked ``engine: python``. It stamps reads when the event loop comes to them, costs five to
ten times the CPU, speaks HTTP/1.1 only, and tells its own lateness so that a run it spoilt is seen to be spoilt.
"""

import asyncio
import contextlib
import json
import random
import ssl
import threading
import time
from pathlib import Path
from typing import Any, TextIO

import aiohttp

from bench.errors import BenchBroke, CannotRun
from bench.load.endpoints import Protocol
from bench.load.engines import EngineKind, Glance
from bench.load.orders import Share
from bench.load.streams import MalformedStream, Meaning, Splitter
from bench.load.sums import Record, Sums
from bench.load.tallies import Tally

LEAST_SECONDS = 0.5
"""A run that is shorter is its own start, and no second of work."""
_SECOND = 1_000_000_000


class PythonEngine:
    """A run on an event loop of its own, in a thread of its own."""

    kind = EngineKind.PYTHON

    def __init__(self, share: Share) -> None:
        if share.config["http2"]:
            raise CannotRun(
                "the Python engine speaks HTTP/1.1 only; build the native one: python -m bench.load.engine.build"
            )
        self._work = _Work(share)
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            asyncio.run(self._work.run())
        except (OSError, RuntimeError, ValueError, KeyError, aiohttp.ClientError) as error:
            self._failure = error
        finally:
            self._over.set()

    def wait(self, within_seconds: float) -> bool:
        over = self._over.wait(within_seconds)
        if over and self._failure is not None:
            raise BenchBroke(f"the Python engine: {self._failure}") from self._failure
        return over

    def stop(self) -> None:
        self._work.stop()

    def glance(self) -> Glance:
        return self._work.glance()

    def tally(self) -> dict[str, Any]:
        return self._work.told()


class _Work:
    """The run itself; all but `stop`, `glance` and `told` is on the event loop."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._config = share.config
        self._protocol = Protocol(share.config["protocol"])
        self._tally = Tally()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._origin = share.config["start_ns"] or time.monotonic_ns() + 20_000_000
        self._cpu_seconds = 0.0
        self._finished = 0
        self._users = 0
        self._records: TextIO | None = None

    def stop(self) -> None:
        self._stopping.set()
        if self._loop is not None and self._wake is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._wake.set)

    def glance(self) -> Glance:
        with self._lock:
            tally = self._tally
            last = next((s for s in reversed(tally.seconds) if s.series["ttft_from_intended"].count), None)
            at = {} if last is None else {n: h for n, h in last.series.items() if h.count}
            ttft, late = at.get("ttft_from_intended"), at.get("lateness")
            return Glance(
                elapsed_seconds=max(0.0, (time.monotonic_ns() - self._origin) / _SECOND),
                started=tally.sums["started"],
                finished=self._finished,
                failed=tally.failed,
                in_flight=tally.sums["started"] - self._finished,
                output_tokens=tally.sums["output_tokens_usage"] + tally.sums["output_tokens_counted"],
                ttft_p50_seconds=(ttft.quantile_seconds(0.5) or 0.0) if ttft else 0.0,
                ttft_p99_seconds=(ttft.quantile_seconds(0.99) or 0.0) if ttft else 0.0,
                lateness_p99_seconds=(late.quantile_seconds(0.99) or 0.0) if late else 0.0,
            )

    def told(self) -> dict[str, Any]:
        with self._lock:
            wall = (time.monotonic_ns() - self._origin) / _SECOND
            return self._tally.to_json() | {
                "thread_cpu_seconds": self._cpu_seconds,
                "busiest_second_ratio": min(1.0, self._cpu_seconds / wall) if wall > LEAST_SECONDS else 0.0,
                "origin_ns": self._origin,
                "now_ns": time.monotonic_ns(),
                "kernel_stamps": False,
                "stamp_bound_ns": 0,
            }

    async def run(self) -> None:
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        file = self._config["records_file"]
        with contextlib.ExitStack() as stack:
            if file:
                self._records = stack.enter_context(Path(file).open("w"))
            connector = aiohttp.TCPConnector(limit=self._config["connections_max"], ssl=self._tls() or True)
            timeout = aiohttp.ClientTimeout(
                total=self._config["timeout_ns"] / _SECOND, sock_connect=self._config["connect_timeout_ns"] / _SECOND
            )
            async with aiohttp.ClientSession(
                connector=connector, timeout=timeout, auto_decompress=False, trace_configs=[_stamps()]
            ) as session:
                await (self._open_loop(session) if self._config["loop"] == "open" else self._closed_loop(session))
                await self._drain()
        self._cpu_seconds = time.thread_time()

    def _tls(self) -> ssl.SSLContext | None:
        options = self._config["tls"]
        if not self._config["target"]["tls"]:
            return None
        context = ssl.create_default_context(cafile=options["ca_file"])
        if options["insecure"]:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if options["certificate_file"]:
            context.load_cert_chain(options["certificate_file"], options["key_file"])
        return context

    async def _pause_until(self, due: int) -> bool:
        """False: the run was stopped before."""
        wait = (due - time.monotonic_ns()) / _SECOND
        if wait > 0 and self._wake is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait)
        return not self._stopping.is_set()

    async def _open_loop(self, session: aiohttp.ClientSession) -> None:
        for offset, number in zip(self._share.offsets.tolist(), self._share.numbers.tolist(), strict=True):
            due = self._origin + offset
            if not await self._pause_until(due):
                return
            self._spawn(self._converse(session, number, due))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _closed_loop(self, session: aiohttp.ClientSession) -> None:
        present: set[int] = set()
        ends = self._origin + self._config["duration_ns"]
        for offset, users in [*self._config["users"], [self._config["duration_ns"], 0]]:
            if not await self._pause_until(min(self._origin + offset, ends)):
                break
            self._users = users
            for user in set(range(users)) - present:
                present.add(user)
                self._spawn(self._be_user(session, user, present))
        self._stopping.set()

    async def _be_user(self, session: aiohttp.ClientSession, user: int, present: set[int]) -> None:
        generator = random.Random(self._config["seed"] * 100_003 + user)  # noqa: S311 -- pauses, no secrets
        low, high = self._config["think_ns"]
        while user < self._users and not self._stopping.is_set():
            if self._tally.sums["started"] >= self._config["requests_max"]:
                self.stop()
                break
            well = await self._converse(session, self._tally.sums["started"], time.monotonic_ns())
            think = generator.uniform(low, high) if well else max(generator.uniform(low, high), 1e7)
            await self._pause_until(time.monotonic_ns() + round(think))
        present.discard(user)

    async def _drain(self) -> None:
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=self._config["drain_ns"] / _SECOND)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _converse(self, session: aiohttp.ClientSession, number: int, intended: int) -> bool:
        templates = self._config["templates"]
        template = templates[number % len(templates)]
        conversation = template.get("session")
        if conversation is None:
            return (
                await self._one(
                    session,
                    Record(number=number, template=number % len(templates), intended=intended),
                    template["body"],
                )
                is not None
            )
        messages: list[str] = []
        for turn, message in enumerate(conversation["turns"]):
            messages.append(message)
            body = conversation["before"] + ",".join(messages) + conversation["after"]
            record = Record(number=number, template=number % len(templates), turn=turn, intended=intended)
            answer = await self._one(session, record, body)
            if answer is None:
                return False
            messages.append(json.dumps({"role": "assistant", "content": answer}))
            if turn + 1 < len(conversation["turns"]) and not await self._pause_until(
                time.monotonic_ns() + conversation["think_ns"]
            ):
                return False
            intended = time.monotonic_ns()
        return True

    async def _one(self, session: aiohttp.ClientSession, record: Record, body: str) -> str | None:
        """The text of the answer; None if it failed."""
        with self._lock:
            self._tally.sums["started"] += 1
        meaning = Meaning(protocol=self._protocol, backend_member=self._config["backend_member"])
        try:
            await self._exchange(session, record, body, meaning)
        except asyncio.CancelledError:
            drain = self._config["drain_ns"] / _SECOND
            record.fail("timeout", f"still open {drain:g} s after the end of the run")
        except MalformedStream as error:
            record.fail("protocol", str(error))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            record.fail(*_told(error, record))
        record.end = record.end or time.monotonic_ns()
        self._add(record, meaning)
        return meaning.text if record.error is None else None

    async def _exchange(self, session: aiohttp.ClientSession, record: Record, body: str, meaning: Meaning) -> None:
        config, target, template = self._config, self._config["target"], self._config["templates"][record.template]
        headers = dict(template["headers"])
        headers[config["id_header"]] = _id(config["id_prefix"], record)
        url = f"{'https' if target['tls'] else 'http'}://{target['authority']}{template['path']}"
        proxy = f"http://{target['proxy']}" if target["proxy"] else None
        shown = {"Proxy-Authorization": known} if (known := target["proxy_authorization"]) else {}
        # In the clear the request itself is the proxy's to read; through a tunnel only the asking for it.
        headers |= {} if target["tls"] else shown
        async with session.request(
            template["method"],
            url,
            data=body.encode() or None,
            headers=headers,
            proxy=proxy,
            proxy_headers=shown if target["tls"] else None,
            trace_request_ctx=record,
        ) as answer:
            record.status = answer.status
            splitter = Splitter(answer.content_type, plain=self._protocol is Protocol.PLAIN)
            meaning.whole = splitter.is_whole
            if config["backend_header"]:
                meaning.backend = answer.headers.get(config["backend_header"])
            refusal = b""
            async for read in answer.content.iter_any():
                stamp = time.monotonic_ns()
                record.first_byte = record.first_byte or stamp
                record.body_bytes += len(read)
                if answer.ok:
                    record.tokens_at += [stamp for event in splitter.feed(read) if meaning.event(event)]
                else:
                    refusal += read[: max(0, 400 - len(refusal))]
            record.end = time.monotonic_ns()
            if not 200 <= answer.status < 300:
                record.fail("status", f"{answer.status} {answer.reason}: {refusal.decode(errors='replace').strip()}")
                return
            for event in splitter.finish():
                record.tokens_at += [record.end] if meaning.event(event) else []
        if meaning.error:
            record.fail("protocol", f"the server says: {meaning.error}")
        elif missing := meaning.missing_end():
            record.fail("incomplete", missing)

    def _add(self, record: Record, meaning: Meaning) -> None:
        with self._lock:
            self._finished += 1
            Sums(self._tally, self._origin, self._config["slo"]).add(record, meaning)
        if self._records is not None:
            line = {
                "number": record.number,
                "id": _id(self._config["id_prefix"], record),
                "turn": record.turn,
                "intended_seconds": (record.intended - self._origin) / _SECOND,
                "sent_seconds": (record.sent - self._origin) / _SECOND if record.sent else None,
                "first_byte_seconds": (record.first_byte - self._origin) / _SECOND if record.first_byte else None,
                "token_seconds": [(stamp - self._origin) / _SECOND for stamp in record.tokens_at],
                "end_seconds": (record.end - self._origin) / _SECOND,
                "status": record.status,
                "body_bytes": record.body_bytes,
                "prompt_tokens": meaning.prompt_tokens,
                "output_tokens": len(record.tokens_at) if meaning.output_tokens is None else meaning.output_tokens,
                "output_tokens_source": "counted" if meaning.output_tokens is None else "usage",
                "server": _server(meaning),
                "backend": meaning.backend,
                "error": record.error,
                "message": record.message or None,
            }
            self._records.write(json.dumps(line) + "\n")


def _stamps() -> aiohttp.TraceConfig:
    """Stamps a request's way out. A kept connection has no connecting in it, and a failed one no sending."""
    config = aiohttp.TraceConfig()

    async def begin(_session: Any, context: Any, _told: Any) -> None:
        context.trace_request_ctx.began = time.monotonic_ns()

    async def connected(_session: Any, context: Any, _told: Any) -> None:
        context.trace_request_ctx.connected = time.monotonic_ns()

    async def sent(_session: Any, context: Any, _told: Any) -> None:
        context.trace_request_ctx.sent = time.monotonic_ns()

    config.on_connection_create_start.append(begin)
    config.on_connection_create_end.append(connected)
    config.on_request_headers_sent.append(sent)
    return config


def _server(meaning: Meaning) -> dict[str, float | None] | None:
    times = meaning.server_times
    return None if times is None or times.total is None else times.to_json()


def _id(prefix: str, record: Record) -> str:
    return f"{prefix}-{record.number}" + (f"-{record.turn}" if record.turn else "")


def _told(error: Exception, record: Record) -> tuple[str, str]:
    """Class and message of a failure. Order matters: the specific ones derive from the general."""
    message = str(error) or type(error).__name__
    classes: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
        (aiohttp.ClientConnectorDNSError, "dns"),
        ((aiohttp.ClientSSLError, ssl.SSLError), "tls"),
        (aiohttp.ConnectionTimeoutError, "connect"),
        (TimeoutError, "timeout"),
        ((aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError), "connect"),
        ((aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, ConnectionError), "incomplete"),
    )
    for kind, name in classes:
        if isinstance(error, kind):
            place = f" after {record.body_bytes} bytes of the body and {len(record.tokens_at)} tokens"
            return name, message + (place if name == "incomplete" else "")
    return "protocol", message
