"""Schedules: exact where even, of the right law where drawn, the same for a seed, whole when shared out."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import WrongUsage
from bench.load.arrivals import Arrivals, Process, Shape, read_trace, schedule, share_out

EVEN = Arrivals(process=Process.CONSTANT)


def times(arrivals: Arrivals, shape: Shape, seed: int = 1) -> np.ndarray:
    return schedule(arrivals, shape, seed=seed, requests_max=10**9) / 1e9


def test_a_constant_rate_is_even_and_exact() -> None:
    assert times(EVEN, Shape.constant(10.0, 10.0)) == pytest.approx(np.arange(100) / 10)


@given(rate=st.floats(0.5, 2000), seconds=st.floats(0.1, 20))
def test_a_constant_rate_never_sends_more_than_rate_times_time(rate: float, seconds: float) -> None:
    sent = times(EVEN, Shape.constant(rate, seconds))

    assert abs(len(sent) - rate * seconds) <= 1
    assert len(sent) == 0 or sent[-1] < seconds


def test_poisson_gaps_are_exponential() -> None:
    gaps = np.sort(np.diff(times(Arrivals(), Shape.constant(200.0, 100.0))))
    expected = 1 - np.exp(-200.0 * gaps)
    steps = np.arange(1, len(gaps) + 1) / len(gaps)

    assert np.max(np.abs(steps - expected)) < 1.628 / np.sqrt(len(gaps))


@pytest.mark.parametrize("ratio", [0.25, 1.0, 3.0])
def test_gamma_gaps_have_the_variation_asked_for(ratio: float) -> None:
    gaps = np.diff(times(Arrivals.parse(f"gamma:{ratio}"), Shape.constant(500.0, 100.0)))

    assert np.mean(gaps) == pytest.approx(1 / 500, rel=0.05)
    assert np.std(gaps) / np.mean(gaps) == pytest.approx(ratio, rel=0.06)


def test_the_same_seed_gives_the_same_times_and_another_others() -> None:
    shape = Shape.constant(50.0, 5.0)

    assert np.array_equal(times(Arrivals(), shape), times(Arrivals(), shape))
    assert not np.array_equal(times(Arrivals(), shape), times(Arrivals(), shape, seed=2))


def test_a_step_changes_the_rate_where_it_stands() -> None:
    sent = times(EVEN, Shape.parse("10:5,100:1,10:5"))

    assert [int(((sent >= a) & (sent < b)).sum()) for a, b in ((0, 5), (5, 6), (6, 11))] == [50, 100, 50]


def test_a_ramp_has_the_area_below_it() -> None:
    sent = times(EVEN, Shape.parse("0-100:10"))

    assert len(sent) == pytest.approx(500, abs=1)
    assert int((sent < 5).sum()) == pytest.approx(125, abs=1)


def test_a_sine_goes_up_and_down_about_its_mean() -> None:
    sent = times(EVEN, Shape.parse("100~50/10:10"))

    assert len(sent) == pytest.approx(1000, abs=2)
    assert int((sent < 5).sum()) == pytest.approx(500 + 50 * 10 / np.pi, rel=0.02)


def test_users_over_a_ramp_are_looked_at_once_a_second() -> None:
    assert Shape.parse("2:3,2-4:2").steps() == [(0.0, 2), (4.0, 3)]


def test_a_shape_that_is_cut_keeps_its_slope() -> None:
    cut = Shape.parse("0-100:10").cut(5)

    assert (cut.duration_seconds, cut.pieces[0].end) == (5, 50)
    assert Shape.parse("5:1").cut(3).level_at(2.5) == 5


@pytest.mark.parametrize("text", ["", "10", "10:0", "a:5", "-1:5", "5-:3", "10~5:3", "10~5/0:3", "nan:1", "1:inf"])
def test_steps_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(WrongUsage):
        Shape.parse(text)


@pytest.mark.parametrize("text", ["", "gamma", "gamma:0", "gamma:x", "trace:", "poisson:2", "uniform"])
def test_arrivals_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(WrongUsage):
        Arrivals.parse(text)


def test_a_trace_is_sent_as_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_text("# seconds\n0.5\n0.1\n\n3\n")

    assert times(Arrivals.parse(f"trace:{file}"), Shape.constant(1.0, 2.0)) == pytest.approx([0.1, 0.5])


def test_a_trace_with_a_word_in_it_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_text("0.5\nsoon\n")

    with pytest.raises(WrongUsage, match="line 2"):
        read_trace(file)


@given(workers=st.integers(1, 9), seed=st.integers(0, 5))
def test_workers_together_send_the_schedule_of_one(workers: int, seed: int) -> None:
    offsets = schedule(Arrivals(), Shape.constant(100.0, 3.0), seed=seed, requests_max=10**6)

    parts = share_out(offsets, workers=workers, seed=seed)

    together = sorted(
        (int(number), int(offset)) for times_, numbers in parts for offset, number in zip(times_, numbers, strict=True)
    )
    assert together == list(enumerate(offsets.tolist()))
