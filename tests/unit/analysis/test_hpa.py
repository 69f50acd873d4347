import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.hpa import (
    Behavior,
    Decider,
    Hpa,
    MetricKind,
    Policy,
    Select,
    TargetKind,
    default_up,
    desired_replicas,
    desired_replicas_of_pods,
)
from bench.analysis.reach import Aggregation, effective_threshold, highest_reachable, reachable, simulate


def hpa(target=70.0, kind=TargetKind.AVERAGE_VALUE, metric=MetricKind.OBJECT, **rest):
    defaults = {"min_replicas": 1, "max_replicas": 3}
    return Hpa(metric=metric, target_kind=kind, target=target, **(defaults | rest))


SEED = hpa()


def raw(usage, replicas, spec=SEED, ready=None):
    return desired_replicas(spec, usage, replicas=replicas, ready=replicas if ready is None else ready)


@pytest.mark.parametrize(
    ("usage", "replicas", "wanted"),
    [
        (77, 1, 1),
        (77.001, 1, 2),
        (154, 2, 2),
        (154.001, 2, 3),
        (70, 2, 1),
        (70.001, 2, 2),
        (140, 3, 2),
        (140.001, 3, 3),
    ],
)
def test_an_average_value_of_70_scales_above_77_per_replica(usage, replicas, wanted):
    assert raw(usage, replicas) == wanted


def test_a_value_target_counts_ready_pods():
    spec = hpa(kind=TargetKind.VALUE, max_replicas=10)

    assert raw(140, 3, spec, ready=3) == 6
    assert raw(140, 3, spec, ready=2) == 4
    assert raw(77, 3, spec) == 3
    assert raw(140, 0, spec) == 2


def test_pending_pods_dilute_an_average_value():
    assert raw(100, 1) == 2
    assert raw(100, 2) == 2


def test_pods_without_a_value_are_taken_conservatively_both_ways():
    spec = hpa(metric=MetricKind.PODS, max_replicas=10)

    assert desired_replicas_of_pods(spec, (140.0, 140.0)) == 4
    assert desired_replicas_of_pods(spec, (140.0, 140.0), missing=2) == 4
    assert desired_replicas_of_pods(spec, (210.0, 210.0), missing=2) == 6
    assert desired_replicas_of_pods(spec, (10.0, 10.0), missing=2) == 3
    assert desired_replicas_of_pods(spec, (100.0,), pending=1) == 2
    assert desired_replicas_of_pods(spec, (73.0, 73.0)) == 2
    with pytest.raises(ValueError, match="no pod"):
        desired_replicas_of_pods(spec, ())


def test_a_ratio_that_is_whole_is_not_rounded_up_by_its_last_bit():
    assert raw(0.3, 1, hpa(target=0.1, max_replicas=10)) == 3


@given(st.floats(0, 1000), st.integers(1, 20), st.floats(1, 200))
def test_more_usage_never_asks_for_fewer(usage, replicas, target):
    for kind in TargetKind:
        spec = hpa(target=target, kind=kind, max_replicas=10**6)
        assert raw(usage, replicas, spec) <= raw(usage + 1, replicas, spec)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(1, 10))
def test_decisions_stay_within_bounds_and_never_beat_the_policies(wants, start):
    spec = hpa(max_replicas=12)
    decider = Decider(spec)
    current = start
    for tick, wanted in enumerate(wants):
        chosen = decider.decide(tick * 15.0, current, wanted)
        assert 1 <= chosen <= 12
        assert chosen <= max(2 * current, 4)
        current = chosen


def test_nothing_goes_down_before_the_window_is_over():
    decider = Decider(hpa(max_replicas=10))
    current = decider.decide(0.0, 1, 4)
    course = [decider.decide(t, 4, 1) for t in range(15, 300, 15)]

    assert current == 4
    assert set(course) == {4}
    assert decider.decide(315.0, 4, 1) == 1


def test_what_an_hpa_finds_at_first_is_its_first_recommendation():
    waits = Behavior(stabilization_seconds=60.0, policies=(Policy(period_seconds=15, pods=10),))

    assert Decider(hpa(max_replicas=10)).decide(0.0, 4, 1) == 4
    assert Decider(hpa(max_replicas=10, up=waits)).decide(0.0, 1, 5) == 1


def test_without_behavior_it_goes_to_four_or_doubles_and_with_it_by_four_or_doubles():
    plain = hpa(max_replicas=20)
    told = hpa(max_replicas=20, up=default_up())

    assert Decider(plain).decide(0.0, 1, 20) == 4
    assert Decider(plain).decide(0.0, 3, 20) == 6
    assert Decider(told).decide(0.0, 1, 20) == 5
    assert Decider(told).decide(0.0, 6, 20) == 12


