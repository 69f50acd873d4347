"""The workloads' programs: what they compute is right, and wrong results are found out."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workloads import burning_pods, gpu_burn, nbody

ROOT = Path(__file__).resolve().parents[3]


def run(program: str, *arguments: str, **variables: str) -> tuple[int, dict[str, Any]]:
    """As a pod does, with nothing of ours on the path."""
    done = subprocess.run(
        [sys.executable, "-I", ROOT / "workloads" / program, *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def numpy_backend(cores: float = 1.0) -> gpu_burn.NumpyBackend:
    return gpu_burn.NumpyBackend(np, cores=cores, device_bytes_per_byte=16)


def test_burning_computes_rightly_and_says_how_fast() -> None:
    code, told = run("gpu_burn.py", "--seconds=0.3", "--edge=64")

    assert code == 0
    assert told["verified"] is True
    assert told["products"] > 0
    assert told["gigaflops_per_second"] > 0


def test_a_duty_cycle_leaves_the_rest_of_the_time() -> None:
    """In CPU time of the thread, which a busy machine cannot spoil upwards."""
    backend = numpy_backend()
    products = gpu_burn.Products(backend, edge=32, occupancy_ratio=0.1)

    result = gpu_burn.burn(backend, products, gpu_burn.Rhythm(duty_ratio=0.25), 1.0, threading.Event())

    assert 0.05 < result.duty_ratio < 0.35


def test_a_device_of_less_than_a_core_is_full_with_less() -> None:
    began = os.times()
    backend = numpy_backend(cores=0.2)
    products = gpu_burn.Products(backend, edge=32, occupancy_ratio=0.1)

    result = gpu_burn.burn(backend, products, gpu_burn.Rhythm(duty_ratio=1.0), 1.0, threading.Event())

    used = os.times().user - began.user
    assert used < 0.6
    assert result.duty_ratio > 0.4


def test_a_wrong_product_is_found_out() -> None:
    backend = numpy_backend()
    products = gpu_burn.Products(backend, edge=64, occupancy_ratio=0.1)
    products.multiply(1)
    assert products.error_ratio() < gpu_burn.ERROR_BOUND_RATIO

    products._result[0, 5, 7] += 1.0

    assert products.error_ratio() > gpu_burn.ERROR_BOUND_RATIO


def test_occupancy_is_the_share_of_the_units_that_work_at_once() -> None:
    backend = numpy_backend()

    whole = gpu_burn.Products(backend, edge=16, occupancy_ratio=1.0)
    one = gpu_burn.Products(backend, edge=16, occupancy_ratio=0.01)

    assert whole.operations_each == 16 * one.operations_each == 16 * 2 * 16**3


def test_a_part_of_the_device_is_not_exceeded_however_a_library_cuts_its_matrices() -> None:
    """Of 128 rows it may make sixteen blocks, each on a unit of its own; on the whole device each unit has a matrix."""

    class Device(gpu_burn.NumpyBackend):
        units = 132

    backend = Device(np, cores=1.0, device_bytes_per_byte=1)
    products_of_one = 2.0 * 128**3

    part = gpu_burn.Products(backend, edge=128, occupancy_ratio=0.25).operations_each / products_of_one
    whole = gpu_burn.Products(backend, edge=128, occupancy_ratio=1.0).operations_each / products_of_one

    assert part == 2
    assert part * 16 <= 0.25 * 132
    assert whole == 132


def test_memory_is_held_as_long_as_it_is_wanted() -> None:
    held = numpy_backend().hold(16 << 20)

    assert isinstance(held, np.ndarray)
    assert held.nbytes == 1 << 20  # one byte of the CPU for sixteen of the device
    assert held.min() == 1  # written to, or it would not be resident


@pytest.mark.parametrize("ratio", ["1.5", "-0.1"])
def test_a_ratio_outside_its_bounds_is_refused(ratio: str) -> None:
    with pytest.raises(SystemExit):
        gpu_burn.parse([f"--duty-ratio={ratio}"])


def test_bodies_move_as_double_precision_says() -> None:
    code, told = run("nbody.py", "--seconds=0.1", "--bodies=256")

    assert code == 0
    assert told["verified"] is True
    assert told["gigaflops_per_second"] > 0


def test_two_bodies_pull_each_other_as_computed_by_hand() -> None:
    """At a distance of two, masses one and three: m / (d² + softening)^1.5 times the distance."""
    positions = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]], dtype=np.float32)
    masses = np.array([1.0, 3.0], dtype=np.float32)

    pull = nbody.accelerations(np, positions, positions, masses)

    strength = 2.0 / (4.0 + nbody.SOFTENING_SQUARED) ** 1.5
    assert pull[:, 0] == pytest.approx([3.0 * strength, -1.0 * strength], rel=nbody.ERROR_BOUND_RATIO)
    assert not pull[:, 1:].any()


def test_a_wrong_force_is_found_out() -> None:
    """A library whose sums lose a block, as a broken device would."""

    class Forgetful:
        __name__ = "numpy"
        __version__ = "broken"

        def concatenate(self, parts: list[Any]) -> Any:
            return np.concatenate(parts) * 1.01

    bodies = nbody.Bodies.at_random(np, "cpu", 64)
    bodies.library = Forgetful()

    result = nbody.simulate(bodies, 0.0, threading.Event())

    assert result["verified"] is False


@pytest.mark.parametrize(
    "workload", [burning_pods.GpuBurn(replicas=2), nbody.NBody(replicas=2), nbody.CudaSample(replicas=2)]
)
def test_manifests_ask_for_one_device_a_pod_and_bring_their_program(workload: Any) -> None:
    *config, deployment = workload.manifests()

    template = deployment["spec"]["template"]
    [container] = template["spec"]["containers"]
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 1}
    for source in config:
        [text] = source["data"].values()
        compile(text, "program", "exec")
        assert template["spec"]["volumes"][0]["configMap"]["name"] == source["metadata"]["name"]
