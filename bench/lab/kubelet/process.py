"""Starts containers and commands, and tells how they ended, without a thread or a poll for each."""

import asyncio
import contextlib
import json
import os
import re
import select
import signal
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from bench.lab.cgroups import Groups
from bench.lab.kubelet import kernel

_READ_BYTES: Final = 65_536
PODS_NICE: Final = 5
"""Pods stand behind the control plane and the kubelets, as on a node kubepods.slice does behind system.slice."""
_SPAWNERS: Final = 4
"""Threads that fork; a start waits some milliseconds for bubblewrap, and several may wait at once."""
_EXEC_FAILED: Final = re.compile(r"bwrap: execvp (?P<program>.*): (?P<reason>[^:]+)$")
_EXEC_LOOKS: Final = 1000
_EXEC_LOOK_MILLISECONDS: Final = 1

Sink = Callable[[str, bytes], None]
"""Takes what a container wrote: ``stdout`` or ``stderr``, and the bytes."""


class NotStarted(Exception):  # told as an Event and a container state, so no BenchError
    """The program was never reached: a mount failed, or the command is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A container about to start. `arguments` is called with the two descriptors that bubblewrap is to use."""

    arguments: Callable[[int, int], list[str]]
    environment: Mapping[str, str]
    namespace: int
    group: str
    """Control group to be in before the program's first instruction; empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Born:
    """What the spawning thread hands to the event loop."""

    popen: subprocess.Popen[bytes]
    pid: int
    pidfd: int
    status: int
    outputs: dict[str, int]
    birth_certificate: bytes


class ContainerProcess:
    """A container that runs, or ran."""

    def __init__(self, born: _Born, sink: Sink) -> None:
        self.pid = born.pid
        """Of the container's first process, as the agent's PID namespace counts."""
        self._born = born
        self._sink = sink
        self._last_words = b""
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._monitor = os.pidfd_open(born.popen.pid)
        self._loop.add_reader(self._monitor, self._on_exit)
        for name, descriptor in born.outputs.items():
            os.set_blocking(descriptor, False)
            self._loop.add_reader(descriptor, self._on_output, name, descriptor)

    @property
    def ended(self) -> asyncio.Future[int]:
        """The exit code, 128 + the signal's number if one ended it; NotStarted if the program was never reached."""
        return self._ended

    @property
    def is_over(self) -> bool:
        return self._ended.done()

    def signal(self, number: int) -> None:
        """To the container's first process, which is process 1 in there: what it does not handle, it ignores."""
        if not self.is_over:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._born.pidfd, number)

    def kill(self) -> None:
        """The kernel ends all other processes of the container with its first one."""
        self.signal(signal.SIGKILL)

    def _on_output(self, name: str, descriptor: int) -> None:
        try:
            chunk = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        if chunk:
            self._take(name, chunk)
        else:
            self._close_output(name, descriptor)

    def _take(self, name: str, chunk: bytes) -> None:
        if name == "stderr":
            self._last_words = chunk
        self._sink(name, chunk)

    def _close_output(self, name: str, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        os.close(descriptor)
        del self._born.outputs[name]

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._monitor)
        os.close(self._monitor)
        code = self._born.popen.wait()
        self._drain()
        os.close(self._born.pidfd)
        with open(self._born.status, "rb") as status:
            reached = b"exit-code" in self._born.birth_certificate + status.read()
        if reached or code < 0:
            self._ended.set_result(128 - code if code < 0 else code)
        else:
            told = self._last_words.decode(errors="replace").strip()
            self._ended.set_exception(NotStarted(as_runtimes_say(told) or f"bubblewrap ended with {code}"))

    def _drain(self) -> None:
        """What was written before the end; all writers are gone, so that this ends."""
        for name, descriptor in list(self._born.outputs.items()):
            with contextlib.suppress(BlockingIOError):
                while chunk := os.read(descriptor, _READ_BYTES):
                    self._take(name, chunk)
            self._close_output(name, descriptor)


def as_runtimes_say(told: str) -> str:
    """Bubblewrap's last words, in those that container runtimes use and people look for."""
    failed = _EXEC_FAILED.search(told)
    if failed is None:
        return told.removeprefix("bwrap: ")
    program, reason = failed["program"], failed["reason"].lower()
    if "/" not in program and reason == "no such file or directory":
        return f'unable to start container process: exec: "{program}": executable file not found in $PATH'
    return f'unable to start container process: exec: "{program}": {reason}'