def test_an_up_window_waits_for_the_least_of_its_recommendations():
    up = Behavior(stabilization_seconds=60.0, policies=(Policy(period_seconds=15, pods=10),))
    decider = Decider(hpa(max_replicas=10, up=up))

    assert decider.decide(0.0, 1, 1) == 1
    assert decider.decide(15.0, 1, 5) == 1
    assert decider.decide(61.0, 1, 5) == 5


def test_a_rate_policy_limits_and_a_disabled_direction_stays():
    down = Behavior(stabilization_seconds=0.0, policies=(Policy(period_seconds=60, pods=1),))
    decider = Decider(hpa(max_replicas=10, down=down))
    still = Behavior(stabilization_seconds=0.0, policies=(), select=Select.DISABLED)
    strict = Behavior(
        stabilization_seconds=0.0,
        policies=(Policy(period_seconds=60, pods=4), Policy(period_seconds=60, ratio=0.5)),
        select=Select.MIN,
    )

    assert decider.decide(0.0, 5, 1) == 4
    assert decider.decide(15.0, 4, 1) == 4
    assert decider.decide(61.0, 4, 1) == 3
    assert Decider(hpa(down=still)).decide(0.0, 3, 1) == 3
    assert Decider(hpa(max_replicas=10, up=strict)).decide(0.0, 2, 10) == 3


def test_the_average_rule_never_reaches_three_and_the_sum_rule_does():
    average = reachable(SEED, Aggregation.AVERAGE, 100.0)
    total = reachable(SEED, Aggregation.SUM, 100.0)

    assert highest_reachable(average) == 2
    assert highest_reachable(total) == 3
    assert [row.down_at_most for row in total] == [None, 70.0, 140.0]
    assert effective_threshold(SEED) == pytest.approx(77.0)
    assert effective_threshold(SEED, 2) == pytest.approx(154.0)
    assert effective_threshold(hpa(kind=TargetKind.VALUE), 2) == pytest.approx(77.0)


@pytest.mark.parametrize("demand", [0.8, 1.0, 1.3])
def test_the_average_rule_flaps_for_ever_under_a_steady_demand(demand):
    course = simulate(SEED, Aggregation.AVERAGE, demand_devices=demand, saturation=100, duration_seconds=3600)

    assert course.flaps
    assert 20 <= course.changes_total <= 24


@pytest.mark.parametrize(
    ("aggregation", "kind", "demand", "steady"),
    [
        (Aggregation.AVERAGE, TargetKind.AVERAGE_VALUE, 2.0, 2),
        (Aggregation.AVERAGE, TargetKind.AVERAGE_VALUE, 3.0, 2),
        (Aggregation.SUM, TargetKind.AVERAGE_VALUE, 0.8, 2),
        (Aggregation.SUM, TargetKind.AVERAGE_VALUE, 1.5, 2),
        (Aggregation.SUM, TargetKind.AVERAGE_VALUE, 2.0, 3),
        (Aggregation.SUM, TargetKind.AVERAGE_VALUE, 3.0, 3),
        (Aggregation.AVERAGE, TargetKind.VALUE, 0.8, 2),
        (Aggregation.AVERAGE, TargetKind.VALUE, 2.0, 3),
    ],
)
def test_the_right_pairs_of_rule_and_target_settle(aggregation, kind, demand, steady):
    course = simulate(hpa(kind=kind), aggregation, demand_devices=demand, saturation=100, duration_seconds=3600)

    assert course.replicas[-1] == steady
    assert not course.flaps


@given(st.floats(0.05, 4.0), st.sampled_from(Aggregation), st.sampled_from(TargetKind))
def test_no_course_passes_what_the_analysis_calls_reachable(demand, aggregation, kind):
    spec = hpa(kind=kind, max_replicas=5)
    course = simulate(spec, aggregation, demand_devices=demand, saturation=100, duration_seconds=1800)

    rows = reachable(spec, aggregation, 100.0)
    assert max(course.replicas) <= highest_reachable(rows)


@pytest.mark.parametrize(
    "wrong",
    [{"target": 0.0}, {"min_replicas": 4}, {"metric": MetricKind.PODS, "kind": TargetKind.VALUE}],
)
def test_an_hpa_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=r"HPA|Pods metric"):
        hpa(**wrong)
