"""Labs for tests, brought up and taken down by the command line as a user does it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.lab.paths import LabPaths

ROOT = Path(__file__).resolve().parents[2]
UP_SECONDS = 240.0
"""A lab is up in seconds; a machine under load gets minutes before anyone gives up."""


class LabNotUp(AssertionError):
    """`bench lab up` failed; the message is what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningLab:
    """What `bench lab up` brought up, as `bench lab status --json` tells it."""

    name: str
    status: dict[str, Any]
    up_seconds: float

    @property
    def kubeconfig(self) -> Path:
        return Path(self.status["kubeconfig"])

    @property
    def pid(self) -> int:
        """Of the supervisor, PID 1 of the lab, as this machine numbers it."""
        return int(self.status["pid"])

    @property
    def paths(self) -> LabPaths:
        return LabPaths.of(self.name)


def command(*arguments: str) -> list[str]:
    """The command line, as a user calls it."""
    return [sys.executable, "-m", "bench.cli", *arguments]


def bench(*arguments: str, within_seconds: float = 60.0) -> "subprocess.CompletedProcess[str]":
    """One call of the command line, to its end."""
    called = command(*arguments)
    return subprocess.run(called, cwd=ROOT, capture_output=True, text=True, timeout=within_seconds, check=False)


def unique_name(word: str) -> str:
    """A lab of its own for each process that tests."""
    return f"{word}-{os.getpid()}"


def status_of(name: str) -> dict[str, Any]:
    """What `bench lab status` tells a program."""
    told = bench("lab", "status", "--name", name, "--json")
    assert told.returncode == 0, told.stderr
    status: dict[str, Any] = json.loads(told.stdout)
    return status


def bring_up(name: str, *arguments: str) -> RunningLab:
    """A lab with every service Ready."""
    began = time.monotonic()
    up = bench("lab", "up", "--name", name, *arguments, within_seconds=UP_SECONDS)
    up_seconds = time.monotonic() - began
    if up.returncode != 0:
        bench("lab", "down", "--name", name)
        raise LabNotUp(f"bench lab up exited with {up.returncode}\n{up.stdout}\n{up.stderr}")
    return RunningLab(name=name, status=status_of(name), up_seconds=up_seconds)


@contextmanager
def running_lab(name: str, *arguments: str) -> Iterator[RunningLab]:
    """A lab for the duration of a block; it may end inside of it."""
    lab = bring_up(name, *arguments)
    try:
        yield lab
    finally:
        bench("lab", "down", "--name", name)
