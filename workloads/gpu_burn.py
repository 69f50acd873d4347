"""
Load of a known kind on one device: matrix products with a duty cycle, a share of the device, and memory to hold.

One file without imports of ours: `burning_pods` puts it into a pod as it is, and it runs by itself on a machine with a
GPU: ``python workloads/gpu_burn.py --seconds 10 --duty-ratio 0.5``. It computes with torch or cupy where CUDA answers,
else with numpy on the CPU, and compares what it computed with a check that costs a thousandth of the work.

Duty cycle and occupancy are two things. A duty cycle of a half keeps the whole device busy half of the time: NVML's
utilisation shows about 50 %. An occupancy of a quarter keeps a quarter of the multiprocessors busy at most, all of the
time: utilisation shows 100 %, and only the profiling counters see the difference.

Known flaw: on the CPU the duty cycle is kept by CPU time, and one thread can use no more than one core.
"""

import argparse
import ctypes
import importlib
import json
import os
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

CPU_CORES_VARIABLE = "CPU_CORES_PER_DEVICE"
"""How many cores stand in for a whole device where there is no CUDA; one, if nobody says."""
CPU_MEMORY_VARIABLE = "DEVICE_BYTES_PER_CPU_BYTE"
"""How many bytes of a device one byte of the CPU's memory stands in for; one, if nobody says."""
CPU_KERNELS_VARIABLE = "DEVICE_KERNELS_FILE"
"""The file that tells a device which the CPU stands in for what share of it kernels are on; none, if nobody says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """So long at this duty cycle, on this share of the device, holding so much of its memory."""

    seconds: float
    duty_ratio: float
    memory_bytes: int = 0
    occupancy_ratio: float = 1.0

    def __str__(self) -> str:
        return f"{self.seconds:g}:{self.duty_ratio:g}:{self.memory_bytes}:{self.occupancy_ratio:g}"


class Backend(Protocol):
    """Where the products are computed."""

    name: str
    units: int
    """Parts of the device that work at once: multiprocessors, or the rows of blocks that a CPU is given."""

    def put(self, array: Any) -> Any:
        """A numpy array, onto the device."""

    def get(self, array: Any) -> Any:
        """Back again, when all that was asked for is done."""

    def hold(self, memory_bytes: int) -> object:
        """Memory that is there as long as the answer is."""

    def busy_seconds(self) -> float:
        """A clock that advances while the device works for us."""

    def occupy(self, ratio: float) -> None:
        """Kernels from now on are on this share of the device, which a real one sees by itself."""


class TorchBackend:
    """PyTorch on its first CUDA device."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        # some images switch it on, and then products of single precision have ten bits
        torch.backends.cuda.matmul.allow_tf32 = False
        self.name = f"torch {torch.__version__} on {torch.cuda.get_device_name(0)}"
        self.units = int(torch.cuda.get_device_properties(0).multi_processor_count)

    def put(self, array: Any) -> Any:
        return self._torch.from_numpy(array).cuda()

    def get(self, array: Any) -> Any:
        return array.cpu().numpy()

    def hold(self, memory_bytes: int) -> object:
        return self._torch.ones(memory_bytes, dtype=self._torch.uint8, device="cuda")

    def busy_seconds(self) -> float:
        self._torch.cuda.synchronize()
        return time.perf_counter()

    def occupy(self, ratio: float) -> None:
        """Nobody has to be told."""


