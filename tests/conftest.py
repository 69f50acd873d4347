"""
The cluster that the contract is held against: the lab, or the one of BENCH_KUBECONFIG.

A lab is brought up once for all tests that ask for one, and taken down after the last.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests.contract.target import Target  # noqa: E402  (the line above makes it importable from everywhere)

UP_SECONDS = 180.0
"""A lab is up in seconds; a machine under load gets a minute or three before the tests give up."""
LAB_SIZE = {
    "--nodes": "2",
    "--gpus-per-node": "4",
    "--allocation": "both",
    "--exporter-interval": "2",
    "--scrape-interval": "2",
    "--hpa-sync": "5",
    "--hpa-downscale-stabilization": "5",
}
"""Two nodes with two devices for either way of allocation; short intervals: a test of the chain takes seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningLab:
    """What `bench lab up` brought up, as `bench lab status --json` tells it."""

    name: str
    status: dict[str, Any]

    @property
    def kubeconfig(self) -> Path:
        return Path(self.status["kubeconfig"])

    @property
    def pid(self) -> int:
        return int(self.status["pid"])


def bench(*arguments: str, within_seconds: float = 60.0) -> "subprocess.CompletedProcess[str]":
    """The command line, as a user calls it."""
    command = [sys.executable, "-m", "bench.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=within_seconds, check=False)


def bring_up(name: str, *arguments: str) -> RunningLab:
    """A lab with every service Ready; what it said is the failure where it is not."""
    up = bench("lab", "up", "--name", name, *arguments, within_seconds=UP_SECONDS)
    if up.returncode != 0:
        bench("lab", "down", "--name", name)
        pytest.fail(f"bench lab up exited with {up.returncode}\n{up.stdout}\n{up.stderr}", pytrace=False)
    status = bench("lab", "status", "--name", name, "--json")
    assert status.returncode == 0, status.stderr
    return RunningLab(name=name, status=json.loads(status.stdout))


@pytest.fixture(scope="session")
def lab() -> Iterator[RunningLab]:
    name = f"contract-{os.getpid()}"
    running = bring_up(name, *(word for option in LAB_SIZE.items() for word in option))
    yield running
    down = bench("lab", "down", "--name", name)
    assert down.returncode == 0, down.stderr


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The cluster under contract. What it is named by is the only thing that a test may not ask."""
    scratch = tmp_path_factory.mktemp("target")
    if given := os.environ.get("BENCH_KUBECONFIG"):
        cluster = Target(Path(given), scratch, probe_image=os.environ.get("BENCH_PROBE_IMAGE", ""))
    else:
        running: RunningLab = request.getfixturevalue("lab")
        cluster = Target(running.kubeconfig, scratch, strict=True, probe_image="gpu-bench")
    yield cluster
    cluster.wait_until_nothing_is_left(within_seconds=180)
    cluster.close()


@pytest.fixture
def namespace(target: Target) -> Iterator[str]:
    """A namespace of the test's own; its removal is waited for at the end of all tests."""
    name = target.make_namespace()
    yield name
    target.give_back(name)
