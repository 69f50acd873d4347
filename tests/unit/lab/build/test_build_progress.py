"""How far a build is, and what is told about it."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.lab.build.progress import Lines, PackageKey, PackageWork, Progress, Tally, spoken_duration


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def packages(**sizes):
    return {
        PackageKey(path=path, version="v1"): PackageWork(source_bytes=abs(size), cached=size < 0)
        for path, size in sizes.items()
    }


def test_a_package_of_two_parts_is_counted_once():
    tally = Tally({"a": packages(x=100, y=100), "b": packages(x=100, z=100)}, cores=1)

    assert tally.total == 3


def test_a_package_in_two_versions_is_two_packages():
    older = {PackageKey(path="x", version="v0"): PackageWork(source_bytes=1, cached=False)}
    tally = Tally({"a": packages(x=1), "b": older}, cores=1)

    assert tally.total == 2


def test_what_is_compiled_already_counts_as_done_from_the_start():
    tally = Tally({"a": packages(x=-100, y=100)}, cores=1)

    assert (tally.done, tally.total) == (1, 2)
    assert not tally.is_complete


def test_a_warm_cache_leaves_nothing_to_wait_for():
    tally = Tally({"a": packages(x=-100, y=-100)}, cores=1)

    assert tally.is_complete
    assert tally.seconds_left() == 0


def test_a_name_that_is_no_package_changes_nothing():
    tally = Tally({"a": packages(x=100)}, cores=1)
    tally.package_compiled("a", "# command-line-arguments")
    tally.package_compiled("a", "x")
    tally.package_compiled("a", "x")

    assert tally.done == 1


def test_the_end_of_a_part_completes_it_even_if_go_named_no_package():
    tally = Tally({"a": packages(x=100, y=100)}, cores=1)
    tally.begin_part()
    tally.end_part("a")

    assert tally.is_complete


def test_the_estimate_follows_the_speed_of_this_machine():
    """A machine a tenth as fast as assumed is foretold about ten times as long once it was watched for a while."""
    clock = Clock()
    tally = Tally({"a": packages(big=190_000 * 100, rest=190_000 * 100)}, cores=1, clock=clock)
    before = tally.seconds_left()
    tally.begin_part()
    clock.now = 1000.0
    tally.package_compiled("a", "big")

    assert before == pytest.approx(208, abs=5)
    assert tally.seconds_left() == pytest.approx(920, rel=0.1)


def test_a_link_step_keeps_some_time_left():
    tally = Tally({"a": packages(x=100)}, cores=1)
    tally.begin_part()
    tally.package_compiled("a", "x")

    assert tally.seconds_left() > 1
    tally.end_part("a")
    assert tally.seconds_left() == 0


@given(st.lists(st.integers(1, 10_000_000), min_size=1, max_size=30), st.integers(1, 64))
def test_work_left_never_grows_while_packages_are_compiled_in_no_time(sizes, cores):
    clock = Clock()
    tally = Tally({"a": packages(**{f"p{n}": size for n, size in enumerate(sizes)})}, cores=cores, clock=clock)
    tally.begin_part()
    told = [tally.seconds_left()]
    for n in range(len(sizes)):
        tally.package_compiled("a", f"p{n}")
        told.append(tally.seconds_left())

    assert told == sorted(told, reverse=True)
    assert tally.done == tally.total


def test_lines_come_when_something_begins_and_every_five_seconds():
    clock, stream = Clock(), io.StringIO()
    lines = Lines(stream, clock)
    for second in range(11):
        clock.now = float(second)
        lines.update(Progress(what="etcd: compiling", done=second, total=10, seconds_left=10.0 - second))
    lines.update(Progress(what="etcd: linking", done=10, total=10))

    assert stream.getvalue().splitlines() == [
        "etcd: compiling 0/10 packages, about 10 s left",
        "etcd: compiling 5/10 packages, about 5 s left",
        "etcd: compiling 10/10 packages, about 5 s left",
        "etcd: linking 10/10 packages",
    ]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(None, ""), (0.2, "about 5 s left"), (61, "about 60 s left"), (400, "about 7 min left")],
)
def test_durations_are_told_as_exactly_as_they_are_known(seconds, told):
    assert spoken_duration(seconds) == told
