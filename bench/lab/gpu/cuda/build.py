"""Compiles libcuda.so.1: the driver's calls about devices and their memory."""

from pathlib import Path
from typing import Final

from bench.lab.gpu import compiling
from bench.lab.gpu.nvml import build as nvml

SONAME: Final = "libcuda.so.1"
SOURCE_DIR: Final = Path(__file__).parent


def build_cuda(output: Path) -> None:
    """Compile into `output`, which appears whole or not at all."""
    # state.h is NVML's: both libraries read a device's identity from its state page
    compiling.compile_library(output, [SOURCE_DIR / "cuda.c"], include=[SOURCE_DIR, nvml.SOURCE_DIR])
