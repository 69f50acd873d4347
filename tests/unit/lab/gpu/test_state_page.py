"""The state page: one layout in two languages, and no torn state for its readers."""

import ctypes
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.lab.gpu import model, page
from bench.lab.gpu.nvml.build import SOURCE_DIR
from tests.unit.lab.gpu.small_lab import SmallLab


def compiled(folder: Path, body: str) -> list[str]:
    """The lines that a C program prints which knows state.h."""
    source = folder / "probe.c"
    source.write_text(f'#include <stddef.h>\n#include <stdio.h>\n#include "state.h"\nint main(void)\n{{\n{body}\n}}\n')
    program = folder / "probe"
    subprocess.run(["gcc", f"-I{SOURCE_DIR}", "-o", program, source], check=True)
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()


def test_every_field_lies_where_the_header_puts_it(tmp_path: Path) -> None:
    fields = dict(page.offsets())
    prints = [f'printf("%zu\\n", offsetof(struct state_page, {name}));' for name in fields]

    lines = compiled(tmp_path, "\n".join([*prints, 'printf("%zu\\n", sizeof(struct state_page));']))

    assert dict(zip(fields, map(int, lines[:-1]), strict=True)) == fields
    assert int(lines[-1]) == page.SIZE


def test_the_header_and_the_model_have_the_same_factors(tmp_path: Path) -> None:
    names = ["SM_ACTIVE", "SM_OCCUPANCY", "TENSOR", "DRAM", "FP32", "FP16"]

    lines = compiled(tmp_path, "\n".join(f'printf("%.17g\\n", {name}_FACTOR);' for name in names))

    assert [float(line) for line in lines] == [getattr(model, f"{name}_FACTOR") for name in names]


def test_a_reader_never_sees_half_a_state(make_lab: Callable[..., SmallLab], nvml_of: Callable[[Path], Any]) -> None:
    """Total memory, used and free are of one moment, while the writer writes as fast as it can."""
    lab = make_lab(gpus_per_node=1)
    nvml = nvml_of(lab.folder(lab.give("a", {"nvidia.com/gpu": "1"})))
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    stopped = threading.Event()

    def write() -> None:
        for turn in range(1_000_000):
            if stopped.is_set():
                return
            lab.run(0.1, cores={"a": 0.4 * (turn % 2)}, memory_bytes=(turn % 7) << 24)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(2000):
            memory = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
            assert memory.used % (16 << 24) == 0
            assert memory.total == memory.free + memory.used + memory.reserved
    finally:
        stopped.set()
        writer.join()


def test_a_writer_that_stopped_in_the_middle_is_an_error_and_no_old_state(
    make_lab: Callable[..., SmallLab], nvml_of: Callable[[Path], Any]
) -> None:
    lab = make_lab(gpus_per_node=1)
    granted = lab.give("a", {"nvidia.com/gpu": "1"})
    nvml = nvml_of(lab.folder(granted))
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    with lab.paths.gpu(granted.uuids[0]).open("r+b") as file:
        file.seek(8)
        sequence = int.from_bytes(file.read(4), "little")
        file.seek(8)
        file.write((sequence + 1).to_bytes(4, "little"))

    value = ctypes.c_uint()
    assert nvml.nvmlLib.nvmlDeviceGetPowerUsage(handle, ctypes.byref(value)) == nvml.NVML_ERROR_UNKNOWN
