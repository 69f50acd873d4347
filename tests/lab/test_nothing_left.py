"""Whatever ends a lab, and however rudely, nothing of it stays on the machine."""

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.lab.leftovers import Traces, interfaces, left_by, now_ticks, seconds_until_nothing_is_left, take_traces
from tests.lab.running import ROOT, RunningLab, bench, command, running_lab, status_of, unique_name

pytestmark = pytest.mark.lab

SMALL = ("--nodes", "1", "--gpus", "1")
END_SECONDS = 10.0
"""Five times the budget, for a machine that does something else as well; the budget itself is measured by bench_lab."""


@pytest.fixture
def small() -> Iterator[tuple[RunningLab, Traces]]:
    """A lab of the test's own, with a pod that runs, and what it can be recognised by."""
    before = interfaces()
    with running_lab(unique_name("left"), *SMALL) as lab:
        traces = take_traces(lab, before)
        assert left_by(traces, now_ticks()), "the traces find a lab that runs"
        yield lab, traces


def test_after_down_nothing_is_left(small: tuple[RunningLab, Traces]) -> None:
    lab, traces = small

    end_ticks = now_ticks()
    down = bench("lab", "down", "--name", lab.name)

    assert down.returncode == 0, down.stderr
    assert left_by(traces, end_ticks) == []


def test_after_the_supervisor_was_killed_nothing_is_left(small: tuple[RunningLab, Traces]) -> None:
    lab, traces = small

    end_ticks = now_ticks()
    os.kill(lab.pid, signal.SIGKILL)

    seconds_until_nothing_is_left(traces, end_ticks, within_seconds=END_SECONDS)


def test_after_the_agent_was_killed_the_lab_goes_on_and_down_leaves_nothing(small: tuple[RunningLab, Traces]) -> None:
    lab, traces = small
    agent = next(pid for pid in _processes_with("bench.lab.kubelet") if pid in _in_lab(lab))

    os.kill(agent, signal.SIGKILL)

    assert status_of(lab.name)["pid"] == lab.pid
    end_ticks = now_ticks()
    assert bench("lab", "down", "--name", lab.name).returncode == 0
    assert left_by(traces, end_ticks) == []


def test_an_up_that_is_killed_on_its_way_leaves_nothing() -> None:
    name = unique_name("cut")
    before = interfaces()
    up = subprocess.Popen(
        command("lab", "up", "--name", name, *SMALL), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert up.stdout is not None
    up.stdout.readline()
    end_ticks = now_ticks()
    up.kill()
    up.stdout.close()
    up.wait(timeout=30)

    from bench.lab.paths import LabPaths  # noqa: PLC0415

    root = str(LabPaths.of(name).root)
    traces = Traces(name=name, root=root, namespaces=frozenset(), ports=frozenset(), interfaces=before)
    seconds_until_nothing_is_left(traces, end_ticks, within_seconds=END_SECONDS)


def _processes_with(word: str) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if word.encode() in file.read().split(b"\0"):
                    found.append(int(name))
        except OSError:
            continue
    return found


def _in_lab(lab: RunningLab) -> set[int]:
    """Processes in the PID namespace of the lab."""
    inside = os.readlink(f"/proc/{lab.pid}/ns/pid")
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{name}/ns/pid") == inside:
                found.add(int(name))
        except OSError:
            continue
    return found
