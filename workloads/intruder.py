"""
A pod that looks for accelerators, and tries by every way it knows to come to those that it was not given.

`Intruder.manifest()` is the pod; `source()` is the ConfigMap with this very file, which is the program that the pod
runs: ``python3 workloads/intruder.py`` also runs by itself on a machine with GPUs. It needs pynvml for what NVML says,
libcuda for what CUDA says, and works without either: a way that is not there is told, with the reason.

It tells one JSON line: what it sees, every attempt with what the attempt met, and of device memory whether it found
there what an owner before it had left. It changes nothing but memory that it was given.
"""

import argparse
import contextlib
import ctypes
import errno
import importlib
import json
import os
import signal
import stat
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

PROGRAM = "intruder"
CONTAINER = "intruder"
OTHER = "other"
"""Of a pod with two containers, the one that asked for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intruder:
    """One pod on one node; it may ask for a device by a count or by a claim, or for none."""

    name: str
    namespace: str
    node: str
    image: str = "gpu-bench:0.1.0"
    runtime_class: str = ""
    resource: str = ""
    """An extended resource of which it asks; empty: it does not."""
    count: int = 1
    """How many of it."""
    claim_template: str = ""
    """A ResourceClaimTemplate by which it asks for a device; empty: it does not."""
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Path in the container → a volume's source."""
    has_other: bool = False
    """A second container beside it, which asks for nothing."""

    def manifest(self) -> dict[str, Any]:
        """The Pod; it runs to its end once."""
        volumes = [{"name": f"mount-{number}", **source} for number, source in enumerate(self.mounts.values())]
        fields = [{"key": "metadata.name", "operator": "In", "values": [self.node]}]
        spec: dict[str, Any] = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 2,
            # by affinity and not by nodeName: the scheduler is to give the devices
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": fields}]}
                }
            },
            "tolerations": [{"operator": "Exists"}],
            "containers": [self._container(CONTAINER, asks=True)],
            "volumes": [{"name": "program", "configMap": {"name": PROGRAM}}, *volumes],
        }
        if self.has_other:
            spec["containers"].append(self._container(OTHER, asks=False))
        if self.claim_template:
            spec["resourceClaims"] = [{"name": "device", "resourceClaimTemplateName": self.claim_template}]
        if self.runtime_class:
            spec["runtimeClassName"] = self.runtime_class
        metadata = {"name": self.name, "namespace": self.namespace, "annotations": dict(self.annotations)}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    def _container(self, name: str, *, asks: bool) -> dict[str, Any]:
        own = [{"name": f"mount-{number}", "mountPath": path} for number, path in enumerate(self.mounts)]
        asked: dict[str, Any] = {"limits": {self.resource: self.count}} if self.resource and asks else {}
        if self.claim_template and asks:
            asked["claims"] = [{"name": "device"}]
        return {
            "name": name,
            "image": self.image,
            "command": ["python3", f"/program/{PROGRAM}.py", f"--owner={self.name}", *self.arguments],
            "env": [{"name": key, "value": value} for key, value in self.environment.items()],
            "resources": asked,
            "volumeMounts": [{"name": "program", "mountPath": "/program", "readOnly": True}, *own],
        }


def source(namespace: str) -> dict[str, Any]:
    """The ConfigMap with this file."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": PROGRAM, "namespace": namespace},
        "data": {f"{PROGRAM}.py": Path(__file__).read_text(encoding="utf-8")},
    }


# --------------------------------------------------------------------------------------------- the program

NVIDIA_MAJOR = 195
"""Of the character devices /dev/nvidia0, 1 …, fixed in the kernel's list."""
ORDINALS = 16
REACHED = "reached"
MARK = b"bench-left-this:"
BLOCK_BYTES = 256
"""What is written again and again: the mark, the run, the owner's name, and zeros."""
CHUNK_BYTES = 4 << 20
LEAST_BYTES = 1 << 20


class NotThere(Exception):
    """A library that is missing, or that finds no device; the message is its own."""


