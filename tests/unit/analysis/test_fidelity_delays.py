"""A delay of one quantity is told with its interval whenever it begins; a sound chain has none at any intervals."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from simulated_course import QUANTITIES, play_course

from bench.analysis.fidelity.delays import find_delay
from bench.analysis.fidelity.screening import LEAST_DELAY_SECONDS
from bench.analysis.signals import Signal

LENGTHS = {(1, 1): 30, (1, 5): 150, (5, 5): 150, (15, 15): 300, (30, 15): 600}
"""By collect and scrape interval the seconds of the course."""


def found_in(course, name):
    return find_delay(name, course.scraped[name], course.told_ages, course.probed[name])


def is_told(delay):
    """As the check bounds it: the least delay that is not refuted is more than a pass explains."""
    return delay is not None and delay.low_seconds > LEAST_DELAY_SECONDS


@settings(deadline=None, max_examples=12)
@given(st.sampled_from(sorted(LENGTHS)), st.integers(0, 10_000), st.floats(0.0, 0.1), st.floats(0.0, 0.15))
def test_a_sound_chain_has_no_delay_even_on_a_busy_node_with_clocks_that_differ(pair, seed, jitter, clock):
    collect, scrape = pair
    course = play_course(
        np.random.default_rng(seed), collect=collect, scrape=scrape, seconds=LENGTHS[pair], jitter=jitter, clock=clock
    )

    assert not any(is_told(found_in(course, name)) for name in QUANTITIES)


@pytest.mark.parametrize("after", [0.0, 0.2, 0.4])
@pytest.mark.parametrize("name", QUANTITIES)
def test_six_seconds_that_begin_on_the_way_are_told_in_a_course_of_thirty(name, after):
    course = play_course(
        np.random.default_rng(7), collect=1, scrape=1, seconds=30, dwell=3.0, delays={name: 6.0}, after=after
    )
    found = found_in(course, name)

    assert is_told(found)
    assert found.low_seconds - 0.2 <= 6.0 <= found.high_seconds + 0.2
    assert found.seconds == pytest.approx(6.0, abs=0.5)
    assert not found.is_late[course.scraped[name].times_seconds < 30 * after].any()


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000), st.floats(4.0, 20.0))
def test_the_interval_holds_the_true_delay(seed, delay):
    course = play_course(
        np.random.default_rng(seed), collect=1, scrape=1, seconds=60, delays=dict.fromkeys(QUANTITIES, delay)
    )
    for name in QUANTITIES:
        found = found_in(course, name)
        if found is not None:
            assert found.low_seconds - 0.5 <= delay <= found.high_seconds + 0.5


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("factor", [0.5, 0.7, 0.85, 1.2])
def test_values_that_are_wrong_have_no_delay(factor, seed):
    course = play_course(np.random.default_rng(seed), collect=1, scrape=1, seconds=60)
    for name in QUANTITIES:
        sound = course.scraped[name]
        wrong = Signal(times_seconds=sound.times_seconds, values=factor * sound.values, is_polled=False)

        assert not is_told(find_delay(name, wrong, course.told_ages, course.probed[name]))


def test_a_value_that_stands_still_has_no_delay():
    course = play_course(np.random.default_rng(4), collect=1, scrape=1, seconds=60)
    sound = course.scraped["gpu_busy_time_ratio"]
    values = sound.values.copy()
    values[values.size // 3 :] = values[values.size // 3]
    frozen = Signal(times_seconds=sound.times_seconds, values=values, is_polled=False)

    assert find_delay("gpu_busy_time_ratio", frozen, course.told_ages, course.probed["gpu_busy_time_ratio"]) is None
