import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from simulated_gpu import play

from bench.analysis.fidelity.age import sample_ages
from bench.analysis.fidelity.agreement import (
    agreement,
    aligned,
    cumulated,
    nearest,
    regress,
    unaligned,
    unit_factor,
    view_error,
)
from bench.analysis.fidelity.response import step_response
from bench.analysis.fidelity.transport import (
    Bound,
    cardinality,
    counter,
    coverage,
    hand_overs,
    memory_imbalance_bytes,
    out_of_range_total,
    sentinels,
)
from bench.analysis.signals import Signal, merged


def test_with_the_age_taken_out_a_sound_chain_agrees_and_without_it_does_not():
    chain = play(np.random.default_rng(1), collect=30, scrape=15, seconds=3600.0)
    ages = sample_ages(chain.probe_energy, chain.energy)

    assert aligned(chain.busy, chain.probe_busy, ages).mean_absolute < 0.01
    assert unaligned(chain.busy, chain.probe_busy).mean_absolute > 0.1


def test_the_errors_of_rounding_to_a_percent_and_cutting_to_a_mebibyte_are_their_floors():
    truth = np.random.default_rng(2).uniform(0, 1, 5000)
    percent = agreement(np.round(truth * 100) / 100, truth)
    memory = truth * 80e9
    mebibytes = agreement(np.floor(memory / 1048576) * 1048576, memory)

    assert percent.root_mean_square == pytest.approx(0.0029, abs=1e-4)
    assert abs(percent.bias) < 2e-4
    assert mebibytes.bias / 1048576 == pytest.approx(-0.5, abs=0.02)
    assert mebibytes.p95_absolute <= 1048576


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50), st.floats(-100, 100))
def test_a_constant_offset_is_all_bias(values, offset):
    true = np.array(values)
    found = agreement(true + offset, true)

    assert found.bias == pytest.approx(offset, abs=1e-6)
    assert found.limit_high - found.limit_low == pytest.approx(0.0, abs=1e-5)


def test_nothing_to_compare_is_none_and_not_zero():
    nan = np.array([np.nan])

    assert agreement(nan, np.array([1.0])) is None
    assert regress(np.ones(5), np.ones(5)) is None
    assert unit_factor(nan, nan) is None
    assert unit_factor(-np.ones(5), np.ones(5)) is None


@pytest.mark.parametrize("factor", [1.0, 1e3, 1e-3, 1048576.0, 1 / 1048576, 100.0, 0.01])
def test_a_wrong_unit_is_told_by_its_factor_in_spite_of_noise(factor):
    generator = np.random.default_rng(3)
    truth = generator.uniform(100, 400, 200)

    assert unit_factor(truth * factor * generator.normal(1, 0.05, 200), truth) == factor


def test_another_quantity_has_no_units_factor():
    truth = np.random.default_rng(4).uniform(100, 400, 200)

    assert unit_factor(truth * 7.0, truth) is None


def test_the_nearest_probe_value_is_taken_and_none_outside():
    truth = Signal(times_seconds=np.array([0.0, 1.0, 2.0]), values=np.array([10.0, 11.0, 12.0]))

    assert list(nearest(truth, np.array([0.4, 0.6, 2.0]))) == [10.0, 11.0, 12.0]
    assert np.isnan(nearest(truth, np.array([-0.1, 2.1]))).all()
    one = Signal(times_seconds=np.array([1.0]), values=np.array([5.0]))
    assert list(nearest(one, np.array([1.0]))) == [5.0]
    assert np.isnan(nearest(Signal(times_seconds=np.empty(0), values=np.empty(0)), np.array([1.0]))).all()


@given(st.integers(0, 1000), st.floats(2, 20))
def test_between_two_times_the_area_grows_by_the_mean_of_what_the_probe_saw(seed, length):
    chain = play(np.random.default_rng(seed), collect=5, scrape=5, seconds=100.0)
    end = chain.probe_busy.times_seconds[0] + 60.0
    inside = (chain.probe_busy.times_seconds >= end - length) & (chain.probe_busy.times_seconds < end)

    found = float(np.diff(cumulated(chain.probe_busy, np.array([end - length, end])))[0]) / length
    assert found == pytest.approx(chain.probe_busy.values[inside].mean(), abs=0.2 / length + 0.01)


def test_a_partial_kernel_shows_as_a_slope_with_its_interval():
    generator = np.random.default_rng(5)
    busy = generator.uniform(0, 1, 300)
    slope = regress(busy, busy / 132 + generator.normal(0, 1e-4, 300))

    assert slope.low <= 1 / 132 <= slope.high
    assert slope.r_squared > 0.99
    hits = 0
    for _ in range(300):
        x = generator.uniform(0, 1, 20)
        found = regress(x, 2 * x + generator.normal(0, 0.3, 20))
        hits += found.low <= 2 <= found.high
    assert hits / 300 > 0.92


def test_the_autoscalers_view_is_compared_relatively_and_zero_as_it_is():
    found = view_error(np.array([0.77, 0.0]), np.array([0.7, 0.0]))

    assert found.p95_absolute == pytest.approx(0.1, abs=0.006)


def test_the_response_to_many_steps_is_the_true_one_within_its_interval():
    generator = np.random.default_rng(6)
    steps = np.cumsum(generator.uniform(80, 120, 30))
    times = np.arange(generator.uniform(0, 5), steps[-1] + 100, 5.0)
    since = times - np.concatenate([[-1e9], steps])[np.searchsorted(steps, times, side="right")]
    values = np.where(since < 60, 1 - np.exp(-np.minimum(since, 500) / 8.0), 0.0)
    found = step_response(Signal(times_seconds=times, values=values), steps_seconds=steps, base=0.0, peak=1.0)

    for share, median in zip(found.shares, found.medians, strict=True):
        true = -8.0 * math.log(1 - share)
        assert median.low - 2.5 <= true <= median.high + 2.5
    assert found.missed_total == 0
    assert found.overshoot_ratio == 0.0


