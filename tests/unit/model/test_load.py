import numpy as np
import pytest

from bench.model.load import LoadRecords, LoadResult, LoadShape, LoadStep


def records(**change):
    columns = {
        "intended_seconds": np.array([0.0, 1.0, 2.0]),
        "sent_seconds": np.array([0.0, 1.5, np.nan]),
        "first_token_seconds": np.array([0.1, 1.6, np.nan]),
        "end_seconds": np.array([0.2, 1.7, np.nan]),
        "is_ok": np.array([True, True, False]),
        "output_tokens_total": np.array([3.0, 4.0, 0.0]),
        "backends": ("a", "b", ""),
    }
    return LoadRecords(**(columns | change))


def test_a_shape_knows_its_length_its_steps_and_how_many_requests_to_expect():
    shape = LoadShape(
        steps=(LoadStep(duration_seconds=10, rate_per_second=2), LoadStep(duration_seconds=5, rate_per_second=4))
    )

    assert shape.duration_seconds == 15
    assert shape.step_starts_seconds == (0.0, 10.0)
    assert shape.request_count_expected == 40


@pytest.mark.parametrize("wrong", [{"duration_seconds": 0}, {"duration_seconds": float("inf")}])
def test_a_step_without_an_end_is_refused(wrong):
    with pytest.raises(ValueError, match="positive time"):
        LoadStep(**wrong)


def test_negative_intensity_and_an_empty_shape_are_refused():
    with pytest.raises(ValueError, match="negative"):
        LoadStep(duration_seconds=1, rate_per_second=-1)
    with pytest.raises(ValueError, match="at least one step"):
        LoadShape(steps=())


def test_records_of_uneven_columns_are_refused():
    with pytest.raises(ValueError, match="different lengths"):
        records(backends=("a",))


def test_lateness_counts_only_what_was_sent():
    result = LoadResult(
        shape=LoadShape(steps=(LoadStep(duration_seconds=3, rate_per_second=1),)),
        engine="python",
        records=records(),
        not_sent_total=1,
        errors={},
    )

    assert list(result.lateness_seconds) == [0.0, 0.5]
    assert result.records.count == 3
