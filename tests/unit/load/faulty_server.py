"""A server of our own on loopback, raw bytes over asyncio, that answers well or ill by its path."""

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

TOKENS = 5


def _event(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": None}]}).encode() + b"\n\n"


EVENTS = b"".join(_event(f" {n}") for n in range(TOKENS))
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}\n\n'
FINISH = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
OLLAMA = (
    b'{"response":"a","done":false}\n{"response":"b","done":false}\n'
    b'{"response":"","done":true,"prompt_eval_count":3,"eval_count":2,"prompt_eval_duration":1000000,"load_duration":0,"total_duration":2000000}\n'
)


def _chunked(body: bytes, *, size: int = 17, end: bool = True) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + (b"0\r\n\r\n" if end else b"")


def _stream(body: bytes, *, kind: bytes = b"text/event-stream", extra: bytes = b"", end: bool = True) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\n%stransfer-encoding: chunked\r\n\r\n" % (kind, extra)
    return head + _chunked(body, end=end)


def _plain(status: bytes, body: bytes, kind: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (status, kind, len(body), body)


ANSWERS = {
    "/good": _stream(EVENTS + FINISH + USAGE + DONE, extra=b"x-backend: pod-1\r\n"),
    "/no-usage": _stream(EVENTS + FINISH + DONE),
    "/no-end": _stream(EVENTS),
    "/malformed": _stream(_event("a") + b"data: {broken\n\n"),
    "/not-sse": _stream(_event("a") + b"<html>what?</html>\n"),
    "/error-event": _stream(_event("a") + b'data: {"error":{"message":"out of memory"}}\n\n' + DONE),
    "/whole": _plain(
        b"200 OK", b'{"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":1,"completion_tokens":4}}'
    ),
    "/html": _plain(b"200 OK", b"<html></html>"),
    "/401": _plain(b"401 Unauthorized", b'{"error":"who are you"}'),
    "/429": _plain(b"429 Too Many Requests", b"slow down"),
    "/500": _plain(b"500 Internal Server Error", b"oops"),
    "/no-http": b"SSH-2.0-OpenSSH\r\n\r\n",
    "/ollama": _stream(OLLAMA, kind=b"application/x-ndjson"),
    "/bytes": _plain(b"200 OK", b"x" * 1000, b"text/plain"),
}
#: What is sent before the connection is closed in the middle.
CUT = {"/cut": _stream(EVENTS[:-30], end=False), "/cut-head": b"HTTP/1.1 200 OK\r\ncontent-ty", "/cut-before": b""}


@dataclass(slots=True)
class FaultyServer:
    """Its port, and what it was asked."""

    port: int = 0
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first = await reader.readexactly(1)
        if first == b"\x16":
            # A TLS handshake; what servers in the clear answer to it.
            writer.write(_plain(b"400 Bad Request", b"no TLS here"))
            await writer.drain()
            return False
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
        lengths = [line.partition(":")[2] for line in head.split("\r\n") if line.lower().startswith("content-length:")]
        body = await reader.readexactly(int(lengths[0]) if lengths else 0)
        self.heads.append(head)
        self.bodies.append(body)
        # A whole URL is what proxies are asked for, and servers must take.
        path = urlsplit(head.split(" ")[1]).path
        if path in CUT:
            writer.write(CUT[path])
            await writer.drain()
            return False
        if path == "/never":
            writer.write(_stream(EVENTS, end=False))
            await writer.drain()
            await reader.read()
            return False
        writer.write(ANSWERS.get(path, _plain(b"404 Not Found", b"no such path")))
        await writer.drain()
        # One answer a connection for this path, so that the next request finds a stale one.
        return path != "/closes"


class Serving(Protocol):
    """What answers connections."""

    port: int
    writers: list[asyncio.StreamWriter]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...


Server = TypeVar("Server", bound=Serving)


@contextlib.contextmanager
def faulty_server(context: ssl.SSLContext | None = None) -> Iterator[FaultyServer]:
    """The server on a thread of its own, for the length of a test."""
    with served(FaultyServer(), context) as server:
        yield server


@contextlib.contextmanager
def served(server: Server, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Any server on a thread of its own, for the length of a test."""
    ready, over = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def work() -> None:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
        server.port = listening.sockets[0].getsockname()[1]
        loops.append(asyncio.get_running_loop())
        ready.set()
        await over.wait()
        listening.close()
        for writer in server.writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in server.writers), return_exceptions=True)

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    assert ready.wait(5)
    try:
        yield server
    finally:
        loops[0].call_soon_threadsafe(over.set)
        thread.join(5)
