"""The intruder tells what it sees and what it met; what it looks for in memory it would find if it were there."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from workloads import intruder
from workloads.intruder import Intruder

ROOT = Path(__file__).resolve().parents[3]


def run(*arguments: str) -> dict[str, Any]:
    """As a pod does, with nothing of ours on the path, on a machine of whatever kind."""
    command = [sys.executable, "-I", ROOT / "workloads" / "intruder.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_it_tells_every_attempt_and_what_each_met() -> None:
    told = run("--owner=me", "--minors=3")

    routes = [(route, what) for route, what, _, _ in told["attempts"] if route in {"open", "mknod"}]
    assert routes == [(route, f"/dev/nvidia{minor}") for minor in range(3) for route in ("open", "mknod")]
    assert all(outcome for _, _, outcome, _ in told["attempts"])
    assert set(told["looks"]) == {"device-files", "nvml", "cuda"}
    assert told["began"] <= told["ended"]


def test_who_holds_tries_again_at_the_end() -> None:
    told = run("--minors=1", "--hold-seconds=0.3")

    times = sorted({at for *_, at in told["attempts"]})
    assert len(times) == 2
    assert told["ended"] - told["began"] >= 0.3


def test_an_outcome_is_reached_or_what_stood_in_the_way(tmp_path: Path) -> None:
    def refuse() -> None:
        raise intruder.NotThere("NVMLError_NotFound")

    assert intruder.outcome_of(lambda: None) == intruder.REACHED
    assert intruder.outcome_of(refuse) == "NVMLError_NotFound"
    assert intruder.outcome_of(lambda: intruder.open_device(str(tmp_path / "none"))) == "ENOENT"


def test_a_device_file_that_opens_is_reached() -> None:
    assert intruder.outcome_of(lambda: intruder.open_device(os.devnull)) == intruder.REACHED


def test_a_mark_is_found_with_its_owner_and_of_this_run_alone() -> None:
    block = intruder.block_of("run-1", "writer")
    other = intruder.block_of("run-2", "stranger")

    assert len(block) == intruder.BLOCK_BYTES
    assert intruder.owners_in(iter([bytes(4096), bytes(100) + block * 3 + other]), "run-1") == {"writer"}
    assert intruder.owners_in(iter([bytes(4096)]), "run-1") == set()


def test_a_mark_at_the_end_of_a_chunk_is_found_in_the_next_block() -> None:
    content = intruder.block_of("run", "a") * 40
    cut = [content[start : start + 1000] for start in range(0, len(content), 1000)]

    assert "a" in intruder.owners_in(iter(cut), "run")


def test_a_pod_asks_for_a_device_by_a_count_or_by_a_claim() -> None:
    made = {"name": "one", "namespace": "here", "node": "n"}
    counted = Intruder(**made, resource="nvidia.com/gpu").manifest()["spec"]
    claimed = Intruder(**made, claim_template="device").manifest()["spec"]
    asks_nothing = Intruder(**made).manifest()["spec"]

    assert counted["containers"][0]["resources"] == {"limits": {"nvidia.com/gpu": 1}}
    assert claimed["containers"][0]["resources"] == {"claims": [{"name": "device"}]}
    assert claimed["resourceClaims"] == [{"name": "device", "resourceClaimTemplateName": "device"}]
    assert asks_nothing["containers"][0]["resources"] == {}


def test_the_other_container_asks_for_nothing() -> None:
    made = Intruder(name="two", namespace="here", node="n", resource="nvidia.com/gpu", has_other=True).manifest()

    first, other = made["spec"]["containers"]
    assert (first["name"], other["name"]) == (intruder.CONTAINER, intruder.OTHER)
    assert first["command"] == other["command"]
    assert other["resources"] == {}


@pytest.mark.parametrize("path", ["/var/run/nvidia-container-devices/all", "/mnt"])
def test_what_is_mounted_is_a_volume_of_the_pod(path: str) -> None:
    made = Intruder(name="m", namespace="here", node="n", mounts={path: {"emptyDir": {}}}).manifest()["spec"]

    (mount,) = [each for each in made["containers"][0]["volumeMounts"] if each["mountPath"] == path]
    assert {"name": mount["name"], "emptyDir": {}} in made["volumes"]
