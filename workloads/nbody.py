"""
Bodies that attract each other, every one every other: arithmetic with hardly any memory traffic.

`CudaSample.manifests()` runs NVIDIA's sample over and over, as conformance tests of GPU metrics do. `NBody.manifests()`
puts this very file into a pod; below it is the program, which also runs by itself on a machine with a GPU:
``python workloads/nbody.py --seconds 5``. It computes with torch or cupy where CUDA answers, else with numpy, holds
some of its forces against double precision, and looks whether momentum was kept.
"""

import argparse
import importlib
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def _deployment(name: str, replicas: int, pod: dict[str, Any]) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaSample:
    """NVIDIA's nbody, started again and again with a pause, one device a pod."""

    name: str = "nbody-gpu-benchmark"
    replicas: int = 1
    pause_seconds: float = 5.0
    image: str = "nvcr.io/nvidia/k8s/cuda-sample:nbody"
    resource: str = "nvidia.com/gpu"

    def manifests(self) -> list[dict[str, Any]]:
        """One Deployment."""
        loop = f"while true; do sleep {self.pause_seconds:g} && cuda-samples/nbody -gpu -benchmark; done"
        container = {
            "name": "nbody",
            "image": self.image,
            "command": ["/bin/bash", "-c"],
            "args": [loop],
            "resources": {"limits": {self.resource: 1}},
        }
        return [_deployment(self.name, self.replicas, {"terminationGracePeriodSeconds": 1, "containers": [container]})]


@dataclass(frozen=True, slots=True, kw_only=True)
class NBody:
    """A Deployment of pods that run the program below, one device each."""

    name: str = "nbody"
    replicas: int = 1
    bodies: int = 16384
    seconds: float = 86400.0
    image: str = "nvcr.io/nvidia/pytorch:25.08-py3"
    resource: str = "nvidia.com/gpu"

    def manifests(self) -> list[dict[str, Any]]:
        """A ConfigMap with this file, and the Deployment that runs it."""
        container = {
            "name": "nbody",
            "image": self.image,
            "command": ["python3", "/workload/nbody.py", f"--seconds={self.seconds:g}", f"--bodies={self.bodies}"],
            "resources": {"limits": {self.resource: 1}},
            "volumeMounts": [{"name": "program", "mountPath": "/workload", "readOnly": True}],
        }
        pod = {
            "terminationGracePeriodSeconds": 5,
            "containers": [container],
            "volumes": [{"name": "program", "configMap": {"name": self.name}}],
        }
        source = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self.name},
            "data": {"nbody.py": Path(__file__).read_text(encoding="utf-8")},
        }
        return [source, _deployment(self.name, self.replicas, pod)]


# --------------------------------------------------------------------------------------------- the program

OPERATIONS_PER_INTERACTION = 20
"""As NVIDIA's sample counts them: three differences, nine for the distance, and the sum of the forces."""
SOFTENING_SQUARED = 0.01
STEP_SECONDS = 0.0005
ERROR_BOUND_RATIO = 1e-3
BLOCK = 512
"""Bodies whose forces are computed at once on the CPU: the table of distances stays in its cache."""


def find_library() -> tuple[Any, str]:
    """The array library, and where it computes."""
    for name in ("torch", "cupy"):
        try:
            library: Any = importlib.import_module(name)
        except ImportError:
            continue
        if library.cuda.is_available():
            if name == "torch":
                # some images switch it on; ten bits are too few for differences of distances
                library.backends.cuda.matmul.allow_tf32 = False
            return library, "cuda"
    return importlib.import_module("numpy"), "cpu"


def accelerations(library: Any, some: Any, positions: Any, masses: Any) -> Any:
    """Of `some` bodies by all; the same lines in every library, with the square table never on more than a block."""
    squares = (positions * positions).sum(1)
    parts = []
    for start in range(0, len(some), BLOCK):
        block = some[start : start + BLOCK]
        distances = squares[None, :] + (block * block).sum(1)[:, None] - 2.0 * (block @ positions.T)
        # rounding may leave a body a hair below zero from itself
        weights = masses[None, :] * (abs(distances) + SOFTENING_SQUARED) ** -1.5
        parts.append(weights @ positions - weights.sum(1)[:, None] * block)
    return library.concatenate(parts)


