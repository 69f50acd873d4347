"""
What `up` and PID 1 say to each other over one socket, a JSON object a line.

The socket is also a leash: as long as `up` has not let go, its end closing takes the lab down. So an `up` that is
killed half way leaves nothing behind.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

_LET_GO: Final = b"let go\n"


class PartState(StrEnum):
    """Of one part of the lab: a process of the control plane, or what was applied as workloads."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A part has come to a state."""

    part: str
    state: PartState
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Everything that was asked for serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The lab goes down; why."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The lab goes down because somebody wanted it to; who."""

    by: str


Message = Progress | Ready | Failed | Ended
_KINDS: Final[dict[str, type[Message]]] = {each.__name__: each for each in (Progress, Ready, Failed, Ended)}


def encode(message: Message) -> bytes:
    """One line."""
    return json.dumps({"kind": type(message).__name__, **asdict(message)}).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The message of one line."""
    raw: dict[str, Any] = json.loads(line)
    kind = _KINDS[raw.pop("kind")]
    if kind is Progress:
        raw["state"] = PartState(raw["state"])
    return kind(**raw)


class Holder:
    """The end of `up`; blocking."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._unread = b""

    def fileno(self) -> int:
        return self._end.fileno()

    def receive(self) -> Message | None:
        """What PID 1 tells next; None once it has ended."""
        while b"\n" not in self._unread:
            try:
                received = self._end.recv(1 << 16)
            except ConnectionError:
                return None
            if not received:
                return None
            self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        return decode(line)

    def let_go(self) -> None:
        """From now on the lab outlives this process."""
        self._end.sendall(_LET_GO)
        self._end.close()

    def drop(self) -> None:
        """The lab goes down, if it has not already."""
        self._end.close()


class Held:
    """The end of PID 1."""

    def __init__(self, descriptor: int) -> None:
        self._end = socket.socket(fileno=descriptor)
        self._end.setblocking(False)
        self._writer: asyncio.StreamWriter | None = None
        self._reader: asyncio.StreamReader | None = None

    async def open(self) -> None:
        """To be called in the running loop, before anything else."""
        self._reader, self._writer = await asyncio.open_connection(sock=self._end)

    def tell(self, message: Message) -> None:
        """Does not wait, and is nobody's concern once `up` has gone."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode(message))

    async def was_dropped(self) -> bool:
        """Waits until `up` has ended (True) or let go (False)."""
        async for line in self._lines():
            if line == _LET_GO:
                return False
        return True

    async def _lines(self) -> AsyncIterator[bytes]:
        assert self._reader is not None
        try:
            async for line in self._reader:
                yield line
        except ConnectionError:
            return

    async def close(self) -> None:
        """Everything told is on its way; the other end sees the end of the conversation."""
        if self._writer is None:
            return
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return
