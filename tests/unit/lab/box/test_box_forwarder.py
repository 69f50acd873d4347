"""The forwarder carries every byte, each direction's end by itself, and what breaks."""

import hashlib
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

SECONDS = 5.0


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SECONDS)
        yield listener


@pytest.fixture
def way_in(server: socket.socket) -> Iterator[tuple[str, int]]:
    """An address whose connections lead to the server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = server.getsockname()[1]
        forwarder = subprocess.Popen(
            [sys.executable, "-m", "bench.lab.box.forwarder", f"{listener.fileno()}=127.0.0.1:{port}"],
            pass_fds=[listener.fileno()],
        )
        yield listener.getsockname()
        forwarder.kill()
        forwarder.wait()


def connect(address: tuple[str, int], server: socket.socket) -> tuple[socket.socket, socket.socket]:
    client = socket.create_connection(address, timeout=SECONDS)
    inside, _ = server.accept()
    inside.settimeout(SECONDS)
    return client, inside


def read_all(end: socket.socket) -> bytes:
    with end.makefile("rb") as stream:
        return stream.read()


def test_a_question_and_its_answer_pass(way_in: tuple[str, int], server: socket.socket) -> None:
    client, inside = connect(way_in, server)
    with client, inside:
        client.sendall(b"question")
        asked = inside.recv(100)
        inside.sendall(b"answer")
        answered = client.recv(100)

    assert (asked, answered) == (b"question", b"answer")


def test_who_has_finished_speaking_may_still_listen(way_in: tuple[str, int], server: socket.socket) -> None:
    client, inside = connect(way_in, server)
    with client, inside:
        client.sendall(b"all I have")
        client.shutdown(socket.SHUT_WR)
        heard = read_all(inside)
        inside.sendall(b"thanks")
        inside.close()

        assert heard == b"all I have"
        assert read_all(client) == b"thanks"


def test_more_than_any_buffer_holds_arrives_whole_at_a_slow_reader(
    way_in: tuple[str, int], server: socket.socket
) -> None:
    client, inside = connect(way_in, server)
    content = os.urandom(1 << 20) * 16

    def write() -> None:
        inside.sendall(content)
        inside.close()

    writer = threading.Thread(target=write)
    writer.start()
    digest = hashlib.sha256()
    with client:
        # Nothing is read until the writer is stuck: then the forwarder holds what it could not pass on.
        writer.join(timeout=0.2)
        assert writer.is_alive()
        while chunk := client.recv(1 << 16):
            digest.update(chunk)
    writer.join()

    assert digest.digest() == hashlib.sha256(content).digest()


def test_a_broken_connection_breaks_on_the_other_side_too(way_in: tuple[str, int], server: socket.socket) -> None:
    client, inside = connect(way_in, server)
    with client:
        inside.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        inside.close()

        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_where_nothing_listens_the_caller_is_refused(way_in: tuple[str, int], server: socket.socket) -> None:
    server.close()

    with socket.create_connection(way_in, timeout=SECONDS) as client, pytest.raises(ConnectionResetError):
        client.recv(1)


def test_many_connections_are_kept_apart(way_in: tuple[str, int], server: socket.socket) -> None:
    pairs = [connect(way_in, server) for _ in range(50)]
    for number, (client, _) in enumerate(pairs):
        client.sendall(str(number).encode())

    heard = [inside.recv(10).decode() for _, inside in pairs]

    assert heard == [str(number) for number in range(50)]
    for pair in pairs:
        for end in pair:
            end.close()
