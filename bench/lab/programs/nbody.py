"""
The program behind NVIDIA's image ``cuda-sample:nbody``: its options, its output, and a real computation.

It takes a device as CUDA does, through the driver's library, and fails without one as the sample does. The bodies are
moved on the CPU, for the lab's devices have no arithmetic of their own: the CPU time it uses is what makes its device
busy. The rates are therefore those of a CPU. It has fewer bodies than the sample's 40960, so that a run takes seconds.
"""

import argparse
import math
import os
import sys
import time
from dataclasses import dataclass
from typing import Final

import pynvml

DEFAULT_BODIES: Final = 8192
"""On a whole device; the sample's own number follows from the multiprocessors, and so does this one's."""
_SLICES: Final = 7
"""Of compute in a device that is cut into MIG instances."""
DEFAULT_ITERATIONS: Final = 10
OPERATIONS_PER_INTERACTION: Final = 20
_BLOCK: Final = 512
_SOFTENING_SQUARED: Final = 0.01
_STEP_SECONDS: Final = 0.016
_ARCHITECTURES: Final = {6: "Turing", 7: "Ampere", 8: "Ada", 9: "Hopper"}


class NoDevice(Exception):
    """CUDA would find nothing to run on; the message is the sample's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstDevice:
    """What CUDA would number 0."""

    name: str
    architecture: int
    compute_capability: tuple[int, int]
    slices: int

    @property
    def bodies(self) -> int:
        """As many as its part of a whole device has to do with, in whole blocks."""
        return math.ceil(DEFAULT_BODIES * self.slices / _SLICES / _BLOCK) * _BLOCK


def first_device() -> FirstDevice:
    """`NoDevice` where there is none."""
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        return FirstDevice(
            name=pynvml.nvmlDeviceGetName(handle),
            architecture=pynvml.nvmlDeviceGetArchitecture(handle),
            compute_capability=pynvml.nvmlDeviceGetCudaComputeCapability(handle),
            slices=_slices(handle),
        )
    except pynvml.NVMLError as error:
        raise NoDevice(
            "CUDA error: no CUDA-capable device is detected (cudaErrorNoDevice, 100)\n"
            "Error: only 0 Devices available, 1 requested.  Exiting.\n"
        ) from error


def _slices(device: object) -> int:
    """Of the MIG instance that the container was given; all of them where it has the whole device."""
    try:
        instance = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(device, 0)
        return int(pynvml.nvmlDeviceGetAttributes_v2(instance).computeInstanceSliceCount)
    except pynvml.NVMLError:
        return _SLICES


def simulate(bodies: int, iterations: int) -> float:
    """Seconds that the iterations took."""
    import numpy as np  # noqa: PLC0415 - after the number of its threads is set, and not at all without a device

    source = np.random.default_rng(1)
    positions = source.standard_normal((bodies, 3), dtype=np.float32)
    velocities = np.zeros_like(positions)
    masses = np.full(bodies, 1.0 / bodies, dtype=np.float32)
    began = time.perf_counter()
    for _ in range(iterations):
        squares = (positions * positions).sum(1)
        for start in range(0, bodies, _BLOCK):
            block = positions[start : start + _BLOCK]
            distances = squares[None, :] + squares[start : start + _BLOCK, None] - 2.0 * (block @ positions.T)
            weights = masses[None, :] * (np.abs(distances) + np.float32(_SOFTENING_SQUARED)) ** -1.5
            velocities[start : start + _BLOCK] += _STEP_SECONDS * (
                weights @ positions - weights.sum(1)[:, None] * block
            )
        positions += _STEP_SECONDS * velocities
    elapsed = time.perf_counter() - began
    if not np.isfinite(positions).all():
        raise ArithmeticError("nbody: the bodies left the range of single precision")
    return elapsed


def report(bodies: int, iterations: int, seconds: float) -> str:
    """The three lines that tools look for."""
    per_second = float(bodies) ** 2 * iterations / seconds / 1e9
    return (
        f"{bodies} bodies, total time for {iterations} iterations: {seconds * 1000:.3f} ms\n"
        f"= {per_second:.3f} billion interactions per second\n"
        f"= {per_second * OPERATIONS_PER_INTERACTION:.3f} single-precision GFLOP/s "
        f"at {OPERATIONS_PER_INTERACTION} flops per interaction\n"
    )


def parse(arguments: list[str]) -> argparse.Namespace:
    """The sample's options, with one dash; a leading program name, as the image's users write it, is passed over."""
    if arguments and os.path.basename(arguments[0]) == "nbody":
        arguments = arguments[1:]
    parser = argparse.ArgumentParser(prog="nbody", allow_abbrev=False)
    for name in ("gpu", "benchmark", "fp64", "hostmem", "compare", "qatest", "cpu", "fullscreen"):
        parser.add_argument(f"-{name}", action="store_true")
    for name, default in (("numbodies", 0), ("i", DEFAULT_ITERATIONS), ("numdevices", 1), ("device", 0)):
        parser.add_argument(f"-{name}", type=int, default=default)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    chosen = parse(arguments)
    sys.stdout.write(
        'Run "nbody -benchmark [-numbodies=<numBodies>]" to measure performance.\n\n'
        "> Windowed mode\n> Simulation data stored in video memory\n> Single precision floating point simulation\n"
    )
    try:
        device = first_device()
    except NoDevice as error:
        sys.stdout.flush()
        sys.stderr.write(str(error))
        return 1
    version = "{}.{}".format(*device.compute_capability)
    family = _ARCHITECTURES.get(device.architecture, "Graphics Device")
    sys.stdout.write(f'> {chosen.numdevices} Devices used for simulation\nGPU Device 0: "{family}" ')
    sys.stdout.write(f"with compute capability {version}\n\n> Compute {version} CUDA device: [{device.name}]\n")
    sys.stdout.flush()
    # the quota of the device's control group is less than a core: more threads would only wait for each other
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    bodies = chosen.numbodies or device.bodies
    sys.stdout.write(report(bodies, chosen.i, simulate(bodies, chosen.i)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
