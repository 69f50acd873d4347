import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.distributions import chi_square_survival, kolmogorov_survival, student_cdf, student_quantile
from bench.analysis.intervals import (
    block_bootstrap_interval,
    bootstrap_interval,
    chi_square_test,
    ks_test,
    mean_interval,
    median_interval,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("statistic", "degrees", "tail"),
    [
        (3.841, 1, 0.05),
        (5.991, 2, 0.05),
        (18.307, 10, 0.05),
        (29.588, 10, 0.001),
        (0.0158, 1, 0.9),
        (124.342, 100, 0.05),
    ],
)
def test_chi_square_tails_are_those_of_the_tables(statistic, degrees, tail):
    assert chi_square_survival(statistic, degrees) == pytest.approx(tail, rel=2e-3)


@pytest.mark.parametrize(
    ("probability", "degrees", "quantile"),
    [
        (0.975, 1, 12.706),
        (0.975, 4, 2.776),
        (0.975, 30, 2.042),
        (0.995, 9, 3.250),
        (0.05, 4, -2.132),
        (0.975, 1e6, 1.96),
    ],
)
def test_student_quantiles_are_those_of_the_tables(probability, degrees, quantile):
    assert student_quantile(probability, degrees) == pytest.approx(quantile, abs=2e-3)


@given(st.floats(-50, 50), st.floats(1, 200))
def test_student_is_symmetric(value, degrees):
    assert student_cdf(value, degrees) == pytest.approx(1 - student_cdf(-value, degrees), abs=1e-12)


@pytest.mark.parametrize(("value", "tail"), [(1.3581, 0.05), (1.6276, 0.01), (1.9495, 0.001), (0.1, 1.0)])
def test_kolmogorov_tails_are_those_of_the_tables(value, tail):
    assert kolmogorov_survival(value) == pytest.approx(tail, rel=5e-3)


@given(st.integers(0, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_estimate_and_stays_a_proportion(counts):
    interval = wilson_interval(*counts)

    assert 0 <= interval.low <= interval.high <= 1
    if counts[1]:
        assert interval.covers(interval.estimate)


def test_wilson_of_known_counts():
    interval = wilson_interval(81, 263)

    assert (interval.low, interval.high) == (pytest.approx(0.2553, abs=5e-4), pytest.approx(0.3662, abs=5e-4))
    assert wilson_interval(0, 20).high == pytest.approx(0.1611, abs=5e-4)
    with pytest.raises(ValueError, match="no proportion"):
        wilson_interval(3, 2)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_wilson_covers_the_truth_as_often_as_it_says(share):
    draws = np.random.default_rng(1).binomial(200, share, size=2000)

    assert np.mean([wilson_interval(int(each), 200).covers(share) for each in draws]) > 0.93


def test_a_mean_interval_covers_the_truth_as_often_as_it_says():
    draws = np.random.default_rng(2).normal(10, 3, size=(2000, 8))

    assert np.mean([mean_interval(each).covers(10) for each in draws]) == pytest.approx(0.95, abs=0.015)
    assert math.isinf(mean_interval([1.0]).high)


def test_a_median_interval_covers_the_truth_of_a_skewed_distribution():
    draws = np.random.default_rng(3).exponential(1.0, size=(2000, 25))

    assert np.mean([median_interval(each).covers(math.log(2)) for each in draws]) >= 0.945
    assert math.isinf(median_interval([1.0, 2.0]).low)
    many = median_interval(np.random.default_rng(4).normal(size=4001))
    assert many.covers(0.0)
    assert many.high - many.low < 0.1


def test_a_bootstrap_covers_the_truth_and_is_the_same_for_the_same_seed():
    draws = np.random.default_rng(5).normal(5, 1, size=(100, 60))
    hits = [bootstrap_interval(each, lambda a: a.mean(axis=-1), seed=1).covers(5) for each in draws]

    assert np.mean(hits) >= 0.88
    assert block_bootstrap_interval(draws[0], seed=3) == block_bootstrap_interval(draws[0], seed=3)


def test_blocks_are_wider_than_single_values_where_neighbours_are_alike():
    generator = np.random.default_rng(6)
    series = np.zeros(400)
    for index in range(1, 400):
        series[index] = 0.8 * series[index - 1] + generator.normal()
    single = bootstrap_interval(series, lambda a: a.mean(axis=-1), seed=1)
    blocks = block_bootstrap_interval(series, seed=1)

    assert blocks.high - blocks.low > 1.5 * (single.high - single.low)


def test_ks_accepts_its_own_distribution_as_often_as_it_says_and_finds_a_doubled_one():
    generator = np.random.default_rng(7)
    reference = generator.uniform(0, 10, size=20000)
    own = [ks_test(generator.uniform(0, 10, size=25), reference).p_value < 0.05 for _ in range(300)]
    doubled = [ks_test(generator.uniform(0, 20, size=25), reference).p_value < 0.05 for _ in range(100)]

    assert np.mean(own) < 0.085
    assert np.mean(doubled) > 0.95


def test_chi_square_finds_a_skew_and_lets_an_even_split_be():
    assert chi_square_test([100, 100, 100], [100, 100, 100]).p_value == 1.0
    assert chi_square_test([50, 125, 125], [100, 100, 100]).p_value < 1e-6
    for wrong in (([1], [1]), ([1, 1], [0, 2]), ([5, 5], [5, 6])):
        with pytest.raises(ValueError, match=r"chi-square|sum to"):
            chi_square_test(*wrong)


def test_an_interval_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])
