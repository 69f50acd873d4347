"""Programs that others wrote for real devices, unchanged, started as in a container."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.lab.gpu.small_lab import SmallLab

Run = Callable[..., str]
SCRIPTS = Path(sysconfig.get_path("scripts"))


@pytest.fixture
def lab(make_lab: Callable[..., SmallLab]) -> SmallLab:
    made = make_lab(gpus_per_node=3)
    made.give("other", {"nvidia.com/gpu": "1"})
    return made


@pytest.fixture
def run(lab: SmallLab, nvml_library: Path) -> Run:
    """A program of a pod that holds two of the node's three devices, half busy."""
    folder = lab.folder(lab.give("a", {"nvidia.com/gpu": "2"}))
    lab.run(0.1, cores={"a": 0.0})
    lab.run(2.0, cores={"a": 0.4}, memory_bytes=100 << 20)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(nvml_library.parent), "LAB_NVML_DEVICES": str(folder)}

    def start(*command: str | Path, **more: str) -> str:
        done = subprocess.run(
            command, env={**environment, **more}, check=True, capture_output=True, text=True, timeout=20
        )
        return done.stdout

    return start


def uuids_of(lab: SmallLab, pod: str) -> list[str]:
    [entry] = [entry for entry in lab.devices.pod_resources("gpu-node-1") if entry["name"] == f"pod-{pod}"]
    return [uuid for device in entry["containers"][0]["devices"] for uuid in device["device_ids"]]


def test_gpustat_lists_the_pods_devices(lab: SmallLab, run: Run) -> None:
    told = json.loads(run(SCRIPTS / "gpustat", "--json"))

    assert [gpu["uuid"] for gpu in told["gpus"]] == uuids_of(lab, "a")
    assert [gpu["utilization.gpu"] for gpu in told["gpus"]] == [50, 50]
    assert [gpu["memory.total"] for gpu in told["gpus"]] == [81559, 81559]


def test_nvitop_shows_the_pods_devices(run: Run) -> None:
    told = run(SCRIPTS / "nvitop", "--once", "--ascii", LINES="60", COLUMNS="100")

    assert told.count("H100 80GB HBM3") == 2
    assert told.count("800.0MiB / 79.65GiB") == 2
    assert told.count("50%") >= 2


def test_nvidia_smi_of_the_lab_lists_and_queries(lab: SmallLab, run: Run) -> None:
    module = [sys.executable, "-m", "bench.lab.programs.nvidia_smi"]

    listed = run(*module, "-L")
    queried = run(*module, "--query-gpu=uuid,utilization.gpu,memory.used", "--format=csv,noheader,nounits")

    first, second = uuids_of(lab, "a")
    assert listed.splitlines()[1] == f"GPU 1: NVIDIA H100 80GB HBM3 (UUID: {second})"
    assert queried.splitlines()[0] == f"{first}, 50, 800"
    assert "50%" in run(*module)


def test_the_nbody_sample_computes_on_a_device_and_fails_without(run: Run) -> None:
    sample = [sys.executable, "-m", "bench.lab.programs.nbody", "nbody", "-gpu", "-benchmark", "-numbodies=256"]

    told = run(*sample)

    assert "> Compute 9.0 CUDA device: [NVIDIA H100 80GB HBM3]" in told
    assert "256 bodies, total time for 10 iterations:" in told
    assert "single-precision GFLOP/s at 20 flops per interaction" in told
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run(*sample, LAB_NVML_DEVICES="/nonexistent")
    assert failed.value.returncode == 1
    assert "no CUDA-capable device is detected" in failed.value.stderr


def test_the_nbody_sample_has_fewer_bodies_on_a_mig_instance(
    make_lab: Callable[..., SmallLab], nvml_library: Path
) -> None:
    """It computes as long on a seventh of a device as on the whole of it, or less."""
    made = make_lab(gpus_per_node=1, mig_profile="1g.10gb")
    folder = made.folder(made.give("a", {"nvidia.com/mig-1g.10gb": "1"}))
    made.run(0.1, cores={"a": 0.0})
    environment = {**os.environ, "LD_LIBRARY_PATH": str(nvml_library.parent), "LAB_NVML_DEVICES": str(folder)}

    done = subprocess.run(
        [sys.executable, "-m", "bench.lab.programs.nbody", "-gpu", "-benchmark", "-i=1"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert "1536 bodies, total time for 1 iterations:" in done.stdout
