import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.reach import turns_total
from bench.analysis.signals import Signal, summed
from bench.analysis.stages import DOWN, UP, Expectation, Moment, Stage, decompose, find_guilty
from bench.analysis.timeline import (
    Observed,
    PodTimes,
    caused_by,
    down_timeline,
    first_change,
    first_crossing,
    provisioning,
    relief,
    up_timeline,
)

COLLECT, SCRAPE, SYNC = 1.0, 2.0, 5.0
POLL = 0.2
THRESHOLD = 0.77


@given(st.lists(st.integers(0, 10**19) | st.just("absent here"), min_size=12, max_size=12), st.integers(0, 10**18))
def test_stages_add_up_to_the_total_exactly_whatever_is_absent_or_out_of_order(times, origin):
    sightings = {Stage.STEP: Moment(at_nanoseconds=origin)}
    for stage, time in zip(UP[1:], times, strict=True):
        sightings[stage] = time if isinstance(time, str) else Moment(at_nanoseconds=time)
    timeline = decompose(UP, sightings)
    durations = [each.duration_nanoseconds for each in timeline.segments if each.duration_nanoseconds is not None]

    assert sum(durations) == timeline.total_nanoseconds
    assert [each.stage for each in timeline.segments] == list(UP[1:])
    assert [each.is_overlapping for each in timeline.segments] == [
        (each.duration_nanoseconds or 0) < 0 for each in timeline.segments
    ]


def test_a_stage_that_is_not_there_is_absent_with_its_reason_and_not_zero():
    timeline = decompose(UP, {Stage.STEP: Moment.of_seconds(0), Stage.NODE: "the nodes are fixed"})

    assert timeline.segment(Stage.NODE).absent_because == "the nodes are fixed"
    assert timeline.segment(Stage.READY).duration_nanoseconds is None
    assert math.isnan(timeline.segment(Stage.READY).duration_seconds)
    with pytest.raises(KeyError):
        timeline.segment(Stage.POD_DELETED)


def test_without_the_step_nothing_is_counted():
    with pytest.raises(ValueError, match="nothing can be counted"):
        decompose(UP, {})


def polled(event, *, start=-5.0, end=60.0, period=POLL, phase=0.07, before=0.0, after=1.0):
    times = np.arange(start + phase, end, period)
    return Signal(times_seconds=times, values=np.where(times >= event, after, before))


@given(st.floats(0.5, 40), st.floats(0, 0.19))
def test_a_polled_change_is_told_within_half_a_period(event, phase):
    found = first_crossing(polled(event, phase=phase), threshold=THRESHOLD, after_seconds=0.0, is_rising=True)

    assert abs(found.at_seconds - event) <= POLL / 2 + 1e-6
    assert abs(found.at_seconds - event) <= found.bound_nanoseconds / 1e9 + 1e-6


def test_a_crossing_before_the_step_is_not_the_steps():
    signal = Signal(times_seconds=np.array([-1.0, 5.0]), values=np.array([1.0, 1.0]), is_polled=False)

    assert first_crossing(signal, threshold=0.5, after_seconds=0.0, is_rising=True).at_seconds == 5.0
    assert "never" in first_crossing(signal, threshold=2.0, after_seconds=0.0, is_rising=True)
    empty = Signal(times_seconds=np.empty(0), values=np.empty(0))
    assert first_crossing(empty, threshold=2.0, after_seconds=0.0, is_rising=True) == "no samples"
    assert "not known" in first_change(empty, after_seconds=0.0, is_rising=True)


def test_signals_add_up_and_one_that_has_not_begun_counts_as_nothing():
    one = Signal(times_seconds=np.array([0.0, 2.0]), values=np.array([1.0, 3.0]))
    two = Signal(times_seconds=np.array([1.0]), values=np.array([10.0]))

    assert list(summed([one, two]).values) == [1.0, 11.0, 13.0]


def tick_after(time, interval, phase):
    return phase + math.ceil((time - phase) / interval) * interval


PLANTABLE_UP = tuple(stage for stage in UP[1:] if stage not in (Stage.NODE, Stage.RELIEF))