def test_steps_that_are_never_followed_are_missed():
    flat = Signal(times_seconds=np.arange(0, 100, 5.0), values=np.zeros(20))

    assert step_response(flat, steps_seconds=np.array([10.0, 50.0]), base=0.0, peak=1.0) is None
    half = Signal(times_seconds=np.arange(0, 100, 5.0), values=(np.arange(0, 100, 5.0) > 55).astype(float) * 1.2)
    found = step_response(half, steps_seconds=np.array([10.0, 50.0]), base=0.0, peak=1.0)
    assert (found.missed_total, found.overshoot_ratio) == (1, pytest.approx(0.2))


@given(st.integers(0, 100), st.integers(1, 30))
def test_coverage_counts_what_is_missing_and_finds_the_hole(start, missing):
    times = np.arange(0.5, 1500, 15.0)
    kept = np.delete(times, np.arange(1 + start % 60, 1 + start % 60 + missing))
    found = coverage(np.repeat(kept, 2), start_seconds=0.0, end_seconds=1500.0, scrape_seconds=15.0)

    assert found.share.estimate == pytest.approx((100 - missing) / 100)
    assert found.longest_gap_seconds >= 15.0 * missing
    assert found.gaps_total == 1


def test_a_whole_series_has_no_holes_and_an_empty_one_is_one_hole():
    times = np.arange(0.5, 1500, 15.0)

    assert coverage(times, start_seconds=0, end_seconds=1500, scrape_seconds=15).gaps_total == 0
    empty = coverage(np.empty(0), start_seconds=0, end_seconds=1500, scrape_seconds=15)
    assert (empty.share.estimate, empty.longest_gap_seconds) == (0.0, 1500.0)


def test_energy_rises_at_the_rate_of_the_mean_power():
    chain = play(np.random.default_rng(7), collect=5, scrape=5, seconds=3600.0)
    mean_watts = 60 + 300 * chain.probe_busy.values.mean()
    found = counter(chain.energy, mean_rate_per_second=mean_watts)

    assert found.resets_total == 0
    assert found.rate_ratio == pytest.approx(1.0, abs=0.02)
    assert not found.looks_like_gauge


def test_a_gauge_that_calls_itself_a_counter_is_found_and_one_reset_is_not_one():
    times = np.arange(200.0)
    noise = Signal(times_seconds=times, values=np.random.default_rng(8).uniform(0, 1e9, 200))
    once = Signal(times_seconds=times, values=np.concatenate([np.arange(100.0), np.arange(100.0)]))

    assert counter(noise, mean_rate_per_second=1.0).looks_like_gauge
    assert counter(once, mean_rate_per_second=1.0).resets_total == 1
    assert not counter(once, mean_rate_per_second=1.0).looks_like_gauge


@pytest.mark.parametrize("conversion", [1.0, 0.01, 1e-3, 1048576.0, 1e6])
@pytest.mark.parametrize("mark", [9223372036854775794.0, 2147483632.0, 140737488355328.0, 140737488355330.0])
def test_a_blank_that_leaks_is_found_through_every_conversion(mark, conversion):
    assert list(sentinels(np.array([0.5, mark * conversion, 80e9]))) == [False, True, False]


@given(st.lists(st.floats(0, 2e11), min_size=1, max_size=50))
def test_true_values_are_not_taken_for_blanks(values):
    array = np.array(values)
    marks = [mark * factor for mark in (2147483632.0 + n for n in range(4)) for factor in (1, 0.01, 1e-3, 1024)]
    near = sum(any(abs(value - mark) <= 1e-8 * mark for mark in marks) for value in values)

    assert sentinels(array).sum() <= near


def test_values_that_cannot_be_are_counted():
    values = np.array([0.0, 1.0, 1.01, -0.1, np.nan])

    assert out_of_range_total(values, Bound.RATIO) == 3
    assert out_of_range_total(values, Bound.NOT_NEGATIVE) == 2


def test_memory_adds_up_within_its_roundings():
    mebi = 1048576.0
    used, free, reserved = np.array([10.0]) * mebi, np.array([60.0]) * mebi, np.array([9.0]) * mebi

    assert memory_imbalance_bytes(used, free, reserved, 80 * mebi) / mebi == pytest.approx([-1.0])


def piece(start, end, step=15.0):
    times = np.arange(start, end, step)
    return Signal(times_seconds=times, values=np.ones(times.size))


def test_gaps_and_overlaps_at_a_hand_over_are_told():
    clean = hand_overs([piece(150, 300), piece(0, 150)], scrape_seconds=15)
    gap = hand_overs([piece(0, 150), piece(200, 300)], scrape_seconds=15)
    overlap = hand_overs([piece(0, 150), piece(100, 300)], scrape_seconds=15)

    assert (clean[0].gap_seconds, clean[0].overlap_seconds) == (0.0, 0.0)
    assert gap[0].gap_seconds == 50.0
    assert overlap[0].overlap_seconds == 35.0
    assert hand_overs([piece(0, 150)], scrape_seconds=15) == ()
    assert list(merged([piece(30, 60), piece(0, 30)]).times_seconds) == [0, 15, 30, 45]


def test_churn_is_counted_by_the_hour():
    first = np.array([0.0, 0.0, 1000.0, 2000.0])
    last = np.array([3600.0, 900.0, 3600.0, 3590.0])
    found = cardinality(first, last, start_seconds=0.0, end_seconds=3600.0)

    assert (found.present_total, found.new_per_hour) == (3, 2.0)
