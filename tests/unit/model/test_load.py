import numpy as np
import pytest

from bench.model.load import LoadRecords


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


def test_records_of_uneven_columns_are_refused():
    with pytest.raises(ValueError, match="different lengths"):
        records(backends=("a",))


def test_lateness_counts_only_what_was_sent():
    assert list(records().lateness_seconds) == [0.0, 0.5]
    assert records(backends=()).count == 3
