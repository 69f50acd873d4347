"""From a pod of the lab no packet leaves the machine. Asked of the lab alone: a real cluster has a way out."""

import itertools
import socket
from pathlib import Path

import pytest

from tests.contract.pods import answer_of, pod, python
from tests.contract.target import Target
from tests.lab.running import RunningLab

pytestmark = pytest.mark.lab

TRY = """
import errno, json, socket
def connect(address, port):
    try:
        socket.create_connection((address, port), timeout=3).close()
        return "connected"
    except OSError as error:
        return errno.errorcode.get(error.errno, type(error).__name__)
def send(address, port):
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.sendto(b"x", (address, port))
        return "sent"
    except OSError as error:
        return errno.errorcode.get(error.errno, type(error).__name__)
def resolve(name):
    try:
        return sorted({found[4][0] for found in socket.getaddrinfo(name, 80)})
    except socket.gaierror as error:
        return "not found"
"""
OUTSIDE = ("192.0.2.1", "198.51.100.1", "203.0.113.1")
"""Of the three ranges that are reserved for documentation: nobody's, should a packet get out after all."""
CLOSED = {"ENETUNREACH", "EHOSTUNREACH", "ECONNREFUSED", "EPERM", "EACCES", "TimeoutError", "ETIMEDOUT"}


@pytest.mark.parametrize("host_network", [False, True], ids=["pod", "host-network"])
def test_no_outside_address_is_reached(target: Target, namespace: str, host_network: bool, lab: RunningLab) -> None:
    assert lab.pid
    words = f"print(json.dumps([connect(a, p) for a in {OUTSIDE!r} for p in (53, 443)]))"

    told = answer_of(target, pod(namespace, "outward", python(TRY + words), hostNetwork=host_network))

    assert set(told) <= CLOSED


def test_no_outside_name_is_found(target: Target, namespace: str, lab: RunningLab) -> None:
    assert lab.pid
    words = 'print(json.dumps([resolve("example.com"), bool(resolve("kubernetes.default.svc"))]))'

    told = answer_of(target, pod(namespace, "asking", python(TRY + words)))

    assert told == ["not found", True]


def test_the_machine_itself_is_not_reached(target: Target, namespace: str, lab: RunningLab) -> None:
    assert lab.pid
    addresses = _addresses_of_this_machine()
    with socket.create_server(("0.0.0.0", 0)) as listening, socket.socket(type=socket.SOCK_DGRAM) as receiving:
        receiving.bind(("0.0.0.0", 0))
        receiving.setblocking(False)
        open_port, heard_port = listening.getsockname()[1], receiving.getsockname()[1]
        words = (
            f"[send(a, {heard_port}) for a in {addresses!r}]\n"
            f"print(json.dumps([connect(a, {open_port}) for a in {addresses!r}]))"
        )

        told = answer_of(target, pod(namespace, "homeward", python(TRY + words)))

        assert set(told) <= CLOSED
        with pytest.raises(BlockingIOError):
            receiving.recv(1)


def test_the_lab_has_no_route_but_to_its_own_pods(lab: RunningLab) -> None:
    lines = Path(f"/proc/{lab.pid}/net/route").read_text(encoding="ascii").splitlines()[1:]

    destinations = {line.split()[1] for line in lines}

    assert "00000000" not in destinations, "a default route leads out"
    assert lines
    assert {line.split()[0] for line in lines} == {"lab0"}


def _addresses_of_this_machine() -> list[str]:
    """IPv4 addresses that this machine has outside of the lab, from its own routing table."""
    text = Path("/proc/net/fib_trie").read_text(encoding="ascii").splitlines()
    found = {
        line.split()[-1] for line, after in itertools.pairwise(text) if "/32 host LOCAL" in after and "|--" in line
    }
    return sorted(address for address in found if not address.startswith("127."))
