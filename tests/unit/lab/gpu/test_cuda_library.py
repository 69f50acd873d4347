"""Device memory as a program has it through libcuda: handed out once, cleared between owners, unless told otherwise."""

import ctypes
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.lab.gpu import memory
from bench.lab.gpu.cuda.build import SOURCE_DIR, build_cuda
from tests.unit.lab.gpu.small_lab import NODE, SmallLab

GPU = {"nvidia.com/gpu": "1"}
MIB = 1 << 20
OUT_OF_MEMORY, INVALID_VALUE, NO_DEVICE, INVALID_DEVICE, INVALID_CONTEXT = 2, 1, 100, 101, 201
Make = Callable[..., SmallLab]

LEAVES = """
import ctypes, sys
cuda = ctypes.CDLL(sys.argv[1])
context, address = ctypes.c_void_p(), ctypes.c_uint64()
assert cuda.cuInit(0) == 0
assert cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
assert cuda.cuCtxSetCurrent(context) == 0
assert cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(1 << 20)) == 0
found = ctypes.create_string_buffer(6)
assert cuda.cuMemcpyDtoH_v2(found, address, ctypes.c_size_t(6)) == 0
assert cuda.cuMemcpyHtoD_v2(address, sys.argv[2].encode(), ctypes.c_size_t(6)) == 0
print(found.raw)
if len(sys.argv) > 3:
    print("holds", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("cuda") / "libcuda.so.1"
    build_cuda(output)
    return output


@pytest.fixture
def folder(make_lab: Make, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What a pod with one device is shown."""
    lab = make_lab()
    folder = lab.folder(lab.give("a", GPU))
    monkeypatch.setenv("LAB_NVML_DEVICES", str(folder))
    yield folder
    lab.devices.remove_node(NODE)


@pytest.fixture
def cuda(library: Path, folder: Path, tmp_path: Path) -> Any:
    """A library of its own for each test: what it knows of devices is kept until its process ends."""
    own = tmp_path / "libcuda-of-this-test.so"
    own.write_bytes(library.read_bytes())
    return ctypes.CDLL(str(own))


def with_context(cuda: Any) -> Any:
    context = ctypes.c_void_p()
    assert cuda.cuInit(0) == 0
    assert cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
    assert cuda.cuCtxSetCurrent(context) == 0
    return cuda


def allocate(cuda: Any, size: int) -> tuple[int, int]:
    address = ctypes.c_uint64()
    return cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size)), address.value


def left_by(library: Path, text: str) -> bytes:
    """What a program finds in memory that it is given, before it leaves `text` there."""
    done = subprocess.run([sys.executable, "-c", LEAVES, library, text], check=True, capture_output=True, timeout=20)
    return bytes(eval(done.stdout))


def test_the_header_is_the_table_of_the_agent() -> None:
    told = (SOURCE_DIR / "memory.h").read_text(encoding="utf-8")
    numbers = {name: int(value, 0) for name, value in re.findall(r"#define (MEMORY_\w+) (0x[0-9a-f]+|\d+)u", told)}

    assert (numbers["MEMORY_MAGIC"], numbers["MEMORY_VERSION"]) == (memory.MAGIC, memory.VERSION)
    assert numbers["MEMORY_OFFSET"] == memory.OFFSET
    assert memory.BYTES % numbers["MEMORY_GRANULE"] == 0


def test_the_device_of_the_pod_is_the_only_one(cuda: Any, folder: Path) -> None:
    count, device, uuid = ctypes.c_int(), ctypes.c_int(), (ctypes.c_ubyte * 16)()

    assert cuda.cuInit(0) == 0
    assert cuda.cuDeviceGetCount(ctypes.byref(count)) == 0
    assert count.value == 1
    assert cuda.cuDeviceGet(ctypes.byref(device), 1) == INVALID_DEVICE
    assert cuda.cuDeviceGetUuid_v2(uuid, 0) == 0
    digits = (folder / "0").resolve().name.removeprefix("GPU-").replace("-", "")
    assert bytes(uuid).hex() == digits


def test_without_a_device_there_is_none(cuda: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_NVML_DEVICES", str(tmp_path / "nowhere"))

    assert cuda.cuInit(0) == NO_DEVICE


def test_no_more_is_handed_out_than_there_is_and_what_was_freed_is_there_again(cuda: Any) -> None:
    with_context(cuda)

    first, address = allocate(cuda, memory.BYTES)
    second, _ = allocate(cuda, 1)
    assert cuda.cuMemFree_v2(ctypes.c_uint64(address)) == 0
    third, _ = allocate(cuda, memory.BYTES - MIB)

    assert (first, second, third) == (0, OUT_OF_MEMORY, 0)


def test_memory_that_was_not_handed_out_is_not_read(cuda: Any) -> None:
    with_context(cuda)
    code, address = allocate(cuda, MIB)
    buffer = ctypes.create_string_buffer(16)

    assert code == 0
    assert cuda.cuMemcpyDtoH_v2(buffer, ctypes.c_uint64(address + MIB - 8), ctypes.c_size_t(16)) == INVALID_VALUE
    assert cuda.cuMemcpyDtoH_v2(buffer, ctypes.c_uint64(4096), ctypes.c_size_t(16)) == INVALID_VALUE


def test_without_a_context_there_is_no_memory(cuda: Any) -> None:
    assert cuda.cuInit(0) == 0
    assert allocate(cuda, MIB)[0] == INVALID_CONTEXT


def test_the_next_owner_finds_nothing(library: Path, folder: Path) -> None:
    assert left_by(library, "secret") == bytes(6)
    assert left_by(library, "others") == bytes(6)


def test_a_driver_that_does_not_clear_shows_what_was_left(library: Path, folder: Path) -> None:
    kept = memory.DeviceMemory((folder / "0.memory").resolve())
    kept.scrub(holds=False)
    left_by(library, "secret")

    assert left_by(library, "others") == b"secret"


def test_two_programs_on_one_device_get_different_memory(library: Path, folder: Path, cuda: Any) -> None:
    command = [sys.executable, "-c", LEAVES, library, "theirs", "stay"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as neighbour:
        assert neighbour.stdout is not None
        assert [neighbour.stdout.readline() for _ in range(2)][1] == b"holds\n"
        with_context(cuda)
        all_of_it = allocate(cuda, memory.BYTES)[0]
        rest = allocate(cuda, memory.BYTES - MIB)[0]
        neighbour.communicate()

    assert (all_of_it, rest, neighbour.returncode) == (OUT_OF_MEMORY, 0, 0)
    assert struct.calcsize("=4IQ") == 24
