import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model import units
from bench.model.units import Unit, find_unit


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("gpu_busy_time_ratio", Unit.RATIO),
        ("link_bytes_per_second", Unit.BYTES_PER_SECOND),
        ("requests_per_second", Unit.PER_SECOND),
        ("seconds", Unit.SECONDS),
        ("milliseconds", None),
        ("duration_ms", None),
    ],
)
def test_the_unit_is_the_ending_of_the_name(name, unit):
    assert find_unit(name) is unit


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("6m", 0.006),
        ("70", 70),
        ("1500Mi", 1500 * 2**20),
        ("2e3", 2000),
        ("1E", 1e18),
        ("12Ki", 12288),
        ("-5m", -0.005),
    ],
)
def test_a_kubernetes_quantity_becomes_a_number(text, value):
    assert units.kubernetes_quantity(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "m", "6 m i", "six", "1Kb", "5mm"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        units.kubernetes_quantity(text)


@given(st.integers(min_value=0, max_value=10**12))
def test_milli_quantities_keep_their_value(count):
    assert units.kubernetes_quantity(f"{count}m") == pytest.approx(count / 1000)