def play_up(generator, planted=None, delay=0.0):
    """One load step through a chain with known times; the truth and what a watcher saw of it."""
    extra = dict.fromkeys(UP, 0.0) | ({planted: delay} if planted else {})
    truth = {Stage.STEP: 0.0}
    truth[Stage.DEVICE] = 0.3 + extra[Stage.DEVICE]
    chain = ((Stage.EXPORTER, COLLECT), (Stage.PROMETHEUS, SCRAPE), (Stage.METRICS_API, 0.0), (Stage.DECISION, SYNC))
    last = truth[Stage.DEVICE]
    for stage, interval in chain:
        last = tick_after(last, interval, generator.uniform(0, interval)) if interval else last + 0.02
        last += extra[stage]
        truth[stage] = last
    for stage, cost in (
        (Stage.POD_CREATED, 0.1),
        (Stage.SCHEDULED, 0.1),
        (Stage.STARTED, 1.0),
        (Stage.READY, 2.0),
        (Stage.SERVING, 0.2),
    ):
        last += cost + extra[stage] + generator.uniform(0, 0.1)
        truth[stage] = last
    return truth, observe_up(truth, generator)


def observe_up(truth, generator):
    def poll(stage, period):
        return polled(truth[stage], period=period, phase=generator.uniform(0, period), end=120.0)

    samples = truth[Stage.PROMETHEUS] + SCRAPE * np.arange(-10, 10)
    scraped = Signal(times_seconds=samples, values=(samples >= truth[Stage.PROMETHEUS]).astype(float), is_polled=False)
    desired = Signal(
        times_seconds=np.array([-20.0, truth[Stage.DECISION]]), values=np.array([1.0, 2.0]), is_polled=False
    )
    told = {stage: Moment.of_seconds(truth[stage]) for stage in truth}
    old = PodTimes(name="old", created=Moment.of_seconds(-100.0))
    new = PodTimes(
        name="new",
        created=told[Stage.POD_CREATED],
        scheduled=told[Stage.SCHEDULED],
        started=told[Stage.STARTED],
        ready=told[Stage.READY],
        first_answer=told[Stage.SERVING],
    )
    return Observed(
        step_seconds=0.0,
        threshold=THRESHOLD,
        device=poll(Stage.DEVICE, 0.1),
        exporter=poll(Stage.EXPORTER, POLL),
        prometheus=scraped,
        metrics_api=poll(Stage.METRICS_API, POLL),
        desired_replicas=desired,
        pods=(old, new),
    )


EXPECTED_UP = {
    Stage.DEVICE: Expectation(fixed_seconds=0.3),
    Stage.EXPORTER: Expectation(clocks_seconds=(COLLECT,)),
    Stage.PROMETHEUS: Expectation(clocks_seconds=(SCRAPE,)),
    Stage.METRICS_API: Expectation(fixed_seconds=0.02),
    Stage.DECISION: Expectation(clocks_seconds=(SYNC,)),
    Stage.POD_CREATED: Expectation(fixed_seconds=0.1, spread_seconds=0.1),
    Stage.SCHEDULED: Expectation(fixed_seconds=0.1, spread_seconds=0.1),
    Stage.STARTED: Expectation(fixed_seconds=1.0, spread_seconds=0.1),
    Stage.READY: Expectation(fixed_seconds=2.0, spread_seconds=0.1),
    Stage.SERVING: Expectation(fixed_seconds=0.2, spread_seconds=0.1),
}


def guilty(generator, planted=None, delay=0.0, repetitions=20):
    timelines = [up_timeline(play_up(generator, planted, delay)[1]) for _ in range(repetitions)]
    return {each.stage for each in find_guilty(timelines, EXPECTED_UP) if each.is_guilty}


def test_every_stage_is_within_its_resolution_of_the_truth():
    generator = np.random.default_rng(1)
    for _ in range(50):
        truth, observed = play_up(generator)
        timeline = up_timeline(observed)
        at = 0.0
        for stage in PLANTABLE_UP:
            at += timeline.segment(stage).duration_seconds
            assert abs(at - truth[stage]) <= (0.1 if stage in (Stage.EXPORTER, Stage.METRICS_API) else 0.05) + 1e-6


@pytest.mark.parametrize("stage", PLANTABLE_UP)
def test_the_stage_with_a_planted_delay_and_only_it_is_named(stage):
    assert guilty(np.random.default_rng(2), stage, delay=4.0) == {stage}


def test_a_single_step_names_a_stage_beyond_its_worst_case():
    assert guilty(np.random.default_rng(3), Stage.READY, delay=4.0, repetitions=1) == {Stage.READY}


def test_a_sound_chain_names_nobody():
    generator = np.random.default_rng(4)

    assert [guilty(generator) for _ in range(20)] == [set()] * 20


def test_a_doubled_interval_is_named_although_no_single_delay_is_impossible_for_long():
    generator = np.random.default_rng(5)
    timelines = [up_timeline(play_up(generator)[1]) for _ in range(20)]
    halved = EXPECTED_UP | {Stage.DECISION: Expectation(clocks_seconds=(SYNC / 2,))}
    named = [each for each in find_guilty(timelines, halved) if each.is_guilty]

    assert [each.stage for each in named] == [Stage.DECISION]
    assert named[0].p_value < 0.001


