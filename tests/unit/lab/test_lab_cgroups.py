"""Finding and setting control groups, of both versions, in folders that stand for the kernel's."""

from pathlib import Path

import pytest

from bench.lab.cgroups import Groups, Limits, Tree, Version, parse_membership, parse_mounts

V1_MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /outer /sys/fs/cgroup/memory rw,relatime shared:4 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


def test_mounts_of_both_versions_are_told_apart() -> None:
    joined, memory, unified = parse_mounts(V1_MOUNTS)

    assert (joined.version, joined.controllers) == (Version.V1, {"cpu", "cpuacct"})
    assert (memory.root, memory.mountpoint) == ("/outer", Path("/sys/fs/cgroup/memory"))
    assert unified.version is Version.V2


def test_membership_names_a_group_for_each_controller() -> None:
    groups = parse_membership("3:cpu,cpuacct:/a\n2:memory:/b:c\n0::/d\n")

    assert groups == {"cpu": "/a", "cpuacct": "/a", "memory": "/b:c", "": "/d"}


@pytest.fixture
def v1(tmp_path: Path) -> Groups:
    trees = [
        Tree(version=Version.V1, controllers=frozenset({each}), base=tmp_path / each) for each in ("cpu", "memory")
    ]
    for tree in trees:
        tree.base.mkdir()
    return Groups("lab", trees)


def in_group(base: Path, name: str) -> Path:
    (found,) = base.glob(f"*/{name}")
    return found


def test_version_1_gets_quota_shares_and_memory_each_in_its_own_hierarchy(v1: Groups, tmp_path: Path) -> None:
    for tree in ("cpu", "memory"):
        next_root = list(v1._roots)[0 if tree == "cpu" else 1]
        next_root.mkdir()
    v1.make("pods/a", Limits(cpu_cores=0.25, memory_bytes=1024, cpu_request_cores=0.5))

    cpu, memory = in_group(tmp_path / "cpu", "pods/a"), in_group(tmp_path / "memory", "pods/a")
    assert (cpu / "cpu.cfs_quota_us").read_text() == "25000"
    assert (cpu / "cpu.shares").read_text() == "512"
    assert (memory / "memory.limit_in_bytes").read_text() == "1024"
    assert not (cpu / "memory.limit_in_bytes").exists()


def test_version_2_hands_controllers_down_and_ends_the_whole_container_for_want_of_memory(tmp_path: Path) -> None:
    groups = Groups(
        "lab", [Tree(version=Version.V2, controllers=frozenset({"cpu", "cpuacct", "memory"}), base=tmp_path)]
    )
    (root,) = groups._roots
    root.mkdir()
    groups.make("pods/a", Limits(cpu_cores=1.5, memory_bytes=2048, cpu_request_cores=1))

    leaf = root / "pods/a"
    assert (root / "pods/cgroup.subtree_control").read_text() == "+cpu +memory"
    assert (leaf / "cpu.max").read_text() == "150000 100000"
    assert (leaf / "memory.max").read_text() == "2048"
    assert (leaf / "memory.oom.group").read_text() == "1"
    assert (leaf / "cpu.weight").read_text() == "39"


def test_version_2_counts_microseconds_and_kills(tmp_path: Path) -> None:
    groups = Groups(
        "lab", [Tree(version=Version.V2, controllers=frozenset({"cpu", "cpuacct", "memory"}), base=tmp_path)]
    )
    (root,) = groups._roots
    leaf = root / "a"
    leaf.mkdir(parents=True)
    (leaf / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    (leaf / "memory.events").write_text("low 0\noom 1\noom_kill 2\n")
    (leaf / "cgroup.procs").write_text("12\n0\n13\n")

    assert groups.cpu_seconds("a") == 2.5
    assert groups.oom_kills("a") == 2
    assert groups.pids("a") == [12, 13]


def test_without_control_groups_it_is_said_what_holds_nobody_back() -> None:
    groups = Groups("lab", [])
    groups.make("a", Limits(cpu_cores=1))

    assert not groups.available
    assert [each.split()[0] for each in groups.not_enforced] == ["cpu", "memory"]
    assert groups.cpu_seconds("a") == 0