class Spawner:
    """Forks from threads of its own: a thread may be in a pod's network while the agent stays in the lab's."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._threads = ThreadPoolExecutor(max_workers=_SPAWNERS, thread_name_prefix="spawn")

    async def start(self, launch: Launch, sink: Sink) -> ContainerProcess:
        """The container's program runs when this returns, or NotStarted is raised."""
        loop = asyncio.get_running_loop()
        born = await loop.run_in_executor(self._threads, self._start, launch)
        return ContainerProcess(born, sink)

    def _start(self, launch: Launch) -> _Born:
        status_read, status_write = os.pipe()
        block_read, block_write = os.pipe()
        try:
            popen = self._fork(launch, status_write, block_read)
        finally:
            os.close(status_write)
            os.close(block_read)
        try:
            certificate = _read_line(status_read)
            pid = _child_pid(certificate)
            if pid:
                _stand_back(pid)
                if launch.group:
                    self._groups.attach(launch.group, pid)
            assert popen.stdout is not None
            assert popen.stderr is not None
            outputs = {"stdout": os.dup(popen.stdout.fileno()), "stderr": os.dup(popen.stderr.fileno())}
            popen.stdout.close()
            popen.stderr.close()
            with contextlib.suppress(BrokenPipeError):
                os.write(block_write, b"\n")
            pidfd = _open_or(popen.pid, pid)
            _wait_for_program(popen.pid, pid)
            return _Born(
                popen=popen,
                pid=pid,
                pidfd=pidfd,
                status=status_read,
                outputs=outputs,
                birth_certificate=certificate,
            )
        finally:
            os.close(block_write)

    def _fork(self, launch: Launch, status: int, block: int) -> subprocess.Popen[bytes]:
        with _inside(launch.namespace):
            return subprocess.Popen(
                launch.arguments(status, block),
                env=dict(launch.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(status, block),
                start_new_session=True,
                cwd="/",
            )

    async def run_inside(self, process: ContainerProcess, command: list[str], setting: "Setting") -> "CommandResult":
        """A command in a running container: an exec probe, a hook. It is killed when its time is over."""
        enter = ["nsenter", "--target", str(process.pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--root"]
        enter += ["--user", "--preserve-credentials"] if setting.own_user_namespace else []
        try:
            child = await asyncio.create_subprocess_exec(
                *enter,
                "--",
                *command,
                env=dict(setting.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return CommandResult(code=126, output=str(error))
        _stand_back(child.pid)
        if setting.group:
            self._groups.attach(setting.group, child.pid)
        try:
            async with asyncio.timeout(setting.within_seconds):
                output, _ = await child.communicate()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
            return CommandResult(code=124, output="", timed_out=True)
        return CommandResult(code=child.returncode or 0, output=output.decode(errors="replace"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a command inside a container runs under."""

    environment: Mapping[str, str]
    within_seconds: float
    group: str = ""
    own_user_namespace: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How a command inside a container ended."""

    code: int
    output: str
    timed_out: bool = False


@contextlib.contextmanager
def _inside(namespace: int) -> Any:
    if namespace < 0:
        yield
        return
    home = kernel.own_network()
    try:
        kernel.enter_network(namespace)
        try:
            yield
        finally:
            kernel.enter_network(home)
    finally:
        os.close(home)


def _stand_back(pid: int) -> None:
    """Before its program runs, so that all that it starts stands back too."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpriority(os.PRIO_PROCESS, pid, PODS_NICE)


def _read_line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(descriptor, 4096)
        if not chunk:
            break
        line += chunk
    return line


def _open_or(parent: int, child: int) -> int:
    """A descriptor of the container's first process, or of bubblewrap if that is gone already."""
    with contextlib.suppress(ProcessLookupError):
        if child:
            return os.pidfd_open(child)
    return os.pidfd_open(parent)


def _wait_for_program(parent: int, child: int) -> None:
    """
    Until the container's first process runs its own program, or bubblewrap has ended.

    Bubblewrap does not tell, so the process's name is looked at: a container that cannot start must not be told as
    started before.
    """
    monitor = os.pidfd_open(parent)
    ended = select.poll()
    ended.register(monitor, select.POLLIN)
    try:
        for _ in range(_EXEC_LOOKS):
            if _name_of(child) != "bwrap" or ended.poll(_EXEC_LOOK_MILLISECONDS):
                return
    finally:
        os.close(monitor)


def _name_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _child_pid(certificate: bytes) -> int:
    for line in certificate.splitlines():
        told = json.loads(line)
        if "child-pid" in told:
            return int(told["child-pid"])
    return 0
