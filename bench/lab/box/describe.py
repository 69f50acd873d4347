"""What `bench lab status` tells of each part: how it is, what it uses over a moment. Read when asked, not before."""

import asyncio
import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from bench.lab.api import ApiClient, ApiError
from bench.lab.box import processes
from bench.lab.box.leash import PartState
from bench.lab.box.processes import Process, Usage
from bench.lab.box.service import Service
from bench.lab.box.workloads import WorkloadState
from bench.lab.control.programs import AGENT
from bench.lab.paths import LabPaths

_SAMPLE_SECONDS: Final = 0.5
_POD: Final = re.compile(rb"/pods/([0-9a-f-]{36})/")


class Sample:
    """Two looks at all processes, a moment apart."""

    def __init__(self, before: Mapping[int, Process], after: Mapping[int, Process], seconds: float) -> None:
        self._before = before
        self.after = after
        self._seconds = seconds

    @classmethod
    async def take(cls) -> "Sample":
        """Wait for the moment to pass; it is what is measured."""
        before, began = processes.read_table(), time.monotonic()
        await asyncio.sleep(_SAMPLE_SECONDS)
        return cls(before, processes.read_table(), time.monotonic() - began)

    def use_of(self, pids: Iterable[int]) -> dict[str, float]:
        """Resident memory and busy cores of these processes."""
        chosen = set(pids)
        now, earlier = processes.usage(self.after, chosen), processes.usage(self._before, chosen)
        return {"memory_bytes": now.memory_bytes, "cpu_cores": self._cores(earlier, now)}

    def _cores(self, earlier: Usage, now: Usage) -> float:
        return max(0.0, now.cpu_seconds - earlier.cpu_seconds) / self._seconds


def services(sample: Sample, known: Iterable[Service]) -> list[dict[str, Any]]:
    """PID 1 itself and the programs that it keeps running; the agent without the pods below it."""
    own = {"name": "supervisor", "state": PartState.READY, "restarts": 0, "address": ""}
    kept = [
        {
            "name": service.program.name,
            "state": service.state,
            "restarts": service.restarts,
            "address": service.program.address,
            **sample.use_of([service.child.pid] if service.child else []),
        }
        for service in known
    ]
    return [own | sample.use_of([os.getpid()]), *kept]


async def workloads(
    sample: Sample, states: Iterable[WorkloadState], known: Iterable[Service], client: ApiClient
) -> list[dict[str, Any]]:
    """The parts that run as pods, each with all processes of its pods."""
    agents = [each.child.pid for each in known if each.program.name == AGENT and each.child]
    below = pods_below(sample.after, agents)
    described = []
    for state in states:
        pods = [pod for namespace, name in state.owners for pod in await _pods_of(client, namespace, name)]
        pids = {pid for pod in pods for pid in below.get(pod["metadata"]["uid"], ())}
        described.append(
            {
                "name": state.name,
                "version": state.version,
                "state": state.state,
                "restarts": sum(_restarts(pod) for pod in pods),
                "address": ", ".join("/".join(owner) for owner in state.owners),
                **sample.use_of(pids),
            }
        )
    return described


def not_enforced(paths: LabPaths) -> list[str]:
    """What the agent found that it cannot enforce on this machine; it writes that down at its start."""
    try:
        told: list[str] = json.loads((paths.root / "not_enforced.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return told


def pods_below(table: Mapping[int, Process], agents: Iterable[int]) -> dict[str, set[int]]:
    """Processes by the uid of their pod: the agent starts each container with files from the pod's folder."""
    parents = set(agents)
    found: dict[str, set[int]] = {}
    for process in table.values():
        if process.parent in parents and (uid := _pod_in_command(process.pid)):
            found.setdefault(uid, set()).update(processes.with_descendants(table, [process.pid]))
    return found


def _pod_in_command(pid: int) -> str:
    try:
        match = _POD.search(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return ""
    return match[1].decode() if match else ""


async def _pods_of(client: ApiClient, namespace: str, owner: str) -> list[dict[str, Any]]:
    try:
        listed = await client.get(f"/api/v1/namespaces/{namespace}/pods")
    except ApiError:
        return []
    return [pod for pod in listed["items"] if _is_owned(pod, owner)]


def _is_owned(pod: Mapping[str, Any], owner: str) -> bool:
    """By a DaemonSet of this name, or by a ReplicaSet of a Deployment of this name."""
    names = [each["name"] for each in pod["metadata"].get("ownerReferences", ())]
    return any(name == owner or name.rpartition("-")[0] == owner for name in names)


def _restarts(pod: Mapping[str, Any]) -> int:
    return sum(each["restartCount"] for each in pod["status"].get("containerStatuses", ()))
