"""Brings a lab up: what is missing is told before anything starts, what fails leaves nothing behind."""

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import bench
from bench.errors import LabExists, LabFailed, PortInUse
from bench.lab.box import leash, lock, remains
from bench.lab.box.leash import Failed, Holder, Progress, Ready
from bench.lab.config import LabConfig
from bench.lab.paths import LabPaths

_KEPT_VARIABLES: Final = re.compile(r"HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|XDG_(CACHE|STATE)_HOME|BENCH_\w+")
_SYSTEM_FOLDERS: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A lab that serves; `holder` keeps it on the leash until let go."""

    paths: LabPaths
    holder: Holder
    ports: Mapping[str, int]
    seconds: float


def bring_up(config: LabConfig, programs: Mapping[str, Path], report: Callable[[Progress], None]) -> Holder:
    """
    Start a lab and return when everything in it serves. It is still held: it ends with the holder.

    `programs` are what it runs, by upstream name.
    """
    paths = LabPaths.of(config.name)
    with contextlib.ExitStack() as on_failure:
        held = _take(paths)
        on_failure.callback(os.close, held)
        _clear(paths.root)
        listeners = _listen(config, on_failure)
        _write(config, paths, programs)
        ours, theirs = socket.socketpair()
        descriptors = {"leash": theirs.fileno()} | {name: each.fileno() for name, each in listeners.items()}
        _start_keeper(paths, held, descriptors)
        theirs.close()
    holder = Holder(ours)
    for message in holder.messages():
        match message:
            case Progress():
                report(message)
            case Ready():
                return holder
            case Failed(message=told):
                _wait_for_the_end(holder)
                raise LabFailed(f"lab {config.name}: {told}. Its logs are in {remains.kept_logs(config.name)}.")
    logs = remains.kept_logs(config.name)
    raise LabFailed(f"lab {config.name}: its first process ended without a word. Its logs are in {logs}.")


def _wait_for_the_end(holder: Holder) -> None:
    for _ in holder.messages():
        continue


def _take(paths: LabPaths) -> int:
    held = lock.take(paths.root)
    if held is None:
        name = paths.root.name
        raise LabExists(
            f"lab {name} runs already: `bench lab status --name {name}` shows it, `bench lab down --name {name}` "
            "takes it down; another --name starts a second one."
        )
    return held


def _clear(root: Path) -> None:
    """What a lab that was killed with its keeper left here."""


def _listen(config: LabConfig, resources: contextlib.ExitStack) -> Mapping[str, socket.socket]:
    wanted = {"api": config.api_port, "prometheus": config.prometheus_port, "gateway": config.gateway_port}
    listeners = {}
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


def _start_keeper(paths: LabPaths, held: int, descriptors: Mapping[str, int]) -> None:
    named = [f"{name}={descriptor}" for name, descriptor in descriptors.items()]
    with (paths.logs / "keeper.log").open("ab") as log:
        subprocess.Popen(
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
    folders = os.environ.get("PATH", "").split(os.pathsep)
    folders += [folder for folder in _SYSTEM_FOLDERS if folder not in folders]
    source = str(Path(bench.__file__).resolve().parent.parent)
    return {**kept, "PATH": os.pathsep.join(folders), "PYTHONPATH": source}
