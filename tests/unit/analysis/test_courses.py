import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.courses import device_of, in_flight, over_devices, per_second
from bench.model.measurement import Measurement, Source
from bench.model.units import Unit


def series(values, times, **labels):
    return Measurement(
        name="busy_ratio",
        unit=Unit.RATIO,
        values=values,
        times_seconds=times,
        source=Source.PROMETHEUS,
        statement="s",
        labels=labels,
    )


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 50)), min_size=1, max_size=40))
def test_what_is_in_flight_begins_with_one_ends_with_none_and_is_never_negative(requests):
    starts, lengths = (np.array(each) for each in zip(*requests, strict=True))
    found = in_flight(starts, starts + lengths)

    assert found.values[-1] == 0
    assert found.values.min() >= 0
    assert found.values.max() <= len(requests)


def test_an_answer_and_the_next_request_at_one_time_are_not_two_in_flight():
    assert in_flight(np.array([0.0, 1.0]), np.array([1.0, 2.0])).values.max() == 1


def test_rates_count_every_event_once():
    found = per_second(np.array([10.2, 10.4, 12.9]), width_seconds=1.0)

    assert found.times_seconds.tolist() == [10.0, 11.0, 12.0, 13.0]
    assert found.values.tolist() == [2.0, 0.0, 1.0, 0.0]
    assert per_second(np.empty(0), width_seconds=1.0).values.size == 0


def test_devices_are_added_up_whatever_their_label_is_called_and_a_series_that_ended_counts_no_more():
    mine = series([1.0, 1.0], [0.0, 1.0], uuid="a")
    other = series([0.5, 0.5, 0.5], [0.0, 1.0, 5.0], UUID="b")
    foreign = series([1.0], [0.0], uuid="c")
    found = over_devices([mine, other, foreign], ["a", "b"])

    assert found is not None
    assert found.at(np.array([1.0, 5.0])).tolist() == [1.5, 0.5]
    assert over_devices([foreign], ["a"]) is None
    assert device_of(series([1.0], [0.0])) == ""


def test_a_series_that_changed_its_labels_on_the_way_is_one_device():
    found = over_devices([series([1.0], [0.0], uuid="a", pod="p"), series([0.0], [2.0], uuid="a", pod="q")])

    assert found is not None
    assert found.at(np.array([0.5, 2.5])).tolist() == [1.0, 0.0]