@dataclass(slots=True, kw_only=True)
class Bodies:
    """A cluster of bodies at rest in the mean, on whatever the library computes with."""

    library: Any
    place: str
    positions: Any
    velocities: Any
    masses: Any

    @classmethod
    def at_random(cls, library: Any, place: str, count: int) -> "Bodies":
        numpy: Any = importlib.import_module("numpy")
        source = numpy.random.default_rng(20250917)
        positions = source.standard_normal((count, 3)).astype(numpy.float32)
        masses = (source.uniform(0.5, 1.5, count) / count).astype(numpy.float32)
        arrays = (positions, numpy.zeros_like(positions), masses)
        if library.__name__ == "torch":
            arrays = tuple(library.from_numpy(array).to(place) for array in arrays)
        elif library.__name__ == "cupy":
            arrays = tuple(library.asarray(array) for array in arrays)
        return cls(library=library, place=place, positions=arrays[0], velocities=arrays[1], masses=arrays[2])

    def step(self) -> None:
        pull = accelerations(self.library, self.positions, self.positions, self.masses)
        self.velocities = self.velocities + STEP_SECONDS * pull
        self.positions = self.positions + STEP_SECONDS * self.velocities

    def on_cpu(self, array: Any) -> Any:
        """In double precision; waits until the device is done."""
        if self.library.__name__ == "torch":
            array = array.cpu().numpy()
        elif self.library.__name__ == "cupy":
            array = self.library.asnumpy(array)
        return array.astype("float64")

    def force_error_ratio(self) -> float:
        """Of the first bodies' accelerations, against sums over differences in double precision."""
        numpy: Any = importlib.import_module("numpy")
        found = self.on_cpu(accelerations(self.library, self.positions[:16], self.positions, self.masses))
        positions, masses = self.on_cpu(self.positions), self.on_cpu(self.masses)
        differences = positions[None, :, :] - positions[:16, None, :]
        distances = (differences**2).sum(2) + SOFTENING_SQUARED
        expected = (masses[None, :, None] * differences * distances[:, :, None] ** -1.5).sum(1)
        return float(numpy.max(numpy.abs(found - expected)) / numpy.max(numpy.abs(expected)))

    def momentum_ratio(self) -> float:
        """What is left of momentum that should be zero, over the sum of its parts."""
        numpy: Any = importlib.import_module("numpy")
        each = self.on_cpu(self.masses)[:, None] * self.on_cpu(self.velocities)
        return float(numpy.abs(each.sum(0)).max() / max(numpy.abs(each).sum(), 1e-30))


def simulate(bodies: Bodies, seconds: float, stopped: threading.Event) -> dict[str, Any]:
    """At least one step; the result as it is printed."""
    began, steps = time.monotonic(), 0
    while steps == 0 or (not stopped.is_set() and time.monotonic() - began < seconds):
        bodies.step()
        steps += 1
        if steps % 16 == 0:
            bodies.on_cpu(bodies.velocities[:1])  # a device works ahead: wait, or the time means nothing
    bodies.on_cpu(bodies.velocities[:1])
    elapsed = time.monotonic() - began
    interactions = float(len(bodies.masses)) ** 2 * steps
    force_error, momentum = bodies.force_error_ratio(), bodies.momentum_ratio()
    return {
        "library": f"{bodies.library.__name__} {bodies.library.__version__} on {bodies.place}",
        "bodies": len(bodies.masses),
        "steps": steps,
        "seconds": elapsed,
        "gigaflops_per_second": interactions * OPERATIONS_PER_INTERACTION / elapsed / 1e9,
        "force_error_ratio": force_error,
        "momentum_ratio": momentum,
        "verified": force_error <= ERROR_BOUND_RATIO and momentum <= ERROR_BOUND_RATIO,
    }


def main(arguments: list[str]) -> int:
    """Prints the rate, then the result as one JSON line; 1 where the device computed wrongly."""
    parser = argparse.ArgumentParser(description="Gravitation among bodies, all pairs.")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--bodies", type=int, default=2048)
    chosen = parser.parse_args(arguments)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    library, place = find_library()
    result = simulate(Bodies.at_random(library, place, chosen.bodies), chosen.seconds, stopped)
    sys.stdout.write(f"{result['bodies']} bodies, {result['steps']} steps in {result['seconds']:.3f} s\n")
    sys.stdout.write(
        f"= {result['gigaflops_per_second']:.3f} GFLOP/s at {OPERATIONS_PER_INTERACTION} per interaction\n"
    )
    sys.stdout.write(json.dumps(result) + "\n")
    return 0 if result["verified"] else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
