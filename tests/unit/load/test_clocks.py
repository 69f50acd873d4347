"""Clocks of workers: bounded by words there and back, whatever the words' delays."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from bench.load.clocks import ClockOffset, Echo, measure, offset_of, over_run


@given(
    offset=st.integers(-(10**18), 10**18),
    delays=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**6), st.integers(0, 10**9)), min_size=1),
)
def test_the_true_offset_lies_within_the_bound(offset: int, delays: list[tuple[int, int, int]]) -> None:
    echoes, now = [], 0
    for there, thinking, back in delays:
        heard = now + there
        told = heard + thinking
        echoes.append(Echo(asked=now, heard=heard + offset, told=told + offset, back=told + back))
        now = told + back

    found = offset_of(echoes)

    assert found is not None
    assert abs(found.offset_ns - offset) <= found.bound_ns + 1
    assert found.bound_ns <= min((there + back) for there, _, back in delays) / 2 + 1


def test_who_never_answers_has_no_offset() -> None:
    assert measure(lambda: None, lambda: 0) is None


def test_round_trips_are_stamped_on_both_sides() -> None:
    clock = itertools.count(0, 10)

    found = measure(lambda: {"heard": 1005 + (at := next(clock)), "told": 1005 + at}, lambda: next(clock), rounds=2)

    assert found == ClockOffset(offset_ns=1005, bound_ns=10)


def test_a_clock_that_ran_apart_widens_the_bound() -> None:
    before, after = ClockOffset(offset_ns=100, bound_ns=5), ClockOffset(offset_ns=130, bound_ns=7)

    assert over_run(before, after) == ClockOffset(offset_ns=100, bound_ns=37)
    assert over_run(before, None) is None
