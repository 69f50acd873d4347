import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from simulated_gpu import play, play_busy_node

from bench.analysis.fidelity.age import collect_interval, lag, sample_ages, staleness
from bench.analysis.fidelity.clockwork import steadied
from bench.analysis.signals import Signal

INTERVALS = [(30, 15), (15, 15), (5, 5), (1, 5)]


@pytest.mark.parametrize(("collect", "scrape"), INTERVALS)
@pytest.mark.parametrize("seed", range(5))
def test_the_energy_clock_tells_every_age_within_a_tenth_of_a_second(collect, scrape, seed):
    chain = play(np.random.default_rng(seed), collect=collect, scrape=scrape)
    errors = sample_ages(chain.probe_energy, chain.energy) - chain.ages

    assert np.isfinite(errors).all()
    assert np.abs(errors).max() <= 0.1 + 1e-6


@pytest.mark.parametrize(("collect", "scrape", "seconds"), [(30, 15, 300), (15, 15, 300), (5, 5, 150), (1, 5, 150)])
def test_looks_that_come_late_leave_every_age_within_a_tenth_of_a_second(collect, scrape, seconds):
    """By the schedule of all passes; by its own looks alone some sample is further off."""
    alone, together = [], []
    for seed in range(60):
        probe, scraped, true = play_busy_node(
            np.random.default_rng(seed), collect=collect, scrape=scrape, seconds=seconds
        )
        alone.append(np.nanmax(np.abs(sample_ages(probe, scraped) - true)))
        together.append(np.nanmax(np.abs(sample_ages(probe, scraped, float(collect)) - true)))

    assert max(together) <= 0.1
    assert np.median(together) < 0.7 * np.median(alone)


def test_an_exporter_that_begins_anew_keeps_what_is_known_of_each_pass():
    passes = np.concatenate([np.arange(6) * 5.0, 40.0 + 2.3 + np.arange(6) * 5.0])
    halves = np.full(passes.size, 0.1)

    assert np.abs(steadied(passes, halves, 5.0) - passes).max() <= 0.1


def test_over_runs_of_random_phase_the_energy_clock_is_right_on_average():
    means = []
    for seed in range(60):
        chain = play(np.random.default_rng(seed), collect=5, scrape=5, seconds=120.0)
        means.append(np.mean(sample_ages(chain.probe_energy, chain.energy) - chain.ages))

    assert abs(np.mean(means)) <= 0.05


@settings(deadline=None, max_examples=15)
@given(st.floats(0.5, 40), st.floats(1, 30), st.integers(0, 1000))
def test_the_energy_clock_holds_for_any_pair_of_intervals(collect, scrape, seed):
    chain = play(np.random.default_rng(seed), collect=collect, scrape=scrape, seconds=300.0)
    errors = (sample_ages(chain.probe_energy, chain.energy) - chain.ages)[chain.ages < 200]

    assert np.nanmax(np.abs(errors), initial=0.0) <= 0.1 + 1e-6


@pytest.mark.parametrize(("collect", "scrape"), [*INTERVALS, (20, 15), (60, 15), (10, 15)])
def test_the_collect_interval_is_told_or_bounded(collect, scrape):
    chain = play(np.random.default_rng(7), collect=collect, scrape=scrape)
    found = collect_interval(sample_ages(chain.probe_energy, chain.energy), chain.energy)

    assert found.at_least_seconds - 0.15 <= collect <= found.at_most_seconds + 0.15
    if collect > scrape:
        assert found.is_known
        assert found.seconds == pytest.approx(collect, abs=0.1)


def test_values_that_the_device_had_not_counted_to_have_no_age():
    chain = play(np.random.default_rng(8), collect=5, scrape=5)
    greater = Signal(times_seconds=chain.energy.times_seconds, values=1.3 * chain.energy.values)

    assert np.isnan(sample_ages(chain.probe_energy, greater)).all()


def test_values_the_probe_never_saw_have_no_age():
    chain = play(np.random.default_rng(9), collect=5, scrape=5, seconds=300.0)
    half = Signal(times_seconds=chain.probe_energy.times_seconds[:1000], values=chain.probe_energy.values[:1000])
    ages = sample_ages(half, chain.energy)

    assert np.isnan(ages[-10:]).all()
    assert np.isfinite(ages[:5]).all()
    none = Signal(times_seconds=np.empty(0), values=np.empty(0))
    assert np.isnan(sample_ages(none, chain.energy)).all()
    assert collect_interval(sample_ages(none, chain.energy), chain.energy) is None


def test_a_counter_that_was_reset_does_not_make_ages_up():
    probe = Signal(times_seconds=np.arange(10.0), values=np.array([5.0, 6, 7, 8, 9, 0, 1, 2, 3, 4]))
    scraped = Signal(times_seconds=np.array([3.5, 8.5]), values=np.array([8.0, 3.0]))
    ages = sample_ages(probe, scraped)

    assert ages[0] == pytest.approx(0.5)
    assert np.isnan(ages[1])


@pytest.mark.parametrize(("collect", "scrape"), [(30, 15), (60, 15), (15, 15), (5, 15), (45, 15)])
def test_repeats_are_as_many_as_the_intervals_imply(collect, scrape):
    chain = play(np.random.default_rng(10), collect=collect, scrape=scrape, seconds=3600.0)
    found = staleness(chain.energy, collect_seconds=collect, scrape_seconds=scrape)

    assert found.ratio == pytest.approx(found.expected_ratio, abs=0.03)


def test_a_frozen_exporter_is_staler_than_expected():
    chain = play(np.random.default_rng(11), collect=5, scrape=5, seconds=600.0)
    frozen = Signal(times_seconds=chain.energy.times_seconds, values=np.full_like(chain.energy.values, 5.0))

    assert staleness(frozen, collect_seconds=5, scrape_seconds=5).ratio == 1.0


@pytest.mark.parametrize(("collect", "scrape"), [(5, 5), (15, 15), (1, 5)])
def test_the_lag_of_short_equal_intervals_is_the_age(collect, scrape):
    errors = []
    for seed in range(4):
        chain = play(np.random.default_rng(seed), collect=collect, scrape=scrape, seconds=3600.0)
        found = lag(chain.probe_busy, chain.busy, max_seconds=2.0 * scrape)
        errors.append(found.seconds - chain.ages.mean())
        assert found.r_squared > 0.8
    # the age of one run is one number here (the phases are fixed), and edges of the load bound it from both sides only
    assert np.abs(errors).max() < 1.0


def test_a_metric_that_does_not_move_has_no_lag():
    flat = Signal(times_seconds=np.arange(100.0), values=np.ones(100))

    assert lag(flat, flat, max_seconds=10.0) is None