class CupyBackend:
    """CuPy on its first CUDA device."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        properties = cupy.cuda.runtime.getDeviceProperties(0)
        self.name = f"cupy {cupy.__version__} on {properties['name'].decode()}"
        self.units = int(properties["multiProcessorCount"])

    def put(self, array: Any) -> Any:
        return self._cupy.asarray(array)

    def get(self, array: Any) -> Any:
        return self._cupy.asnumpy(array)

    def hold(self, memory_bytes: int) -> object:
        return self._cupy.ones(memory_bytes, dtype=self._cupy.uint8)

    def busy_seconds(self) -> float:
        self._cupy.cuda.runtime.deviceSynchronize()
        return time.perf_counter()

    def occupy(self, ratio: float) -> None:
        """Nobody has to be told."""


class NumpyBackend:
    """The CPU, standing in for a device of so many cores."""

    units = 16

    def __init__(self, numpy: Any, *, cores: float, device_bytes_per_byte: int, kernels_file: str = "") -> None:
        self._numpy = numpy
        self._cores = cores
        self._device_bytes_per_byte = device_bytes_per_byte
        self._kernels_file = kernels_file
        self.name = f"numpy {numpy.__version__} on the CPU, {cores:g} cores a device"

    def put(self, array: Any) -> Any:
        return array

    def get(self, array: Any) -> Any:
        return array

    def hold(self, memory_bytes: int) -> object:
        # ones, not zeros: pages that were never written are not resident
        return self._numpy.ones(memory_bytes // self._device_bytes_per_byte, dtype=self._numpy.uint8)

    def busy_seconds(self) -> float:
        return time.thread_time() / self._cores

    def occupy(self, ratio: float) -> None:
        if self._kernels_file:
            # in place and always as long, so that a reader never finds half of it
            with open(self._kernels_file, "r+", encoding="ascii") as file:
                file.write(f"{ratio:.6f}\n")


def find_backend(environment: dict[str, str]) -> Backend:
    """The first library that finds a CUDA device, else numpy."""
    makers: tuple[tuple[str, Callable[[Any], Backend]], ...] = (("torch", TorchBackend), ("cupy", CupyBackend))
    for name, make in makers:
        try:
            library: Any = importlib.import_module(name)
        except ImportError:
            continue
        if library.cuda.is_available():
            return make(library)
    return NumpyBackend(
        importlib.import_module("numpy"),
        cores=float(environment.get(CPU_CORES_VARIABLE, "1")),
        device_bytes_per_byte=int(environment.get(CPU_MEMORY_VARIABLE, "1")),
        kernels_file=environment.get(CPU_KERNELS_VARIABLE, ""),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnResult:
    """What was done, and whether it was right."""

    backend: str
    seconds: float
    busy_seconds: float
    products: int
    floating_point_operations: float
    largest_error_ratio: float
    verified: bool

    @property
    def duty_ratio(self) -> float:
        return self.busy_seconds / self.seconds if self.seconds else 0.0


ERROR_BOUND_RATIO = 1e-3
"""Single precision over sums of some hundred terms errs by 1e-6; a wrong bit in a product is far beyond."""

BLOCK_EDGE = 32
"""Rows of the smallest block that a library cuts a product into; it takes larger ones where it likes."""

BURST_SECONDS = 0.004
"""Products are asked for in bursts of this length: to wait for each one would leave a fast device idle in between."""


class Products:
    """
    A batch of products with a check of the result: one for each unit of a whole device.

    Of a part of it as many as are on no more units, into however many blocks a library cuts them; one at least.
    """

    def __init__(self, backend: Backend, *, edge: int, occupancy_ratio: float) -> None:
        self._numpy: Any = importlib.import_module("numpy")
        self._backend = backend
        self._edge = edge
        self.occupancy_ratio = occupancy_ratio
        blocks = 1 if occupancy_ratio >= 1.0 else max(1, edge // BLOCK_EDGE) ** 2
        batch = max(1, int(backend.units * occupancy_ratio / blocks))
        source = self._numpy.random.default_rng(20250917)
        self._left = source.standard_normal((batch, edge, edge), dtype=self._numpy.float32)
        self._right = source.standard_normal((batch, edge, edge), dtype=self._numpy.float32)
        self._on_device = (backend.put(self._left), backend.put(self._right))
        self._result: Any = None
        self._probe = source.standard_normal((batch, edge, 1))
        self.operations_each = 2.0 * batch * edge**3
        self.burst = self._calibrate()

    def _calibrate(self) -> int:
        self.multiply(1)  # libraries are loaded and kernels chosen by the first one
        started = self._backend.busy_seconds()
        self.multiply(8)
        each = (self._backend.busy_seconds() - started) / 8
        return max(1, min(1000, round(BURST_SECONDS / max(each, 1e-6))))

    def sized(self, occupancy_ratio: float) -> "Products":
        """Of matrices of the same size, as many as another occupancy asks for."""
        if occupancy_ratio == self.occupancy_ratio:
            return self
        return Products(self._backend, edge=self._edge, occupancy_ratio=occupancy_ratio)

    def multiply(self, times: int) -> None:
        for _ in range(times):
            self._result = self._on_device[0] @ self._on_device[1]

    def error_ratio(self) -> float:
        """Freivalds' check: the product applied to a vector against its factors applied one after the other."""
        wide = self._numpy.float64
        found = self._backend.get(self._result).astype(wide) @ self._probe
        expected = self._left.astype(wide) @ (self._right.astype(wide) @ self._probe)
        return float(self._numpy.max(self._numpy.abs(found - expected)) / self._numpy.max(self._numpy.abs(expected)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """A share of each period is busy; every period differs a little, so that no sampler falls into step with it."""

    duty_ratio: float
    period_seconds: float = 0.08
    """A twelfth of the second over which NVML may take its mean."""

    def next_period_seconds(self) -> float:
        return self.period_seconds * random.uniform(0.75, 1.25)  # noqa: S311 - no secret


@dataclass(slots=True)
class Burning:
    """The work on one device, step after step, verified about once a second of it and at the end."""

    backend: Backend
    products: Products
    stopped: threading.Event
    busy_seconds: float = 0.0
    count: int = 0
    operations: float = 0.0
    worst_error_ratio: float = 0.0
    _unverified: int = 0
    _verified_at: float = field(default_factory=time.monotonic)

    def run(self, rhythm: Rhythm, until: float) -> None:
        """Until that time of the monotonic clock, or until somebody asks to stop."""
        while not self.stopped.is_set() and time.monotonic() < until:
            began, period = time.monotonic(), rhythm.next_period_seconds()
            self._work(period * rhythm.duty_ratio)
            if self._unverified and time.monotonic() - self._verified_at > 1.0:
                self.verify()
            self.stopped.wait(max(0.0, min(period - (time.monotonic() - began), until - time.monotonic())))

    def change_to(self, products: Products) -> None:
        """Work on these from now on; what was computed of others is verified before."""
        if self._unverified and products is not self.products:
            self.verify()
        self.products = products
        self.backend.occupy(products.occupancy_ratio)

    def _work(self, seconds: float) -> None:
        started = self.backend.busy_seconds()
        while self.backend.busy_seconds() - started < seconds:
            self.products.multiply(self.products.burst)
            self._unverified += self.products.burst
            self.count += self.products.burst
            self.operations += self.products.burst * self.products.operations_each
        self.busy_seconds += self.backend.busy_seconds() - started

    def verify(self) -> None:
        """The last product, against its factors."""
        self.worst_error_ratio = max(self.worst_error_ratio, self.products.error_ratio())
        self._unverified, self._verified_at = 0, time.monotonic()


def burn(backend: Backend, products: Products, rhythm: Rhythm, seconds: float, stopped: threading.Event) -> BurnResult:
    """One duty cycle until the time is over or somebody asks to stop."""
    began = time.monotonic()
    burning = Burning(backend, products, stopped)
    burning.change_to(products)
    burning.run(rhythm, began + seconds)
    return result_of(burning, time.monotonic() - began)


def play(burning: Burning, steps: "tuple[Step, ...]", begin_utc_seconds: float) -> BurnResult:
    """The steps, each told as it begins; those that are over by then are left out."""
    # made before the first step is due, since that takes the device's time
    sized = {ratio: burning.products.sized(ratio) for ratio in {step.occupancy_ratio for step in steps}}
    began = time.monotonic()
    due = began + (begin_utc_seconds - time.time() if begin_utc_seconds else 0.0)
    burning.run(Rhythm(duty_ratio=0.0), due)
    for step in steps:
        due += step.seconds
        if burning.stopped.is_set() or time.monotonic() >= due:
            continue
        held = burning.backend.hold(step.memory_bytes) if step.memory_bytes else None
        burning.change_to(sized[step.occupancy_ratio])
        tell_step(burning, step)
        burning.run(Rhythm(duty_ratio=step.duty_ratio), due)
        del held
    tell_step(burning, Step(seconds=0.0, duty_ratio=0.0))
    return result_of(burning, time.monotonic() - began)


def result_of(burning: Burning, seconds: float) -> BurnResult:
    """What was done by now; the last product is verified."""
    burning.verify()
    return BurnResult(
        backend=burning.backend.name,
        seconds=seconds,
        busy_seconds=burning.busy_seconds,
        products=burning.count,
        floating_point_operations=burning.operations,
        largest_error_ratio=burning.worst_error_ratio,
        verified=burning.worst_error_ratio <= ERROR_BOUND_RATIO,
    )


def tell_step(burning: Burning, step: Step) -> None:
    """What begins now, and the operations that were done until now: what one step did is a difference."""
    tell(
        utc_seconds=time.time(),
        operations=burning.operations,
        duty_ratio=step.duty_ratio,
        memory_bytes=step.memory_bytes,
        occupancy_ratio=step.occupancy_ratio,
    )


def tell(**facts: object) -> None:
    """One JSON line."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def seen_devices() -> list[str]:
    """The UUIDs of the devices that NVML shows here, by the library itself: images need no binding for it."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return []
    count, handle, text = ctypes.c_uint(), ctypes.c_void_p(), ctypes.create_string_buffer(96)
    if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return []
    found = []
    for index in range(count.value):
        if library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)):
            continue  # a device that is lost or not ours
        if not library.nvmlDeviceGetUUID(handle, text, ctypes.c_uint(len(text))):
            found.append(text.value.decode())
    return found


