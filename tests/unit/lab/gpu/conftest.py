"""The library, compiled once, and NVML as a program in a container has it."""

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pynvml
import pytest

from bench.lab.config import LabConfig
from bench.lab.gpu.nvml.build import build_nvml
from tests.unit.lab.gpu.small_lab import SmallLab


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    build_nvml(output)
    return output


@pytest.fixture
def make_lab(tmp_path: Path) -> Callable[..., SmallLab]:
    def make(**config: Any) -> SmallLab:
        return SmallLab(tmp_path, LabConfig(**{"nodes": 1, **config}))

    return make


@pytest.fixture
def nvml_of(nvml_library: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Any]]:
    """pynvml, loaded with our library and looking at a folder of state pages."""

    def start(folder: Path) -> Any:
        monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(nvml_library)))
        monkeypatch.setenv("LAB_NVML_DEVICES", str(folder))
        pynvml.nvmlInit()
        return pynvml

    yield start
    for _ in range(10):  # initialisation is counted, and the program under test may have done it too
        try:
            pynvml.nvmlShutdown()
        except pynvml.NVMLError_Uninitialized:
            break
