"""What of a lab could still be on the machine after its end: looked for in /proc, /sys and on the loopback address."""

import fcntl
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from tests.lab.running import RunningLab

NAMESPACES = ("pid", "mnt", "net", "user", "ipc", "uts", "cgroup")
CGROUPS = Path("/sys/fs/cgroup")
PARENT_OF_NAMESPACE = 0xB702
"""The request NS_GET_PARENT of ioctl_ns(2)."""
PAUSE_SECONDS = 0.01
"""Between two looks. The kernel tells of the end of a process, but not of the end of all that it held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """By what a lab can be recognised: taken while it runs, looked for afterwards."""

    name: str
    root: str
    namespaces: frozenset[str]
    """Those that are there as long as the lab is. A pod's own end with the pod, and the kernel gives their numbers to
    pods of other labs while this one still runs."""
    ports: frozenset[int]
    interfaces: frozenset[str]
    """Of this machine before the lab came up."""


def interfaces() -> frozenset[str]:
    return frozenset(os.listdir("/sys/class/net"))


def namespaces_of(pid: int | str) -> frozenset[str]:
    """As the kernel names them, ``net:[4026531840]``; none of a process that is gone."""
    found = set()
    for kind in NAMESPACES:
        try:
            found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
        except OSError:
            continue
    return frozenset(found)


def pid_namespaces_around(pid: int | str) -> frozenset[str]:
    """A process's PID namespace and those that it lies in; a pod's lies in its lab's."""
    found: set[str] = set()
    try:
        file = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY)
    except OSError:
        return frozenset()
    while True:
        found.add(f"pid:[{os.fstat(file).st_ino}]")
        try:
            parent = fcntl.ioctl(file, PARENT_OF_NAMESPACE)
        except PermissionError:  # it would be around ours
            return frozenset(found)
        finally:
            os.close(file)
        file = parent


def take_traces(lab: RunningLab, before: frozenset[str]) -> Traces:
    """Of a lab that runs; `before` are the interfaces that were there without it."""
    inside = namespaces_of(lab.pid) - namespaces_of("self")
    kubeconfig = yaml.safe_load(lab.kubeconfig.read_text(encoding="utf-8"))
    urls = [kubeconfig["clusters"][0]["cluster"]["server"], lab.status["prometheus_url"], lab.status["gateway_url"]]
    ports = frozenset(port for url in urls if url and (port := urlsplit(url).port))
    assert inside, "the lab has no namespace of its own"
    assert ports, "the lab has no port"
    return Traces(name=lab.name, root=str(lab.paths.root), namespaces=inside, ports=ports, interfaces=before)


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def now_ticks() -> int:
    """The clock by which the kernel stamps the start of processes."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def _was_there(pid: int, at_ticks: int) -> bool:
    """It lives, and did so then."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    fields = stat.rpartition(")")[2].split()
    return fields[0] not in {"Z", "X"} and int(fields[19]) <= at_ticks


def processes(traces: Traces, end_ticks: int) -> list[str]:
    """
    Those in a namespace of the lab, or started with its folder on their command line.

    The kernel gives the numbers of namespaces that are gone to new ones: a process that started after the end is
    of someone else.
    """
    found = []
    for pid in pids():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        around = namespaces_of(pid) | pid_namespaces_around(pid)
        is_inside = bool(traces.namespaces & around) and _was_there(pid, end_ticks)
        if is_inside or (traces.root in line.split() and _was_there(pid, now_ticks())):
            found.append(f"process {pid}: {line[:200]}")
    return found


def mounts(traces: Traces) -> list[str]:
    text = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    return [f"mount: {line}" for line in text.splitlines() if traces.root in line]


def control_groups(traces: Traces) -> list[str]:
    found = []
    for folder, names, _ in os.walk(CGROUPS):
        found += [f"control group: {folder}/{name}" for name in names if name == traces.name or traces.name in name]
    return found


def open_ports(traces: Traces) -> list[str]:
    found = []
    for port in sorted(traces.ports):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                found.append(f"listening port: {port}")
    return found


def new_interfaces(traces: Traces) -> list[str]:
    return [f"interface: {name}" for name in sorted(interfaces() - traces.interfaces)]


def files(traces: Traces) -> list[str]:
    return [f"folder: {traces.root}"] if os.path.lexists(traces.root) else []


KINDS: tuple[Callable[[Traces], list[str]], ...] = (
    mounts,
    control_groups,
    open_ports,
    new_interfaces,
    files,
)


def left_by(traces: Traces, end_ticks: int) -> list[str]:
    """All that is left, in words, of a lab whose end was asked for at `end_ticks`; empty for one that is gone."""
    return [*processes(traces, end_ticks), *(each for look in KINDS for each in look(traces))]


def seconds_until_nothing_is_left(traces: Traces, end_ticks: int, *, within_seconds: float) -> float:
    """How long it took from now; names what is left after the deadline."""
    began = time.monotonic()
    pause = threading.Event()
    left = left_by(traces, end_ticks)
    while left and time.monotonic() - began < within_seconds:
        pause.wait(PAUSE_SECONDS)
        left = left_by(traces, end_ticks)
    assert not left, "\n".join(left)
    return time.monotonic() - began