class Cuda:
    """The driver's library: devices, and memory on them."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise NotThere(str(error)) from error
        self.call("cuInit", 0)
        count = ctypes.c_int()
        self.call("cuDeviceGetCount", ctypes.byref(count))
        self.uuids = [self._uuid(ordinal) for ordinal in range(count.value)]

    def call(self, name: str, *arguments: Any) -> None:
        """Raises NotThere with the driver's name of what went wrong."""
        try:
            code = getattr(self._library, name)(*arguments)
        except AttributeError as error:
            raise NotThere(f"this driver has no {name}") from error
        if code:
            text = ctypes.c_char_p()
            self._library.cuGetErrorName(code, ctypes.byref(text))
            raise NotThere((text.value or str(code).encode()).decode())

    def _uuid(self, ordinal: int) -> str:
        found = (ctypes.c_ubyte * 16)()
        self.call("cuDeviceGetUuid_v2", found, ordinal)
        return str(uuid.UUID(bytes=bytes(found)))

    def reach(self, ordinal: int) -> None:
        """Raises NotThere for an ordinal that is not ours."""
        self.call("cuDeviceGet", ctypes.byref(ctypes.c_int()), ordinal)

    def allocate(self, ordinal: int, most_bytes: int) -> "Memory":
        """As much as there is, halving what is asked for; uninitialised, as any program gets it."""
        context, address = ctypes.c_void_p(), ctypes.c_uint64()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), ordinal)
        self.call("cuCtxSetCurrent", context)
        size = most_bytes
        while True:
            try:
                self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
            except NotThere:
                size //= 2
                if size < LEAST_BYTES:
                    raise
            else:
                return Memory(self, address.value, size)


class Memory:
    """Device memory of ours; given back when the process ends, as it was left."""

    def __init__(self, cuda: Cuda, address: int, size: int) -> None:
        self.size = size
        self._cuda = cuda
        self._address = address

    def read(self) -> Iterator[bytes]:
        """Its content, chunk by chunk."""
        buffer = ctypes.create_string_buffer(CHUNK_BYTES)
        for start in range(0, self.size, CHUNK_BYTES):
            length = min(CHUNK_BYTES, self.size - start)
            self._cuda.call("cuMemcpyDtoH_v2", buffer, ctypes.c_uint64(self._address + start), ctypes.c_size_t(length))
            yield buffer.raw[:length]

    def fill(self, block: bytes) -> None:
        """The block again and again."""
        chunk = block * (CHUNK_BYTES // len(block))
        for start in range(0, self.size, CHUNK_BYTES):
            length = ctypes.c_size_t(min(CHUNK_BYTES, self.size - start))
            self._cuda.call("cuMemcpyHtoD_v2", ctypes.c_uint64(self._address + start), chunk, length)


def block_of(run: str, owner: str) -> bytes:
    """What an owner leaves."""
    return (MARK + f"{run}/{owner}".encode()).ljust(BLOCK_BYTES, b"\0")


def owners_in(content: Iterator[bytes], run: str) -> set[str]:
    """The owners of this run whose mark is found; a mark that a chunk's end cuts is found elsewhere in the chunk."""
    wanted = MARK + f"{run}/".encode()
    found = set()
    for chunk in content:
        at = chunk.find(wanted)
        while at >= 0:
            owner = chunk[at + len(wanted) : at + BLOCK_BYTES].split(b"\0", 1)[0].decode(errors="replace")
            found.add(owner)
            at = chunk.find(wanted, at + BLOCK_BYTES)
            if len(found) > ORDINALS:
                break
    return found


def look_at_nodes() -> list[str]:
    """Device files as they are listed."""
    return sorted(name for name in os.listdir("/dev") if name.startswith("nvidia") and name[6:].isdigit())


class Nvml:
    """What NVML enumerates: UUIDs, and the minor number of each."""

    def __init__(self) -> None:
        try:
            self._nvml: Any = importlib.import_module("pynvml")
            self._nvml.nvmlInit()
        except ImportError as error:
            raise NotThere(str(error)) from error
        except self._nvml.NVMLError as error:
            raise NotThere(type(error).__name__) from error
        self.minors: dict[str, int | None] = {}
        for index in range(self._nvml.nvmlDeviceGetCount()):
            handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
            for each in self._instances(handle) or [handle]:
                self.minors[self._nvml.nvmlDeviceGetUUID(each)] = self._minor(handle)

    def _instances(self, handle: Any) -> list[Any]:
        """MIG instances, which are what a program gets of a device that is cut."""
        nvml, found = self._nvml, []
        with contextlib.suppress(nvml.NVMLError):  # the product has no MIG, or no more instances
            for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
                found += [nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)]
        return found

    def _minor(self, handle: Any) -> int | None:
        try:
            return int(self._nvml.nvmlDeviceGetMinorNumber(handle))
        except self._nvml.NVMLError:
            return None

    def reach(self, name: str) -> None:
        """Raises NotThere for a UUID that NVML does not give us."""
        try:
            self._nvml.nvmlDeviceGetHandleByUUID(name)
        except self._nvml.NVMLError as error:
            raise NotThere(type(error).__name__) from error


def outcome_of(attempt: Callable[[], None]) -> str:
    """`reached`, or the name of what stood in the way."""
    try:
        attempt()
    except NotThere as refusal:
        return str(refusal)
    except OSError as refusal:
        return errno.errorcode.get(refusal.errno or 0, str(refusal.errno))
    return REACHED


