"""What pods used: from their control groups, or, where there are none, from their processes."""

import os
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from bench.lab.cgroups import Groups
from bench.lab.gpu.devices import PodUsage
from bench.lab.kubelet.pod import Pod

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_MEMORY_SECONDS: Final = 1.0
"""Resident memory is read less often than CPU time: it is one file a process."""


class Accounting:
    """Remembers the processes that it saw, so that a pod's total never falls when one ends."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._cpu: dict[str, dict[int, float]] = defaultdict(dict)
        self._memory: dict[str, tuple[float, int]] = {}

    def usage(self, pods: Iterable[Pod]) -> dict[str, PodUsage]:
        """Of each pod, by uid."""
        pods = list(pods)
        self._forget({pod.uid for pod in pods})
        children = {} if self._groups.counts_cpu else _children()
        return {pod.uid: self._of(pod, children) for pod in pods}

    def _forget(self, kept: set[str]) -> None:
        for known in (self._cpu, self._memory):
            for uid in set(known) - kept:
                del known[uid]

    def _of(self, pod: Pod, children: dict[int, list[int]]) -> PodUsage:
        if pod.group and self._groups.counts_cpu:
            cpu_seconds = self._groups.cpu_seconds(pod.group)
            return PodUsage(cpu_seconds=cpu_seconds, memory_bytes=self._memory_of(pod, self._groups.pids(pod.group)))
        pids = _tree(pod.pids, children)
        seen = self._cpu[pod.uid]
        for pid in pids:
            seen[pid] = max(seen.get(pid, 0.0), _cpu_seconds(pid))
        return PodUsage(cpu_seconds=sum(seen.values()), memory_bytes=self._memory_of(pod, pids))

    def _memory_of(self, pod: Pod, pids: list[int]) -> int:
        now = time.monotonic()
        read_at, last = self._memory.get(pod.uid, (0.0, 0))
        if now - read_at < _MEMORY_SECONDS:
            return last
        resident = sum(map(_resident_bytes, pids))
        self._memory[pod.uid] = (now, resident)
        return resident


def _resident_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0


def _stat(pid: int) -> list[str]:
    """The fields after the program's name, which may hold anything."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def _cpu_seconds(pid: int) -> float:
    """Its own time only: that of ended children is remembered from when they were seen."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def _children() -> dict[int, list[int]]:
    """Every process of the lab by its parent."""
    children: dict[int, list[int]] = defaultdict(list)
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))):
            children[int(fields[1])].append(int(name))
    return children


def _tree(roots: list[int], children: dict[int, list[int]]) -> list[int]:
    found, left = [], list(roots)
    while left:
        pid = left.pop()
        found.append(pid)
        left += children.get(pid, ())
    return found
