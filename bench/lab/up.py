"""Brings a lab up: what is missing is told before anything starts, what fails leaves nothing behind."""

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import bench
from bench.errors import LabExists, LabFailed, PortInUse
from bench.lab import preflight
from bench.lab.box import lock, remains
from bench.lab.box.leash import Ended, Failed, Holder, Message, Progress, Ready
from bench.lab.config import LabConfig
from bench.lab.paths import LabPaths

_KEPT_VARIABLES: Final = re.compile(r"HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|XDG_(CACHE|STATE)_HOME|BENCH_\w+")


class Held:
    """A lab that serves. It ends with this object's process, until that lets go."""

    def __init__(
        self, paths: LabPaths, ports: Mapping[str, int], holder: Holder, keeper: "subprocess.Popen[bytes]"
    ) -> None:
        self.paths = paths
        self.ports = ports
        self._holder = holder
        self._keeper = keeper

    def fileno(self) -> int:
        """Readable when the lab has something to say, or has ended."""
        return self._holder.fileno()

    def listen(self) -> Message | None:
        """The next thing that it says; None when it has ended."""
        return self._holder.receive()

    def let_go(self) -> None:
        """From now on the lab outlives this process."""
        self._holder.let_go()
        # It is nobody's child to wait for any more; Popen would complain that it still runs.
        self._keeper.returncode = 0

    def wait_until_gone(self) -> None:
        """Let the lab end, and return when its remains are removed."""
        self._holder.drop()
        self._keeper.wait()


def bring_up(config: LabConfig, programs: Mapping[str, Path], report: Callable[[Progress], None]) -> Held:
    """
    Start a lab and return when everything in it serves.

    `programs` are what it runs, by upstream name. Raises `LabExists`, `PortInUse`, `LabFailed`; nothing is left then.
    """
    _fill_standard_descriptors()
    held = _start(config, programs)
    try:
        failure = _follow(held, report)
    except BaseException:
        held.wait_until_gone()
        raise
    if failure is not None:
        held.wait_until_gone()
        kept = remains.kept_logs(config.name)
        hint = f" Its logs are in {kept}." if kept.is_dir() else ""
        raise LabFailed(f"lab {config.name} did not come up: {failure.rstrip('.')}.{hint}")
    return held


def _follow(held: Held, report: Callable[[Progress], None]) -> str | None:
    """What went wrong, None when everything serves."""
    while (message := held.listen()) is not None:
        match message:
            case Progress():
                report(message)
            case Ready():
                return None
            case Failed(message=told):
                return told
            case Ended(by=who):
                return f"it was ended by {who}"
    return "its first process ended without a word"


def _fill_standard_descriptors() -> None:
    """Who closed one of them would have our lock or a socket take its number, and the keeper start without it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is this one: those below it are open.
            os.open(os.devnull, os.O_RDWR)


def _start(config: LabConfig, programs: Mapping[str, Path]) -> Held:
    paths = LabPaths.of(config.name)
    with contextlib.ExitStack() as handed_on, contextlib.ExitStack() as on_failure:
        lock_descriptor = _take(paths)
        handed_on.callback(os.close, lock_descriptor)
        on_failure.callback(remains.remove, paths.root, keep_logs=False)
        listeners = _listen(config, handed_on)
        _write(config, paths, programs)
        ours, theirs = socket.socketpair()
        handed_on.enter_context(theirs)
        descriptors = {"leash": theirs.fileno()} | {name: each.fileno() for name, each in listeners.items()}
        keeper = _start_keeper(paths, lock_descriptor, descriptors)
        on_failure.pop_all()
        ports = {name: each.getsockname()[1] for name, each in listeners.items()}
    return Held(paths, ports, Holder(ours), keeper)


def _take(paths: LabPaths) -> int:
    held = lock.take(paths.root)
    if held is None:
        name = paths.root.name
        raise LabExists(
            f"lab {name} runs already: `bench lab status --name {name}` shows it, `bench lab down --name {name}` "
            "takes it down; another --name starts a second one."
        )
    # What a lab that was killed with its keeper left in the folder.
    remains.empty(paths.root)
    return held


def _listen(config: LabConfig, resources: contextlib.ExitStack) -> Mapping[str, socket.socket]:
    wanted = {"api": config.api_port, "prometheus": config.prometheus_port, "gateway": config.gateway_port}
    listeners: dict[str, socket.socket] = {}
    for name, port in wanted.items():
        listener = resources.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError as error:
            raise PortInUse(f"--{name}-port {port}: {error.strerror} at 127.0.0.1. 0 takes a free one.") from error
        listeners[name] = listener
    return listeners


def _write(config: LabConfig, paths: LabPaths, programs: Mapping[str, Path]) -> None:
    for folder in (paths.bin, paths.logs):
        folder.mkdir()
    for name, program in programs.items():
        (paths.bin / name).symlink_to(program)
    paths.config.write_text(config.to_json(), encoding="utf-8")


def _start_keeper(paths: LabPaths, held: int, descriptors: Mapping[str, int]) -> "subprocess.Popen[bytes]":
    named = [f"{name}={descriptor}" for name, descriptor in descriptors.items()]
    with (paths.logs / "keeper.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "bench.lab.box.keeper", str(paths.root), str(held), *named],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(held, *descriptors.values()),
            start_new_session=True,
            cwd="/",
        )


def _environment() -> dict[str, str]:
    """Little: a proxy or a kubeconfig of the user's is nothing to the lab."""
    kept = {name: value for name, value in os.environ.items() if _KEPT_VARIABLES.fullmatch(name)}
    source = str(Path(bench.__file__).resolve().parent.parent)
    return {**kept, "PATH": preflight.search_path(), "PYTHONPATH": source}