def _ratio(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _steps(text: str) -> tuple[Step, ...]:
    try:
        return tuple(_step(each.split(":")) for each in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: SECONDS:DUTY:BYTES[:OCCUPANCY],... is needed") from error


def _step(parts: list[str]) -> Step:
    seconds, duty, memory, occupancy = (*parts, "1") if len(parts) == 3 else parts
    return Step(
        seconds=float(seconds), duty_ratio=_ratio(duty), memory_bytes=int(memory), occupancy_ratio=_ratio(occupancy)
    )


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Matrix products of a known intensity on one device.")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--duty-ratio", type=_ratio, default=1.0, help="share of the time in which the device works")
    parser.add_argument(
        "--occupancy-ratio", type=_ratio, default=1.0, help="share of the device that works then, at most"
    )
    parser.add_argument("--memory-bytes", type=int, default=0, help="device memory to hold beside the matrices")
    parser.add_argument(
        "--steps", type=_steps, default=(), help="SECONDS:DUTY:BYTES[:OCCUPANCY],... instead of one of each"
    )
    parser.add_argument("--begin-utc", type=float, default=0.0, help="when the first step is due, UTC seconds")
    parser.add_argument("--edge", type=int, default=128, help="rows of each matrix")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Prints what it does, then the result as one JSON line; 1 where the device computed wrongly."""
    chosen = parse(arguments)
    # numpy's own threads would use more cores than stand in for the device
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    tell(utc_seconds=time.time(), devices=seen_devices())
    backend = find_backend(dict(os.environ))
    held = backend.hold(chosen.memory_bytes) if chosen.memory_bytes else None
    products = Products(backend, edge=chosen.edge, occupancy_ratio=chosen.occupancy_ratio)
    if chosen.steps:
        result = play(Burning(backend, products, stopped), chosen.steps, chosen.begin_utc)
    else:
        sys.stdout.write(f"{backend.name}: {chosen.seconds:g} s at duty {chosen.duty_ratio:g}\n")
        sys.stdout.flush()
        result = burn(backend, products, Rhythm(duty_ratio=chosen.duty_ratio), chosen.seconds, stopped)
    del held
    gigaflops = result.floating_point_operations / result.seconds / 1e9 if result.seconds else 0.0
    sys.stdout.write(f"{gigaflops:.3f} GFLOP/s over {result.seconds:.2f} s, {result.products} products\n")
    summary = {
        "backend": result.backend,
        "seconds": result.seconds,
        "duty_ratio": result.duty_ratio,
        "products": result.products,
        "gigaflops_per_second": gigaflops,
        "largest_error_ratio": result.largest_error_ratio,
        "verified": result.verified,
    }
    sys.stdout.write(json.dumps(summary) + "\n")
    return 0 if result.verified else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
