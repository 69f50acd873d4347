"""
Carries bytes from the host's 127.0.0.1 into the lab: a program of its own, started by PID 1.

Its listening sockets were opened on the host; the connections it makes are the lab's. No library but the standard
one and no coroutine per connection: a load test goes through here, and what this costs the lab cannot use.

Arguments: ``descriptor=host:port`` for each listening socket: where its connections lead.
"""

import contextlib
import os
import resource
import select
import socket
import struct
import sys
from typing import Final, NoReturn

_CHUNK_BYTES: Final = 1 << 16
_BACKLOG: Final = 1024
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class _End:
    """One of the two sockets of a connection, with what waits to be written to it."""

    __slots__ = ("connecting", "interest", "is_read_out", "is_shut", "other", "pending", "socket")

    def __init__(self, end: socket.socket, *, connecting: bool) -> None:
        self.socket = end
        self.connecting = connecting
        self.pending = b""
        self.is_read_out = False
        self.is_shut = False
        self.interest = 0
        self.other: _End = self

    def wants(self) -> int:
        """Read only while the other end takes what is read: a slow reader slows its writer, nothing is piled up."""
        wanted = 0
        if not (self.is_read_out or self.connecting or self.other.connecting or self.other.pending):
            wanted |= select.EPOLLIN
        if self.connecting or self.pending:
            wanted |= select.EPOLLOUT
        return wanted


class Forwarder:
    """An event loop over all connections."""

    def __init__(self, ways: dict[socket.socket, tuple[str, int]]) -> None:
        self._poll = select.epoll()
        self._listeners = {listener.fileno(): listener for listener in ways}
        self._targets = {listener.fileno(): target for listener, target in ways.items()}
        self._ends: dict[int, _End] = {}
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        for listener in ways:
            listener.setblocking(False)
            listener.listen(_BACKLOG)
            self._poll.register(listener.fileno(), select.EPOLLIN)

    def run(self) -> NoReturn:
        """Without end; PID 1 ends it."""
        while True:
            for descriptor, events in self._poll.poll():
                if descriptor in self._listeners:
                    self._accept(descriptor)
                elif descriptor in self._ends:
                    self._serve(self._ends[descriptor], events)

    def _accept(self, descriptor: int) -> None:
        try:
            client, _ = self._listeners[descriptor].accept()
        except BlockingIOError:
            return
        except OSError:
            self._refuse(descriptor)
            return
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        server.connect_ex(self._targets[descriptor])
        self._join(_End(client, connecting=False), _End(server, connecting=True))

    def _refuse(self, descriptor: int) -> None:
        """Out of descriptors: use the spare one to take the caller off the queue, or the loop would spin on it."""
        os.close(self._spare)
        with contextlib.suppress(OSError):
            _reset(self._listeners[descriptor].accept()[0])
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _join(self, one: _End, two: _End) -> None:
        one.other, two.other = two, one
        for end in (one, two):
            end.socket.setblocking(False)
            end.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._ends[end.socket.fileno()] = end
            self._listen_to(end)

    def _listen_to(self, end: _End) -> None:
        wanted = end.wants()
        if wanted == end.interest:
            return
        # Without any interest epoll would still report hang-ups, again and again.
        if not wanted:
            self._poll.unregister(end.socket.fileno())
        elif not end.interest:
            self._poll.register(end.socket.fileno(), wanted)
        else:
            self._poll.modify(end.socket.fileno(), wanted)
        end.interest = wanted

    def _serve(self, end: _End, events: int) -> None:
        try:
            if end.connecting:
                self._finish_connecting(end)
            elif events & select.EPOLLOUT and end.pending:
                self._write(end, end.pending)
            if events & ~select.EPOLLOUT and not end.is_read_out:
                self._read(end)
        except OSError:
            self._abort(end)
            return
        if end.is_shut and end.other.is_shut:
            self._close(end)
            return
        self._listen_to(end)
        self._listen_to(end.other)

    def _finish_connecting(self, end: _End) -> None:
        number = end.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        end.connecting = False

    def _read(self, end: _End) -> None:
        if end.other.pending or end.other.connecting:
            return
        try:
            chunk = end.socket.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        if chunk:
            self._write(end.other, chunk)
            return
        end.is_read_out = True
        self._shut_when_written(end.other)

    def _write(self, end: _End, chunk: bytes) -> None:
        try:
            sent = end.socket.send(chunk)
        except BlockingIOError:
            sent = 0
        end.pending = chunk[sent:]
        if end.other.is_read_out:
            self._shut_when_written(end)

    def _shut_when_written(self, end: _End) -> None:
        """Half-close: what one end has finished saying, the other hears as finished, and may still answer."""
        if not end.pending and not end.is_shut:
            end.is_shut = True
            end.socket.shutdown(socket.SHUT_WR)

    def _abort(self, end: _End) -> None:
        """What broke on one side breaks on the other; an orderly end would be a lie."""
        for each in (end, end.other):
            self._forget(each)
            _reset(each.socket)

    def _close(self, end: _End) -> None:
        for each in (end, end.other):
            self._forget(each)
            each.socket.close()

    def _forget(self, end: _End) -> None:
        del self._ends[end.socket.fileno()]
        if end.interest:
            self._poll.unregister(end.socket.fileno())


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    end.close()


def main() -> None:
    """Forward until ended."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    ways = {}
    for argument in sys.argv[1:]:
        descriptor, _, target = argument.partition("=")
        host, _, port = target.rpartition(":")
        ways[socket.socket(fileno=int(descriptor))] = (host, int(port))
    Forwarder(ways).run()


if __name__ == "__main__":
    main()
