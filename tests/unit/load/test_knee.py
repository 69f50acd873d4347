"""The search for the knee, on a server that is a function."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.arrivals import Shape
from bench.load.endpoints import Endpoint, Protocol
from bench.load.knee import Knee, Search, Trial, find_knee
from bench.load.orders import LoadOrder, LoopKind, Objectives
from bench.load.pages import knee_page


def search(knee: float, first: float = 1.0, highest: float = 10_000.0) -> Knee:
    def trial_at(rate: float, _repeat: int) -> Trial:
        return Trial(rate=rate, good_ratio=float(rate <= knee), held=rate <= knee, reason="")

    return find_knee(Search(first_rate=first, highest_rate=highest), trial_at)


@given(knee=st.floats(0.1, 5000), first=st.floats(0.5, 100))
def test_the_knee_lies_between_what_is_told(knee: float, first: float) -> None:
    found = search(knee, first)

    assert found.found
    assert found.holds_at is not None
    assert found.breaks_at is not None
    assert found.holds_at <= knee < found.breaks_at <= found.holds_at * 1.1001


def test_a_server_that_never_breaks_has_no_knee_below_the_highest_rate() -> None:
    found = search(1e9, highest=100.0)

    assert (found.holds_at, found.breaks_at, found.found) == (100.0, None, False)


def test_a_server_that_never_holds_ends_the_search() -> None:
    assert search(0.0).holds_at is None


def test_one_bad_run_of_three_does_not_break_a_rate() -> None:
    def trial_at(rate: float, repeat: int) -> Trial:
        held = rate <= 8 and repeat != 1
        return Trial(rate=rate, good_ratio=None, held=held, reason="")

    found = find_knee(Search(first_rate=1.0, highest_rate=100.0), trial_at)

    assert found.holds_at == pytest.approx(8, rel=0.1)


def test_a_run_that_cannot_be_judged_ends_the_search_and_is_told() -> None:
    found = find_knee(
        Search(first_rate=1.0, highest_rate=100.0),
        lambda rate, _: Trial(rate=rate, good_ratio=0.1, held=True if rate < 4 else None, reason="late"),
    )

    assert (found.holds_at, found.breaks_at) == (2.0, None)
    assert found.trials[-1].held is None


ORDER = LoadOrder(
    endpoint=Endpoint.parse("http://127.0.0.1/a?<b>", Protocol.PLAIN),
    protocol=Protocol.PLAIN,
    loop=LoopKind.OPEN,
    shape=Shape.constant(1.0, 10.0),
    objectives=Objectives.parse("ttft=0.5,share=0.95"),
)


def test_the_page_of_a_search_says_where_it_breaks_and_shows_every_run() -> None:
    text = knee_page(search(8.0), ORDER)

    assert "hold at 8 requests a second and break at 8.724" in text
    assert "95% of the requests, from when each was due: ttft 0.5 s" in text
    assert text.count("<svg") == 1  # no latency was told of a function
    assert text.count(">holds<") == 3 * len({each.rate for each in search(8.0).trials if each.held}) - 4
    assert "<b>" not in text


def test_the_page_of_a_search_without_an_end_says_so() -> None:
    assert "was not found" in knee_page(search(1e9, highest=100.0), ORDER)
    assert "A rate at which they hold was not found" in knee_page(search(0.0), ORDER)
