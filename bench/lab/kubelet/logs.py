"""
What containers write, on disk in the CRI's format, bounded, and read back as `kubectl logs` asks for it.

A line is ``TIME STREAM F TEXT``, or ``P`` for a piece of a line that goes on. One file a start of a container, and
one older part of it: what is beyond that is forgotten, as on a node.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

MAX_FILE_BYTES: Final = 10 * 2**20
_MAX_LINE_BYTES: Final = 16_384
_TAIL_BYTES: Final = 4096
_TAIL_LINES: Final = 80


class LogWriter:
    """Takes bytes of both streams, writes whole lines, wakes those who follow."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._size = self._file.tell()
        self._rest = {"stdout": b"", "stderr": b""}
        self._changed = asyncio.Event()
        self.closed = False

    def feed(self, stream: str, chunk: bytes) -> None:
        """Stamped with the time of reading, as a container runtime does."""
        head = _stamp() + stream.encode()
        *lines, rest = (self._rest[stream] + chunk).split(b"\n")
        out = [b"%s F %s\n" % (head, line) for line in lines]
        while len(rest) >= _MAX_LINE_BYTES:
            out.append(b"%s P %s\n" % (head, rest[:_MAX_LINE_BYTES]))
            rest = rest[_MAX_LINE_BYTES:]
        self._rest[stream] = rest
        self._write(b"".join(out))

    def close(self) -> None:
        """The container has ended; an unfinished line is written as it is, as a piece that nothing follows."""
        stamp = _stamp()
        for stream, rest in self._rest.items():
            if rest:
                self._write(b"%s%s P %s\n" % (stamp, stream.encode(), rest))
        self.closed = True
        self._file.close()
        self._wake()

    def _write(self, data: bytes) -> None:
        if not data:
            return
        if self._size + len(data) > MAX_FILE_BYTES:
            self._file.close()
            os.replace(self.path, older(self.path))
            self._file = self.path.open("ab", buffering=0)
            self._size = 0
        self._file.write(data)
        self._size += len(data)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_for_more(self) -> None:
        """Returns when something was written after this was called, or the writer closed."""
        if not self.closed:
            await self._changed.wait()


def _stamp() -> bytes:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").encode() + b"000Z "


def older(path: Path) -> Path:
    """Where the part before the last cut lies."""
    return path.with_name(path.name + ".old")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRequest:
    """The parameters of ``/containerLogs``."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since: datetime | None = None
    limit_bytes: int | None = None
    stream: str = "All"


def _entries(data: bytes, request: LogRequest) -> Iterator[bytes]:
    """Whole lines as the client sees them; pieces are joined with what follows."""
    for line in data.splitlines(keepends=True):
        stamp, _, rest = line.partition(b" ")
        stream, _, rest = rest.partition(b" ")
        tag, _, text = rest.partition(b" ")
        if request.stream not in {"All", stream.decode().capitalize()}:
            continue
        if request.since is not None and datetime.fromisoformat(stamp.decode()) < request.since:
            continue
        body = text if tag == b"F" else text.removesuffix(b"\n")
        yield stamp + b" " + body if request.timestamps else body


def read(path: Path, request: LogRequest) -> tuple[bytes, int]:
    """What is on disk now, cut as asked for (but for `limit_bytes`), and the size of the file that was read."""
    before = older(path).read_bytes() if older(path).exists() else b""
    current = path.read_bytes() if path.exists() else b""
    entries = list(_entries(before + current, request))
    if request.tail_lines is not None:
        entries = entries[-request.tail_lines :] if request.tail_lines else []
    return b"".join(entries), len(current)


def tail(path: Path) -> str:
    """The end of a log, for a termination message: at most 2 KiB or 80 lines upstream, whatever is less."""
    data, _ = read(path, LogRequest(tail_lines=_TAIL_LINES))
    return data[-_TAIL_BYTES // 2 :].decode(errors="replace")


async def stream(path: Path, writer: LogWriter | None, request: LogRequest) -> AsyncIterator[bytes]:
    """The log, and with `follow` what comes, until the container ends or `limit_bytes` are told."""
    left = request.limit_bytes
    async for chunk in _chunks(path, writer, request):
        piece = chunk if left is None else chunk[:left]
        if piece:
            yield piece
        if left is not None:
            left -= len(piece)
            if left <= 0:
                return


async def _chunks(path: Path, writer: LogWriter | None, request: LogRequest) -> AsyncIterator[bytes]:
    data, size = read(path, request)
    yield data
    if not request.follow or writer is None:
        return
    following = path.open("rb")
    try:
        following.seek(size)
        while True:
            # Order matters: what is written while we read must wake us.
            closed, more = writer.closed, asyncio.ensure_future(writer.wait_for_more())
            try:
                yield b"".join(_entries(following.read(), request))
                if closed:
                    return
                await more
            finally:
                more.cancel()
            if not writer.closed and os.fstat(following.fileno()).st_ino != path.stat().st_ino:
                yield b"".join(_entries(following.read(), request))
                following.close()
                following = path.open("rb")
    finally:
        following.close()
