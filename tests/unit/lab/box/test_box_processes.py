"""Reading /proc: a name may hold anything, and a family is found by its parents."""

import os

from bench.lab.box.describe import pods_below
from bench.lab.box.processes import Process, parse, read_table, usage, with_descendants

STAT = (
    "4242 (a (strange) name) S 17 4242 4242 0 -1 4194304 100 0 0 0 250 150 0 0 20 0 5 0 99 123456789 1000 "
    "18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)


def process(pid: int, parent: int, *, cpu_seconds: float = 0.0, memory_bytes: int = 0) -> Process:
    return Process(pid=pid, parent=parent, is_zombie=False, cpu_seconds=cpu_seconds, memory_bytes=memory_bytes)


def test_a_name_with_parentheses_does_not_shift_the_fields() -> None:
    parsed = parse(STAT)

    assert (parsed.pid, parsed.parent, parsed.is_zombie) == (4242, 17, False)
    assert parsed.cpu_seconds == 400 / os.sysconf("SC_CLK_TCK")
    assert parsed.memory_bytes == 1000 * os.sysconf("SC_PAGE_SIZE")


def test_a_zombie_is_seen_as_one() -> None:
    assert parse(STAT.replace(") S ", ") Z ")).is_zombie


def test_descendants_leave_out_whole_branches() -> None:
    table = {pid: process(pid, parent) for pid, parent in ((1, 0), (2, 1), (3, 2), (4, 1), (5, 4), (6, 5), (9, 0))}

    assert with_descendants(table, [1], but_not=[2]) == {1, 4, 5, 6}


def test_usage_is_a_sum_over_those_that_live() -> None:
    table = {1: process(1, 0, cpu_seconds=1.5, memory_bytes=10), 2: process(2, 1, cpu_seconds=0.5, memory_bytes=5)}

    used = usage(table, [1, 2, 77])

    assert (used.cpu_seconds, used.memory_bytes) == (2.0, 15)


def test_this_process_is_in_the_table() -> None:
    table = read_table()

    assert table[os.getpid()].parent == os.getppid()
    assert table[os.getpid()].memory_bytes > 1 << 20


def test_what_no_agent_started_is_no_pod() -> None:
    assert pods_below(read_table(), [os.getppid()]) == {}