def open_device(path: str) -> None:
    """As a driver's library would."""
    os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))


def make_device(minor: int) -> None:
    """A device file of our own making, for the same device."""
    path = f"/tmp/bench-nvidia{minor}"  # noqa: S108 - in the container's own root
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(NVIDIA_MAJOR, minor))
        open_device(path)
    finally:
        if os.path.lexists(path):
            os.unlink(path)


@dataclass(slots=True)
class Program:
    """One look and its attempts, gathered into what is told."""

    minors: int
    uuids: tuple[str, ...]
    told: dict[str, Any]
    nvml: Nvml | None = None
    cuda: Cuda | None = None

    def look(self) -> None:
        """Each way by itself: one that is not there says why."""
        looks: dict[str, Any] = {"device-files": {"seen": look_at_nodes(), "reason": ""}}
        known: dict[str, str] = {}
        try:
            self.nvml = Nvml()
            looks["nvml"] = {"seen": list(self.nvml.minors), "reason": ""}
            known = {name.partition("-")[2]: name for name in self.nvml.minors}
            self.told["minors"] = self.nvml.minors
        except NotThere as reason:
            looks["nvml"] = {"seen": [], "reason": str(reason)}
        try:
            self.cuda = Cuda()
            # CUDA tells bytes; whether they are a device's or an instance's only NVML says
            looks["cuda"] = {"seen": [known.get(each, f"GPU-{each}") for each in self.cuda.uuids], "reason": ""}
        except NotThere as reason:
            looks["cuda"] = {"seen": [], "reason": str(reason)}
        self.told["looks"] = looks

    def attempt(self) -> None:
        """Every device by every route, those that are ours too: that they are reached shows that the route works."""
        at = time.time()
        tried = [[route, what, outcome_of(attempt), at] for route, what, attempt in self._attempts()]
        self.told.setdefault("attempts", []).extend(tried)

    def _attempts(self) -> Iterator[tuple[str, str, Callable[[], None]]]:
        for minor in range(self.minors):
            path = f"/dev/nvidia{minor}"
            yield "open", path, partial(open_device, path)
            yield "mknod", path, partial(make_device, minor)
        if self.nvml is not None:
            for name in self.uuids:
                yield "nvml-uuid", name, partial(self.nvml.reach, name)
        if self.cuda is not None:
            for ordinal in range(self.minors):
                yield "cuda-ordinal", str(ordinal), partial(self.cuda.reach, ordinal)

    def search_memory(self, run: str, owner: str, most_bytes: int) -> list[Memory]:
        """Who left something in memory that we are given; then our own mark, which the same search must find."""
        held = []
        for ordinal, name in enumerate(self.told["looks"]["cuda"]["seen"]):
            cuda = self.cuda
            assert cuda is not None
            told: dict[str, Any] = {"uuid": name, "bytes": 0, "found": [], "control": False, "reason": ""}
            try:
                memory = cuda.allocate(ordinal, most_bytes)
                told["bytes"] = memory.size
                told["found"] = sorted(owners_in(memory.read(), run))
                memory.fill(block_of(run, owner))
                told["control"] = owner in owners_in(memory.read(), run)
                held.append(memory)
            except NotThere as reason:
                told["reason"] = str(reason)
            self.told.setdefault("memory", []).append(told)
        return held


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Looks for accelerators that it was not given.")
    parser.add_argument("--owner", default="nobody", help="the name that is left in device memory")
    parser.add_argument("--run", default="none", help="the run whose marks are looked for")
    parser.add_argument("--minors", type=int, default=ORDINALS, help="device files and ordinals that are tried")
    parser.add_argument("--uuid", action="append", default=[], help="a device that is asked for by name")
    parser.add_argument("--memory-bytes", type=int, default=0, help="device memory to search and to mark")
    parser.add_argument("--hold-seconds", type=float, default=0.0, help="keep the device so long, then try again")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Always 0: what was met is told, and whoever asked judges it."""
    chosen = parse(arguments)
    began = time.time()
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    program = Program(chosen.minors, tuple(chosen.uuid), {"owner": chosen.owner, "began": began})
    program.look()
    program.attempt()
    held = program.search_memory(chosen.run, chosen.owner, chosen.memory_bytes) if chosen.memory_bytes else []
    if chosen.hold_seconds:
        stopped.wait(max(0.0, began + chosen.hold_seconds - time.time()))
        program.attempt()
    program.told["ended"] = time.time()
    sys.stdout.write(json.dumps(program.told, separators=(",", ":")) + "\n")
    sys.stdout.flush()
    del held
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
