"""Histograms: within their error, merged by addition, cut on the same grid as the engine's."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.histograms import COARSE_BITS, FINE_BITS, Histogram, cell_of, edges_of, merged

values = st.lists(st.integers(0, 10**12), min_size=1, max_size=200)


def filled(numbers: list[int], bits: int = FINE_BITS) -> Histogram:
    histogram = Histogram(bits=bits)
    for number in numbers:
        histogram.record(number)
    return histogram


@given(number=st.integers(0, 2**62), bits=st.sampled_from([COARSE_BITS, FINE_BITS]))
def test_a_value_lies_in_its_cell(number: int, bits: int) -> None:
    floor, ceiling = edges_of(bits, cell_of(bits, number))

    assert floor <= number < ceiling
    assert ceiling - floor <= max(1, number >> bits)


@given(numbers=values, share=st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999, 1.0]))
def test_a_quantile_is_the_sample_of_its_rank_to_within_a_cell(numbers: list[int], share: float) -> None:
    exact = sorted(numbers)[int(share * (len(numbers) - 1))]

    found = filled(numbers).quantile_seconds(share)

    assert found is not None
    assert found * 1e9 == pytest.approx(exact, rel=2**-FINE_BITS, abs=1.5)


@given(left=values, right=values)
def test_merging_is_the_histogram_of_all(left: list[int], right: list[int]) -> None:
    assert merged([filled(left), filled(right)]) == filled(left + right)


@given(numbers=values)
def test_a_fine_histogram_folds_into_a_coarse_one(numbers: list[int]) -> None:
    assert merged([filled(numbers)], bits=COARSE_BITS) == filled(numbers, COARSE_BITS)


def test_a_coarse_histogram_cannot_become_fine() -> None:
    with pytest.raises(ValueError, match="bits"):
        Histogram(bits=FINE_BITS).add(filled([1], COARSE_BITS))


@given(numbers=values)
def test_what_is_told_is_read_back(numbers: list[int]) -> None:
    histogram = filled(numbers)

    assert Histogram.from_json(json.loads(json.dumps(histogram.to_json()))) == histogram


def test_of_no_samples_no_statistic_is_zero() -> None:
    summary = Histogram().summary()

    assert summary.pop("count") == 0
    assert set(summary.values()) == {None}


def test_quantiles_of_a_known_distribution() -> None:
    drawn = np.random.default_rng(1).exponential(1e8, size=20_000).astype(int).tolist()
    histogram = filled(drawn)

    for share in (0.5, 0.9, 0.99, 0.999):
        assert histogram.quantile_seconds(share) == pytest.approx(np.quantile(drawn, share) / 1e9, rel=0.002)
