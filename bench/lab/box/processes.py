"""What /proc tells about the processes of the lab: who descends from whom, and what they use."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

_TICK_SECONDS: Final = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One line of the table."""

    pid: int
    parent: int
    is_zombie: bool
    cpu_seconds: float
    memory_bytes: int
    """Resident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Of several processes together."""

    cpu_seconds: float = 0.0
    memory_bytes: int = 0


def parse(stat: str) -> Process:
    """A line of ``/proc/PID/stat``. The name in it may hold anything, so fields are counted from its end."""
    head, _, tail = stat.rpartition(")")
    fields = tail.split()
    return Process(
        pid=int(head.partition(" ")[0]),
        parent=int(fields[1]),
        is_zombie=fields[0] in {"Z", "X"},
        cpu_seconds=(int(fields[11]) + int(fields[12])) * _TICK_SECONDS,
        memory_bytes=int(fields[21]) * _PAGE_BYTES,
    )


def read_table() -> dict[int, Process]:
    """All processes of this PID namespace."""
    table = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                process = parse(file.read())
        except (FileNotFoundError, ProcessLookupError):
            continue
        table[process.pid] = process
    return table


def with_descendants(table: Mapping[int, Process], roots: Iterable[int], *, but_not: Iterable[int] = ()) -> set[int]:
    """These processes and all below them; neither those of `but_not` nor what is below those."""
    children: dict[int, list[int]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process.pid)
    excluded = set(but_not)
    found: set[int] = set()
    open_ends = [pid for pid in roots if pid in table]
    while open_ends:
        pid = open_ends.pop()
        if pid not in found and pid not in excluded:
            found.add(pid)
            open_ends += children.get(pid, ())
    return found


def usage(table: Mapping[int, Process], pids: Iterable[int]) -> Usage:
    """What these processes use together; memory that they share counts for each."""
    processes = [table[pid] for pid in pids if pid in table]
    return Usage(
        cpu_seconds=sum(process.cpu_seconds for process in processes),
        memory_bytes=sum(process.memory_bytes for process in processes),
    )
