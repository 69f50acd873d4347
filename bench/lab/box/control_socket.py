"""
Asking a running lab: one JSON object a line, one line back, over a socket in its state folder.

Reached through an open descriptor of that folder, since the name of a socket may not be longer than 107 bytes.
"""

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_PEER: Final = struct.Struct("3i")

Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


async def serve(path: Path, answer: Answer) -> asyncio.Server:
    """Answer each request of each connection in turn."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            async for line in reader:
                writer.write(json.dumps(await answer(json.loads(line))).encode() + b"\n")
                await writer.drain()
        writer.close()

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _short(path) as name:
        listener.bind(name)
    path.chmod(0o600)
    return await asyncio.start_unix_server(talk, sock=listener)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What PID 1 said, and its process number as seen from here."""

    content: dict[str, Any]
    pid: int


def ask(path: Path, request: dict[str, Any], *, within_seconds: float) -> Answered:
    """One request; OSError (also TimeoutError) when nobody answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end, _short(path) as name:
        end.settimeout(within_seconds)
        end.connect(name)
        pid, _, _ = _PEER.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        end.sendall(json.dumps(request).encode() + b"\n")
        with end.makefile("rb") as lines:
            line = lines.readline()
    if not line:
        raise ConnectionResetError(f"{path}: closed without an answer")
    return Answered(content=json.loads(line), pid=pid)


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
