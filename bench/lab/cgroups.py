"""
Control groups of a lab: quotas of devices, limits of containers, and what was used.

Version 1 (a hierarchy a controller) and version 2 (one for all) are both met in the field, and often neither may be
written. Groups are made below the group that this process is in (version 1) or below its nearest ancestor that hands
cpu and memory down already (version 2); no group that is not the lab's own is ever changed.
"""

import errno
import logging
import os
import signal
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from bench.lab.paths import state_root

_CONTROLLERS: Final = ("cpu", "cpuacct", "memory")
_PERIOD_MICROSECONDS: Final = 100_000
_LEAST_QUOTA_MICROSECONDS: Final = 1_000
_REMOVE_ATTEMPTS: Final = 100
_REMOVE_PAUSE_SECONDS: Final = 0.02

_log = logging.getLogger(__name__)


class Version(StrEnum):
    """Of the control group interface; both may be mounted at once, each with controllers of its own."""

    V1 = "v1"
    V2 = "v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a group may use; 0 sets no limit."""

    cpu_cores: float = 0.0
    memory_bytes: int = 0
    cpu_request_cores: float = 0.0
    """Weight against other groups when the CPU is short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One hierarchy: the controllers that it serves, and the folder below which groups may be made."""

    version: Version
    controllers: frozenset[str]
    base: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """A line of ``/proc/self/mountinfo`` that mounts control groups."""

    version: Version
    controllers: frozenset[str]
    root: str
    mountpoint: Path


def parse_mounts(mountinfo: str) -> list[Mounted]:
    """The control group mounts among all mounts."""
    mounts = []
    for line in mountinfo.splitlines():
        fields, _, source = line.partition(" - ")
        words, about = fields.split(), source.split()
        if len(about) < 3 or about[0] not in {"cgroup", "cgroup2"}:
            continue
        controllers = frozenset(about[2].split(",")) & frozenset(_CONTROLLERS)
        version = Version.V2 if about[0] == "cgroup2" else Version.V1
        mounts.append(Mounted(version=version, controllers=controllers, root=words[3], mountpoint=Path(words[4])))
    return mounts


def parse_membership(text: str) -> dict[str, str]:
    """``/proc/self/cgroup``: controller → path of the group in its hierarchy; ``""`` is version 2."""
    groups: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = path
    return groups


def _below(mount: Mounted, path: str) -> Path | None:
    """Where a group lies in the file system, if the mount shows it."""
    relative = os.path.relpath(path, mount.root)
    return None if relative.startswith("..") else mount.mountpoint / relative


def _v2_base(own: Path, top: Path) -> Path | None:
    """The nearest ancestor with cpu and memory handed to its children, writable by us."""
    for folder in (own, *own.parents):
        try:
            handed_down = (folder / "cgroup.subtree_control").read_text(encoding="ascii").split()
        except OSError:
            return None
        writable = os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)
        if {"cpu", "memory"} <= set(handed_down) and writable:
            return folder
        if folder == top:
            return None
    return None


