import dataclasses
from datetime import UTC, datetime

import numpy as np
import pytest

from bench.model.measurement import Absent, Measurement, Source, Window, find_readings
from bench.model.units import Unit


def seconds(values=(1.0,), name="api_call_seconds", **rest):
    return Measurement(name=name, unit=Unit.SECONDS, values=values, source=Source.KUBERNETES, statement="GET /", **rest)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "api_call_ms"}, "must end in _seconds"),
        ({"values": ()}, "Absent with a reason"),
        ({"times_seconds": (1.0, 2.0)}, "1 values and 2 times"),
        ({"values": (1.0, 2.0), "times_seconds": (2.0, 1.0)}, "backwards"),
        ({"values": ((1.0,),)}, "one series"),
    ],
)
def test_a_measurement_refuses_nonsense(wrong, message):
    with pytest.raises(ValueError, match=message):
        seconds(**wrong)


def test_a_measurement_without_its_statement_is_refused():
    with pytest.raises(ValueError, match="by which statement"):
        Measurement(name="a_total", unit=Unit.TOTAL, values=(1,), source=Source.LOAD, statement="")


def test_values_cannot_be_changed_afterwards_not_even_through_the_array_they_came_from():
    mine = np.array([1.0, 2.0])
    measurement = seconds(mine)
    mine[0] = 9.0

    assert list(measurement.values) == [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        measurement.values[0] = 5.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        measurement.name = "other_seconds"


def test_equal_measurements_are_equal_and_a_changed_one_is_not():
    assert seconds((1.0, float("nan"))) == seconds((1.0, float("nan")))
    assert seconds() != seconds((2.0,))
    assert seconds() != dataclasses.replace(seconds(), labels={"pod": "a"})
    assert seconds() != "a measurement"
    assert len({seconds(), seconds()}) == 1


def test_an_absence_needs_a_reason():
    with pytest.raises(ValueError, match="without a reason"):
        Absent(name="a", source=Source.NVML, statement="nvmlInit", reason="")


def test_a_window_without_offset_or_turned_round_is_refused():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="without an offset"):
        Window(start=now.replace(tzinfo=None), end=now)
    with pytest.raises(ValueError, match="before it starts"):
        Window.of_seconds(10.0, 5.0)
    assert Window.of_seconds(5.0, 10.5).duration_seconds == 5.5


def test_readings_are_found_by_name_and_labels():
    a, b = seconds(labels={"pod": "a", "node": "n"}), seconds(labels={"pod": "b", "node": "n"})
    gone = Absent(name="api_call_seconds", source=Source.NVML, statement="x", reason="y", labels={"pod": "b"})

    assert find_readings([a, b, gone], "api_call_seconds", {"pod": "b"}) == [b, gone]
    assert find_readings([a], "other_seconds") == []
    assert len({gone}) == 1
