"""Startup, readiness and liveness probes, made from the lab's network as a node makes them."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import aiohttp

from bench.lab.kubelet.process import CommandResult

_USER_AGENT: Final = "kube-probe/1.37"
_MAX_REDIRECTS: Final = 10
_MAX_BODY_BYTES: Final = 10 * 1024

Exec = Callable[[list[str], float], Awaitable[CommandResult]]
"""Runs a command in the container: (command, seconds it may take)."""


class ProbeKind(StrEnum):
    """By the name of the field; `capitalize` is how events say it."""

    STARTUP = "startup"
    READINESS = "readiness"
    LIVENESS = "liveness"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAnswer:
    """One try."""

    ok: bool
    message: str = ""
    unsupported: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTarget:
    """The container that is asked."""

    address: str
    ports: Mapping[str, int]
    run: Exec


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When to ask and how often to be told before believing it."""

    initial_delay_seconds: float
    period_seconds: float
    timeout_seconds: float
    success_threshold: int
    failure_threshold: int

    @classmethod
    def of(cls, probe: Mapping[str, Any]) -> "Schedule":
        """The API server has filled in the defaults; these are for objects that it did not see."""
        return cls(
            initial_delay_seconds=probe.get("initialDelaySeconds", 0),
            period_seconds=probe.get("periodSeconds", 10),
            timeout_seconds=probe.get("timeoutSeconds", 1),
            success_threshold=probe.get("successThreshold", 1),
            failure_threshold=probe.get("failureThreshold", 3),
        )


class Judgement:
    """A row of answers made into a result: the opposite is believed only after its threshold. Pure."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._last: bool | None = None
        self._row = 0

    def take(self, *, ok: bool) -> bool | None:
        """The result that now holds if a threshold was reached, None if it stays open."""
        self._row = self._row + 1 if ok == self._last else 1
        self._last = ok
        threshold = self._schedule.success_threshold if ok else self._schedule.failure_threshold
        return ok if self._row >= threshold else None


async def watch_probe(
    probe: Mapping[str, Any],
    ask: Callable[[Mapping[str, Any]], Awaitable[ProbeAnswer]],
    on_answer: Callable[[ProbeAnswer], None],
    on_result: Callable[[bool, str], bool],
) -> None:
    """Ask on schedule until `on_result` (result, message) says that it is enough."""
    schedule = Schedule.of(probe)
    judgement = Judgement(schedule)
    loop = asyncio.get_running_loop()
    await asyncio.sleep(schedule.initial_delay_seconds)
    due = loop.time()
    while True:
        answer = await ask(probe)
        on_answer(answer)
        result = judgement.take(ok=answer.ok)
        if result is not None and on_result(result, answer.message):
            return
        due = max(due + schedule.period_seconds, loop.time())
        await asyncio.sleep(due - loop.time())


class Asker:
    """Makes single tries. One session for all HTTP probes of the lab."""

    def __init__(self) -> None:
        tls = ssl.create_default_context()
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
        # A probe that reuses a connection does not see that a server takes no new ones.
        connector = aiohttp.TCPConnector(ssl=tls, force_close=True, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def close(self) -> None:
        await self._session.close()

    async def ask(self, probe: Mapping[str, Any], target: ProbeTarget) -> ProbeAnswer:
        """One try, within the probe's own time-out."""
        within_seconds = float(probe.get("timeoutSeconds", 1))
        if "httpGet" in probe:
            return await self.http(probe["httpGet"], target, within_seconds)
        if "tcpSocket" in probe:
            return await _tcp(probe["tcpSocket"], target, within_seconds)
        if "exec" in probe:
            return await _exec(probe["exec"], target, within_seconds)
        message = "gRPC probes are not supported in a lab; use httpGet, tcpSocket or exec"
        return ProbeAnswer(ok=False, message=message, unsupported=True)

    async def http(self, action: Mapping[str, Any], target: ProbeTarget, within_seconds: float) -> ProbeAnswer:
        """A status from 200 to 399 is a success."""
        host = action.get("host") or target.address
        path = "/" + (action.get("path") or "/").lstrip("/")
        url = f"{(action.get('scheme') or 'HTTP').lower()}://{host}:{port_number(action['port'], target.ports)}{path}"
        headers = {"User-Agent": _USER_AGENT, "Accept": "*/*"}
        headers |= {each["name"]: each.get("value", "") for each in action.get("httpHeaders") or ()}
        try:
            async with asyncio.timeout(within_seconds):
                async with self._session.get(url, headers=headers, max_redirects=_MAX_REDIRECTS) as response:
                    await response.content.read(_MAX_BODY_BYTES)
        except TimeoutError:
            late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            return ProbeAnswer(ok=False, message=f'Get "{url}": {late}')
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return ProbeAnswer(ok=False, message=f'Get "{url}": {_cause(error, host)}')
        if 200 <= response.status < 400:
            return ProbeAnswer(ok=True)
        return ProbeAnswer(ok=False, message=f"HTTP probe failed with statuscode: {response.status}")


def _cause(error: Exception, host: str) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        return f"dial tcp {host}:{error.port}: connect: connection refused"
    return str(error) or type(error).__name__


def port_number(port: Any, named: Mapping[str, int]) -> int:
    """A number, or the name of one of the container's ports; 0 for a name that is not there."""
    text = str(port)
    return int(text) if text.isdigit() else named.get(text, 0)


async def _tcp(action: Mapping[str, Any], target: ProbeTarget, within_seconds: float) -> ProbeAnswer:
    host = action.get("host") or target.address
    port = port_number(action["port"], target.ports)
    try:
        async with asyncio.timeout(within_seconds):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return ProbeAnswer(ok=False, message=f"dial tcp {host}:{port}: i/o timeout")
    except ConnectionRefusedError:
        return ProbeAnswer(ok=False, message=f"dial tcp {host}:{port}: connect: connection refused")
    except OSError as error:
        return ProbeAnswer(ok=False, message=f"dial tcp {host}:{port}: {error.strerror}")
    writer.close()
    return ProbeAnswer(ok=True)


async def _exec(action: Mapping[str, Any], target: ProbeTarget, within_seconds: float) -> ProbeAnswer:
    command = list(action.get("command") or ())
    result = await target.run(command, within_seconds)
    if result.timed_out:
        return ProbeAnswer(
            ok=False, message=f'command timed out: "{" ".join(command)}" timed out after {within_seconds:g}s'
        )
    return ProbeAnswer(ok=result.code == 0, message=result.output)
