"""Ends a part of a lab, once; what keeps the part running starts it again. Nothing is to be put back."""

import contextlib
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.errors import LabFailed
from bench.lab.api import ApiError
from bench.lab.faults.changes import Change, Lab, Undo
from bench.lab.faults.declaration import Value
from bench.lab.faults.effects import until
from bench.lab.parts import prometheus

API_SERVER: Final = "kube-apiserver"
PROMETHEUS: Final = "prometheus"
_PROMETHEUS: Final = f"/api/v1/namespaces/{prometheus.NAMESPACE}/services/prometheus:{prometheus.PORT}/proxy"


class PartRestarted:
    """One of the parts that a run asks goes away for as long as its start takes."""

    async def changes(self, lab: Lab, arguments: Mapping[str, Value]) -> Sequence[Change]:  # noqa: ARG002 - reads nothing
        return (Restart(part=str(arguments["part"])),)

    async def wait_until_planted(self, lab: Lab, arguments: Mapping[str, Value]) -> None:
        """It answers again when it has been changed."""

    async def wait_until_cleared(self, lab: Lab) -> None:
        """There is nothing to clear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """The end of a part; made when its successor answers."""

    part: str

    async def remember(self, lab: Lab) -> Undo:  # noqa: ARG002 - nothing is there to be read
        return {"kind": "restart"}

    async def make(self, lab: Lab) -> None:
        await (_restart_api_server if self.part == API_SERVER else _restart_prometheus)(lab)


async def _restart_api_server(lab: Lab) -> None:
    before = process_of(lab.pid, API_SERVER)
    if before is None:
        raise LabFailed(f"no process of the lab runs {API_SERVER}: `bench lab status` tells what became of it.")
    os.kill(before, signal.SIGKILL)

    async def is_back() -> bool:
        if process_of(lab.pid, API_SERVER) in (None, before):
            return False
        with contextlib.suppress(ApiError):
            return await lab.api.text("/readyz") == "ok"
        return False

    await until(is_back, f"{API_SERVER} answers again")


async def _restart_prometheus(lab: Lab) -> None:
    before = await _started(lab)
    # What it answers, if it still does, is no JSON.
    with contextlib.suppress(ApiError, json.JSONDecodeError):
        await lab.api.create(f"{_PROMETHEUS}/-/quit", {})

    async def is_back() -> bool:
        with contextlib.suppress(ApiError, json.JSONDecodeError):
            return await _started(lab) != before
        return False

    await until(is_back, "Prometheus answers again")


async def _started(lab: Lab) -> str:
    told = await lab.api.get(f"{_PROMETHEUS}/api/v1/status/runtimeinfo")
    return str(told["data"]["startTime"])


def process_of(lab_pid: int, program: str) -> int | None:
    """The process of this program in the PID namespace of the lab, as this machine numbers it."""
    inside = os.readlink(f"/proc/{lab_pid}/ns/pid")
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            path = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")[0]
            if path.endswith(f"/{program}".encode()) and os.readlink(f"/proc/{name}/ns/pid") == inside:
                return int(name)
    return None
