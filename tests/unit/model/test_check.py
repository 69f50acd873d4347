import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model.check import Check, Relation, Statistic
from bench.model.measurement import Absent, Measurement, Source
from bench.model.units import Unit
from bench.model.verdict import Verdict, worst


def check(**rest):
    defaults = {
        "claim": "calls are quick",
        "measurement": "call_seconds",
        "statistic": Statistic.P99,
        "relation": Relation.AT_MOST,
        "bound": 1.0,
        "because": "the SLO",
    }
    return Check(**(defaults | rest))


def calls(*values, **labels):
    return Measurement(
        name="call_seconds", unit=Unit.SECONDS, values=values, source=Source.LOAD, statement="load", labels=labels
    )


ABSENT = Absent(name="call_seconds", source=Source.LOAD, statement="load", reason="no requests")


def test_a_kept_bound_passes_and_a_broken_one_fails():
    assert check().judge([calls(0.5, 1.0)]).verdict is Verdict.PASS
    result = check().judge([calls(0.5, 1.1)])
    assert result.verdict is Verdict.FAIL
    assert result.observed == 1.1
    assert "p99 at most 1" in result.reason


def test_a_broken_bound_says_by_how_much_and_where_to_look():
    result = check(look_at="kubectl get events").judge([calls(0.5, 1.25)])

    assert (result.beyond, result.look_at) == (0.25, "kubectl get events")
    assert check().judge([calls(0.5)]).beyond is None
    within = check(relation=Relation.WITHIN, bound=1.0, tolerance=0.25)
    assert within.judge([calls(0.5)]).beyond == 0.25


def test_what_is_absent_or_unnamed_is_inconclusive_and_says_why():
    assert check().judge([]).reason == "no reading named call_seconds"
    result = check().judge([ABSENT])
    assert (result.verdict, result.observed) == (Verdict.INCONCLUSIVE, None)
    assert "no requests" in result.reason


def test_one_bad_series_among_good_ones_decides_and_is_named():
    result = check().judge([calls(0.1, device="a"), calls(3.0, device="b"), calls(2.0, device="c"), ABSENT])

    assert result.verdict is Verdict.FAIL
    assert dict(result.labels) == {"device": "b"}


def test_of_good_series_the_one_with_the_least_room_is_told():
    assert check().judge([calls(0.1, device="a"), calls(0.9, device="b")]).observed == 0.9
    at_least = check(relation=Relation.AT_LEAST, bound=0.05)
    assert at_least.judge([calls(0.1, device="a"), calls(0.9, device="b")]).observed == 0.1


def test_a_good_series_does_not_hide_an_absent_one():
    assert check().judge([calls(0.1), ABSENT]).verdict is Verdict.INCONCLUSIVE


def test_a_value_that_is_no_number_is_neither_pass_nor_fail():
    assert check().judge([calls(0.1, float("nan"))]).verdict is Verdict.INCONCLUSIVE
    assert check(statistic=Statistic.COUNT, bound=2).judge([calls(0.1, float("nan"))]).verdict is Verdict.PASS


def test_labels_narrow_a_check_to_its_series():
    narrow = check(labels={"device": "a"})

    assert narrow.judge([calls(0.1, device="a"), calls(3.0, device="b")]).verdict is Verdict.PASS
    assert len({narrow, narrow}) == 1


@pytest.mark.parametrize(
    ("relation", "observed", "verdict"),
    [
        (Relation.AT_LEAST, 1.0, Verdict.PASS),
        (Relation.AT_LEAST, 0.9, Verdict.FAIL),
        (Relation.EQUALS, 1.0, Verdict.PASS),
        (Relation.EQUALS, 1.01, Verdict.FAIL),
        (Relation.WITHIN, 1.05, Verdict.PASS),
        (Relation.WITHIN, 0.85, Verdict.FAIL),
    ],
)
def test_each_relation_can_hold_and_break(relation, observed, verdict):
    tolerance = 0.1 if relation is Relation.WITHIN else 0.0

    assert check(relation=relation, tolerance=tolerance).judge([calls(observed)]).verdict is verdict


@pytest.mark.parametrize(
    "wrong",
    [{"claim": ""}, {"because": ""}, {"bound": float("nan")}, {"tolerance": 0.1}, {"relation": Relation.WITHIN}],
)
def test_a_check_without_reason_or_with_a_senseless_bound_is_refused(wrong):
    with pytest.raises(ValueError, match="check"):
        check(**wrong)


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=20),
    st.sampled_from(Statistic),
    st.sampled_from([Relation.AT_MOST, Relation.AT_LEAST, Relation.EQUALS]),
)
def test_judging_never_raises(values, statistic, relation):
    assert check(statistic=statistic, relation=relation).judge([calls(*values)]).verdict in Verdict


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300))
def test_a_quantile_is_a_value_that_was_seen_and_not_below_its_share(values):
    observed = Statistic.P99.of(np.array(values))

    assert observed in values
    assert sum(value <= observed for value in values) >= 0.99 * len(values)


def test_every_statistic_of_known_values():
    values = np.array([3.0, 1.0, 2.0])
    expected = {"first": 3, "last": 2, "count": 3, "sum": 6, "min": 1, "max": 3, "mean": 2, "median": 2, "range": 2}

    for name, value in expected.items():
        assert Statistic(name).of(values) == value


def test_the_worst_part_is_the_whole_whatever_the_order():
    for parts in itertools.permutations(Verdict):
        for count in range(1, len(parts) + 1):
            whole = worst(parts[:count])
            assert whole in parts[:count]
            assert all(part.severity <= whole.severity for part in parts[:count])


def test_no_parts_prove_nothing():
    assert worst([]) is Verdict.INCONCLUSIVE


def test_exit_codes_tell_fail_from_unknown_from_broken():
    codes = {verdict.value: verdict.exit_code for verdict in Verdict}

    assert codes == {"pass": 0, "skipped": 3, "inconclusive": 3, "fail": 1, "error": 4}
