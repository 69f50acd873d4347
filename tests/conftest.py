"""
The cluster that the contract is held against: the lab, or the one of BENCH_KUBECONFIG.

A lab is brought up once for all tests that ask for one, and taken down after the last.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests.contract.target import Target  # noqa: E402  (the line above makes it importable from everywhere)
from tests.lab.running import RunningLab, bench, bring_up, unique_name  # noqa: E402

LAB_SIZE = {
    "--nodes": "2",
    "--gpus": "4",
    "--allocation": "both",
    "--exporter-interval": "2",
    "--scrape-interval": "2",
    "--hpa-sync": "5",
    "--hpa-stabilization": "5",
}
"""Two nodes with two devices for either way of allocation; short intervals: a test of the chain takes seconds."""


@pytest.fixture(scope="session")
def lab() -> Iterator[RunningLab]:
    running = bring_up(unique_name("contract"), *(word for option in LAB_SIZE.items() for word in option))
    yield running
    down = bench("lab", "down", "--name", running.name)
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