def find_trees() -> list[Tree]:
    """The hierarchies in which this process may make groups; empty where it may not."""
    try:
        mounts = parse_mounts(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
        groups = parse_membership(Path("/proc/self/cgroup").read_text(encoding="utf-8"))
    except OSError:
        return []
    trees: list[Tree] = []
    served: set[str] = set()
    for mount in sorted(mounts, key=lambda each: each.version):
        tree = _tree_of(mount, groups)
        if tree is not None and not tree.controllers <= served:
            served |= tree.controllers
            trees.append(tree)
    return trees


def _tree_of(mount: Mounted, groups: Mapping[str, str]) -> Tree | None:
    if mount.version is Version.V2:
        own = _below(mount, groups.get("", "/"))
        base = None if own is None else _v2_base(own, mount.mountpoint)
        return None if base is None else Tree(version=Version.V2, controllers=frozenset(_CONTROLLERS), base=base)
    if not mount.controllers:
        return None
    base = _below(mount, groups.get(min(mount.controllers), "/"))
    if base is None or not os.access(base, os.W_OK):
        return None
    return Tree(version=Version.V1, controllers=mount.controllers, base=base)


def _group_name(name: str) -> str:
    # Labs of one name may exist in two state folders (of two users, say), and one must not end the other's pods.
    return f"gpu-bench-{name}-{zlib.crc32(os.fsencode(state_root())):08x}"


def lab_root(name: str) -> tuple[Path, ...]:
    """The lab's own groups, one a hierarchy, whether or not they exist; empty where none can be made."""
    return tuple(tree.base / _group_name(name) for tree in find_trees())


def remove_tree(name: str) -> None:
    """End what still runs in the lab's groups and remove them; a lab without groups is no error."""
    for root in lab_root(name):
        if root.is_dir():
            _remove(root)


def _remove(root: Path) -> None:
    pause = threading.Event()
    for _ in range(_REMOVE_ATTEMPTS):
        _kill(root)
        if _rmdir_tree(root):
            return
        # A killed process leaves its group a moment after the signal; the kernel tells version 1 groups nothing.
        pause.wait(_REMOVE_PAUSE_SECONDS)
    _log.warning("the control group %s could not be removed: it still holds processes", root)


def _folders(root: Path) -> Iterator[Path]:
    """Children before their parents."""
    for folder, _, _ in os.walk(root, topdown=False):
        yield Path(folder)


def _kill(root: Path) -> None:
    for folder in _folders(root):
        for pid in _pids(folder):
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue


def _pids(folder: Path) -> list[int]:
    try:
        text = (folder / "cgroup.procs").read_text(encoding="ascii")
    except OSError:
        return []
    # 0 is a process outside this PID namespace; it is none of ours.
    return [int(word) for word in text.split() if word != "0"]


def _rmdir_tree(root: Path) -> bool:
    for folder in _folders(root):
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno in {errno.EBUSY, errno.ENOTEMPTY}:
                return False
            raise
    return True


class Groups:
    """The groups of one lab. Names are paths below the lab's own group, as ``gpu-0/pod-<uid>/main``."""

    def __init__(self, name: str, trees: list[Tree]) -> None:
        self._roots = {tree.base / _group_name(name): tree for tree in trees}
        self._not_enforced: set[str] = set()

    @classmethod
    def open(cls, name: str) -> Self:
        """Make the lab's own groups where that is allowed."""
        groups = cls(name, find_trees())
        groups._make_roots()
        return groups

    @property
    def not_enforced(self) -> list[str]:
        """What users should know: limits that stand in a Pod but hold nothing back here, one sentence each."""
        missing = {"cpu", "memory"} - self._controllers()
        told = {f"{each} limits: no control group with {each} may be made here" for each in missing}
        return sorted(told | self._not_enforced)

    @property
    def available(self) -> bool:
        """Whether any limit can be enforced."""
        return bool(self._roots)

    @property
    def counts_cpu(self) -> bool:
        """Whether groups tell the CPU time of their processes; otherwise /proc must be asked."""
        return "cpuacct" in self._controllers()

    def _controllers(self) -> set[str]:
        return {controller for tree in self._roots.values() for controller in tree.controllers}

    def _make_roots(self) -> None:
        for root, tree in list(self._roots.items()):
            try:
                root.mkdir(exist_ok=True)
                if tree.version is Version.V2:
                    _hand_down(root)
            except OSError as error:
                self._not_enforced.add(f"{', '.join(sorted(tree.controllers))} limits: {error.strerror} at {root}")
                del self._roots[root]

    def make(self, name: str, limits: Limits) -> None:
        """Make a group, and those above it, and set its limits; existing ones get the new limits."""
        for root, tree in self._roots.items():
            folder = root
            for part in Path(name).parts:
                if tree.version is Version.V2 and folder != root:
                    _hand_down(folder)
                folder /= part
                folder.mkdir(exist_ok=True)
            self._limit(folder, tree, limits)

    def _limit(self, folder: Path, tree: Tree, limits: Limits) -> None:
        settings = _v2_settings(limits) if tree.version is Version.V2 else _v1_settings(limits, tree.controllers)
        for file, value in settings:
            try:
                (folder / file).write_text(value, encoding="ascii")
            except OSError as error:
                self._not_enforced.add(f"{file}: {error.strerror}")

    def attach(self, name: str, pid: int) -> None:
        """Move a process; its children born later follow it."""
        for root in self._roots:
            try:
                (root / name / "cgroup.procs").write_text(str(pid), encoding="ascii")
            except ProcessLookupError:
                return
            except OSError as error:
                self._not_enforced.add(f"moving processes into {root}: {error.strerror}")

    def remove(self, name: str) -> bool:
        """Remove a group and those below it; False if processes are left in it, and then it stays."""
        return all(_rmdir_tree(root / name) for root in self._roots)

    def pids(self, name: str) -> list[int]:
        """Processes of a group and of those below it."""
        for root in self._roots:
            return [pid for folder in _folders(root / name) for pid in _pids(folder)]
        return []

    def cpu_seconds(self, name: str) -> float:
        """CPU time of all that ever ran in a group and below; 0 where no group counts it."""
        for root, tree in self._roots.items():
            if "cpuacct" not in tree.controllers:
                continue
            folder = root / name
            if tree.version is Version.V1:
                return int(_read(folder / "cpuacct.usage") or 0) / 1e9
            return _field(_read(folder / "cpu.stat"), "usage_usec") / 1e6
        return 0.0

    def oom_kills(self, name: str) -> int:
        """How many processes of this group the kernel ended for want of memory."""
        for root, tree in self._roots.items():
            if "memory" in tree.controllers:
                file = "memory.events" if tree.version is Version.V2 else "memory.oom_control"
                return _field(_read(root / name / file), "oom_kill")
        return 0


def _hand_down(folder: Path) -> None:
    """Version 2: children of this group may limit cpu and memory."""
    (folder / "cgroup.subtree_control").write_text("+cpu +memory", encoding="ascii")


def _shares(cores: float) -> int:
    return max(2, min(262_144, int(cores * 1024)))


def _quota_microseconds(cores: float) -> int:
    return max(_LEAST_QUOTA_MICROSECONDS, int(cores * _PERIOD_MICROSECONDS))


def _v1_settings(limits: Limits, controllers: frozenset[str]) -> Iterator[tuple[str, str]]:
    if "cpu" in controllers and limits.cpu_cores:
        yield "cpu.cfs_period_us", str(_PERIOD_MICROSECONDS)
        yield "cpu.cfs_quota_us", str(_quota_microseconds(limits.cpu_cores))
    if "cpu" in controllers and limits.cpu_request_cores:
        yield "cpu.shares", str(_shares(limits.cpu_request_cores))
    if "memory" in controllers and limits.memory_bytes:
        yield "memory.limit_in_bytes", str(limits.memory_bytes)


def _v2_settings(limits: Limits) -> Iterator[tuple[str, str]]:
    if limits.cpu_cores:
        yield "cpu.max", f"{_quota_microseconds(limits.cpu_cores)} {_PERIOD_MICROSECONDS}"
    if limits.cpu_request_cores:
        # The same curve as container runtimes use from shares (2 to 262144) to weight (1 to 10000).
        yield "cpu.weight", str(1 + (_shares(limits.cpu_request_cores) - 2) * 9999 // 262_142)
    if limits.memory_bytes:
        yield "memory.max", str(limits.memory_bytes)
        # As the kubelet does: one process over the limit ends the container, not just itself.
        yield "memory.oom.group", "1"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def _field(text: str, key: str) -> int:
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return 0