def test_an_earlier_stage_is_told_and_not_guilty():
    timelines = [up_timeline(play_up(np.random.default_rng(n))[1]) for n in range(20)]
    slow = EXPECTED_UP | {Stage.PROMETHEUS: Expectation(clocks_seconds=(10.0,))}
    finding = {each.stage: each for each in find_guilty(timelines, slow)}[Stage.PROMETHEUS]

    assert not finding.is_guilty
    assert "earlier" in finding.because


def test_down_counts_the_first_pod_that_was_deleted():
    times = np.arange(-5.0, 400.0, 0.2)
    falling = Signal(times_seconds=times, values=np.where(times >= 10.0, 0.0, 1.0))
    desired = Signal(times_seconds=np.array([-9.0, 315.0]), values=np.array([2.0, 1.0]), is_polled=False)
    pod = PodTimes(
        name="p",
        created=Moment.of_seconds(-50),
        deleted=Moment.of_seconds(315.2),
        last_answer=Moment.of_seconds(316.0),
        device_free=Moment.of_seconds(317.0),
    )
    timeline = down_timeline(
        Observed(
            step_seconds=0.0,
            threshold=0.7,
            device=falling,
            exporter=falling,
            prometheus=falling,
            metrics_api=falling,
            desired_replicas=desired,
            pods=(pod, dataclasses.replace(pod, name="q", deleted="not seen")),
        )
    )

    assert [each.stage for each in timeline.segments] == list(DOWN[1:])
    assert timeline.segment(Stage.DECISION).duration_seconds == pytest.approx(305.1, abs=0.2)
    assert timeline.total_seconds == pytest.approx(317.0)
    assert timeline.segment(Stage.NODE_REMOVED).absent_because == "the nodes are fixed"


def test_relief_is_the_end_of_the_first_full_window_that_meets_the_slo():
    times = np.arange(0.0, 60.0, 0.1)
    good = (times < 2.0) | (times > 20.0)
    found = relief(times, good, after_seconds=1.0, window_seconds=5.0, share=1.0)

    assert found.at_seconds == pytest.approx(25.0, abs=0.2)
    assert "never broken" in relief(times, good | True, after_seconds=1.0, window_seconds=5.0, share=1.0)
    assert "no full window" in relief(times, good & False, after_seconds=1.0, window_seconds=5.0, share=0.9)


def test_held_and_needed_devices_are_compared_over_time():
    held = Signal(times_seconds=np.array([0.0, 10.0]), values=np.array([1.0, 3.0]))
    needed = Signal(times_seconds=np.array([0.0, 4.0]), values=np.array([1.0, 2.0]))
    result = provisioning(held, needed, start_seconds=0.0, end_seconds=20.0)

    assert (result.over_device_seconds, result.under_device_seconds) == (10.0, 6.0)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=30))
def test_a_course_without_turning_has_none(replicas):
    assert turns_total(sorted(replicas)) == 0
    assert turns_total([1, *[2, 1] * 3]) == 5


def test_a_peak_that_nobody_downstream_looked_at_is_no_cause() -> None:
    """The device peaks at 1 s and is busy from 5 s on; what was decided at 7 s came of the latter."""
    times = np.arange(0.0, 10.0, 0.5)
    device = Signal(times_seconds=times, values=np.where((times == 1.0) | (times >= 5.0), 100.0, 0.0))

    seen = caused_by(device, threshold=80.0, after_seconds=0.0, until=Moment.of_seconds(7.0), is_rising=True)

    assert isinstance(seen, Moment)
    assert seen.at_seconds == pytest.approx(4.75)
    assert seen.bound_nanoseconds == 250_000_000


def test_what_is_seen_by_the_look_right_after_its_effect_was_its_cause() -> None:
    times = np.arange(0.0, 10.0, 0.5)
    device = Signal(times_seconds=times, values=np.where(times >= 5.0, 100.0, 0.0))

    seen = caused_by(device, threshold=80.0, after_seconds=0.0, until=Moment.of_seconds(4.9), is_rising=True)

    assert isinstance(seen, Moment)
    assert seen.at_seconds == pytest.approx(4.75)


def test_a_cause_that_was_over_before_its_effect_is_where_it_first_was() -> None:
    times = np.arange(0.0, 10.0, 0.5)
    device = Signal(times_seconds=times, values=np.where(times == 2.0, 100.0, 0.0))

    seen = caused_by(device, threshold=80.0, after_seconds=0.0, until=Moment.of_seconds(6.0), is_rising=True)

    assert isinstance(seen, Moment)
    assert seen.at_seconds == pytest.approx(1.75)
