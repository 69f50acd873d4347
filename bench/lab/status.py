"""What a running lab says about itself."""

import contextlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from bench.errors import LabFailed, LabNotRunning
from bench.lab.box import control_socket, lock, remains
from bench.lab.down import Outcome, clear
from bench.lab.faults import state as planted_faults
from bench.lab.paths import LabPaths

_ANSWER_SECONDS: Final = 10.0
_ETCD_VERSION: Final = "3.7.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartStatus:
    """A program of the control plane, or a part that runs as workloads."""

    name: str
    version: str
    state: str
    address: str
    memory_bytes: int
    cpu_cores: float
    """Over the last half second."""
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabStatus:
    """A lab that runs."""

    name: str
    is_ready: bool
    pid: int
    """Of its first process, on the host."""
    keeper_pid: int
    kubeconfig: Path
    bin: Path
    prometheus_url: str
    """Empty in a lab that was brought up without this part; so is the next."""
    gateway_url: str
    parts: tuple[PartStatus, ...]
    not_enforced: tuple[str, ...]
    faults: tuple[str, ...]
    """Planted ones, each as it was asked for."""


def read(name: str, *, brief: bool = False) -> LabStatus:
    """
    Ask the lab; raises `LabNotRunning`, after removing what a dead one may have left.

    A `brief` answer has no parts, and comes at once: what parts use is measured over a moment.
    """
    paths = LabPaths.of(name)
    if not lock.is_held(paths.root):
        raise LabNotRunning(_not_running(name, clear(paths)))
    try:
        answered = control_socket.ask(
            paths.control_socket, {"do": "status", "brief": brief}, within_seconds=_ANSWER_SECONDS
        )
    except OSError as error:
        raise LabFailed(
            f"lab {name} is there but does not answer ({error}): it is just coming up or going down; if that lasts, "
            f"`bench lab down --name {name}` ends it, and its logs are in {paths.logs}."
        ) from error
    try:
        return _status(paths, answered.content, answered.pid)
    except KeyError as error:
        raise LabFailed(
            f"lab {name} was started by another version of the bench (it tells no {error}): "
            f"`bench lab down --name {name}` ends it."
        ) from error


def _not_running(name: str, remains_of: Outcome) -> str:
    told = f"no lab {name} is running: `bench lab up --name {name}` starts it."
    kept = remains.kept_logs(name)
    if remains_of is Outcome.WAS_DEAD:
        told += " The last one was killed; what it left has been removed now."
    if kept.is_dir():
        told += f" Logs of one that failed are in {kept}."
    return told


def _status(paths: LabPaths, content: dict[str, Any], pid: int) -> LabStatus:
    return LabStatus(
        name=content["name"],
        is_ready=content["is_ready"],
        pid=pid,
        keeper_pid=content["keeper_pid"],
        kubeconfig=paths.kubeconfig,
        bin=paths.bin,
        prometheus_url=_url(content, "prometheus"),
        gateway_url=_url(content, "gateway"),
        parts=tuple(_part(each) for each in content.get("parts", ())),
        not_enforced=tuple(content.get("not_enforced", ())),
        faults=tuple(str(each) for each in planted_faults.read(paths.faults)),
    )


def _url(content: dict[str, Any], part: str) -> str:
    return f"http://127.0.0.1:{content['ports'][part]}" if part in content["asked_for"] else ""


def _part(raw: dict[str, Any]) -> PartStatus:
    return PartStatus(
        name=raw["name"],
        version=raw.get("version") or _built_version(raw["name"]),
        state=raw["state"],
        address=raw["address"],
        memory_bytes=int(raw["memory_bytes"]),
        cpu_cores=raw["cpu_cores"],
        restarts=raw["restarts"],
    )


def _built_version(program: str) -> str:
    """Of a program that the lab builds; the bench's own programs have its version."""
    from bench.lab.build.catalogue import part_of_program  # noqa: PLC0415  (only `status` wants it)

    if program == "etcd":
        # It is linked into the same file as the rest of the control plane, whose version that part has.
        return _ETCD_VERSION

    with contextlib.suppress(KeyError):
        return part_of_program(program).version
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version("gpu-bench")
    return ""
