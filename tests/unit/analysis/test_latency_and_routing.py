import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.advice import advise_intervals, advise_target, never_falling
from bench.analysis.latency import (
    QUANTILES,
    Since,
    Slo,
    first_token_seconds,
    goodput,
    meets_slo,
    per_token_seconds,
    summarise,
    whole_seconds,
    windowed_quantile,
)
from bench.analysis.prediction import Intervals, Rise
from bench.analysis.routing import converged_seconds, evenness, misroutes_total, split, streamed_ratio
from bench.model.load import LoadRecords


def served(arrivals, service_seconds, stall=None):
    """One server, first come first served; it stands still during `stall`. The truth is played, not computed."""
    free, ends = 0.0, []
    for arrival in arrivals:
        begin = max(arrival, free)
        if stall and stall[0] <= begin < stall[1]:
            begin = stall[1]
        free = begin + service_seconds
        ends.append(free)
    return np.array(ends)


def records(intended, sent, ends, *, ok=None, tokens=11.0):
    count = len(intended)
    return LoadRecords(
        intended_seconds=np.asarray(intended, float),
        sent_seconds=np.asarray(sent, float),
        first_token_seconds=np.asarray(ends, float) - 0.05,
        end_seconds=np.asarray(ends, float),
        is_ok=np.ones(count, bool) if ok is None else np.asarray(ok),
        output_tokens_total=np.full(count, tokens),
    )


def test_a_stall_is_seen_by_every_request_that_waited_for_it():
    due = np.arange(0.0, 10.0, 0.01)
    truth = served(due, 0.002, stall=(4.0, 6.0))
    found = summarise(whole_seconds(records(due, due, truth), Since.INTENDED))

    assert found.max_seconds == pytest.approx(2.0, abs=0.02)
    assert found.quantile_seconds(0.99) > 1.5
    assert found.quantile_seconds(0.5) == pytest.approx(0.002, abs=1e-6)


def test_a_generator_that_waits_hides_the_stall_only_from_the_sent_clock():
    due = np.arange(0.0, 10.0, 0.01)
    late = np.where((due >= 4.0) & (due < 6.0), 6.0, due)
    ends = late + 0.002
    some = records(due, late, ends)

    assert summarise(whole_seconds(some, Since.SENT)).max_seconds < 0.01
    assert summarise(whole_seconds(some, Since.INTENDED)).max_seconds > 1.9


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=400))
def test_quantiles_are_seen_values_in_order(values):
    found = summarise(np.array(values))

    assert all(each in values for each in found.quantiles_seconds)
    assert list(found.quantiles_seconds) == sorted(found.quantiles_seconds)
    for share, value in zip(QUANTILES, found.quantiles_seconds, strict=True):
        assert np.mean(np.array(values) <= value) >= share


def test_failed_requests_have_no_latency_and_meet_no_slo():
    some = records([0.0, 1.0], [0.0, 1.0], [0.5, 1.5], ok=[True, False])

    assert summarise(first_token_seconds(some, Since.SENT)).count == 1
    assert list(meets_slo(some, Slo())) == [True, False]
    assert summarise(np.array([np.nan])) is None


def test_goodput_counts_what_was_meant_within_the_window_and_its_failures():
    some = records(np.arange(10.0), np.arange(10.0), np.arange(10.0) + 0.5, ok=[True] * 8 + [False] * 2)
    found = goodput(some, Slo(whole_seconds=0.6), start_seconds=0.0, end_seconds=10.0)

    assert (found.requests_total, found.failed_total, found.per_second) == (10, 2, 0.8)
    assert found.share.estimate == 0.8
    assert goodput(some, Slo(first_token_seconds=0.1), start_seconds=0, end_seconds=10).per_second == 0.0


def test_time_per_token_leaves_the_first_out_and_a_single_token_has_none():
    assert per_token_seconds(records([0.0], [0.0], [1.0]))[0] == pytest.approx(0.005)
    assert np.isnan(per_token_seconds(records([0.0], [0.0], [1.0], tokens=1.0))[0])


def test_a_window_without_answers_is_not_a_zero():
    found = windowed_quantile(np.array([0.5, 2.5]), np.array([1.0, 2.0]), np.array([0.0, 1.0, 2.0, 3.0]), 0.99)

    assert list(found[[0, 2]]) == [1.0, 2.0]
    assert np.isnan(found[1])


@pytest.mark.parametrize("weight", [0.9, 0.5])
def test_a_true_split_agrees_and_a_wrong_one_does_not(weight):
    generator = np.random.default_rng(1)

    def judged(share):
        answers = np.where(generator.random(2000) < share, "a", "b").tolist()
        return all(each.agrees for each in split(answers, {"a": weight, "b": 1 - weight}))

    assert np.mean([judged(weight) for _ in range(200)]) > 0.93
    assert np.mean([judged(weight - 0.06) for _ in range(100)]) < 0.02


def test_nothing_of_a_split_is_exact():
    assert split(["b"] * 2000, {"a": 0, "b": 100})[0].agrees
    leak = split(["b"] * 1999 + ["a"], {"a": 0, "b": 100})
    assert not leak[0].agrees
    assert not leak[1].agrees


def test_a_stranger_among_the_answers_is_a_share_of_its_own():
    shares = {each.backend: each for each in split(["a"] * 99 + ["stranger"], {"a": 1.0})}

    assert not shares["stranger"].agrees
    assert shares["stranger"].difference_ratio == pytest.approx(0.01)


@pytest.mark.parametrize(("answers", "weights"), [([], {"a": 1}), (["a"], {"a": 0}), (["a"], {"a": -1, "b": 3})])
def test_a_split_of_nothing_is_refused(answers, weights):
    with pytest.raises(ValueError, match="a split needs"):
        split(answers, weights)


def test_misroutes_are_counted_and_uneven_spreads_found():
    assert misroutes_total(["a", "b", "a"], ["a", "a", "a"]) == 1
    assert evenness(["a"] * 100 + ["b"] * 100, ["a", "b"]).p_value == 1.0
    assert evenness(["a"] * 200, ["a", "b"]).p_value < 1e-9


def test_the_time_until_a_new_split_holds_is_told():
    generator = np.random.default_rng(2)
    times = np.arange(0.0, 60.0, 0.02)
    share = np.where(times < 33.0, 0.9, 0.5)
    hits = (generator.random(times.size) < share).astype(float)
    found = converged_seconds(times, hits, wanted=0.5, window=200, after_seconds=30.0)

    assert 3.0 <= found <= 8.0
    assert converged_seconds(times, hits, wanted=0.1, window=200, after_seconds=30.0) is None
    assert converged_seconds(times, hits, wanted=0.5, window=2000, after_seconds=50.0) is None


def test_a_proxy_that_buffers_is_told_from_one_that_streams():
    sent, end = np.zeros(10), np.full(10, 1.0)

    assert streamed_ratio(sent, sent + 0.1, end) == 1.0
    assert streamed_ratio(sent, end - 0.001, end) == 0.0
    assert np.isnan(streamed_ratio(sent, sent * np.nan, end))


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=40))
def test_the_fit_never_falls_and_keeps_the_mean(values):
    fitted = never_falling(np.array(values), np.ones(len(values)))

    assert (np.diff(fitted) >= -1e-9).all()
    assert fitted.sum() == pytest.approx(sum(values), abs=1e-6)


def test_the_advised_target_keeps_the_budget_of_a_queue():
    utilisation = np.repeat(np.linspace(0.1, 0.95, 18), 10)
    latency = 0.1 / (1 - utilisation) * np.random.default_rng(3).normal(1, 0.05, utilisation.size)
    found = advise_target(utilisation, latency, budget_seconds=0.5)

    assert found.utilisation_ratio == pytest.approx(0.8, abs=0.06)
    assert found.target_ratio * 1.1 == pytest.approx(found.utilisation_ratio)
    assert "load it higher" in advise_target(utilisation, latency, budget_seconds=50.0).because
    assert advise_target(utilisation, latency, budget_seconds=0.01) is None
    assert advise_target(utilisation[:5], latency[:5], budget_seconds=1.0) is None


def test_the_interval_that_gains_most_is_advised_first_with_what_it_gains():
    rise = Rise(base=0.0, peak=100.0, threshold=77.0)
    changes = advise_intervals(Intervals(query_window_seconds=120.0, rule_seconds=30.0), rise)

    assert [each.what.split()[0] for each in changes] == ["leave", "ask", "collect", "scrape"]
    assert changes[2].mean_before_seconds - changes[2].mean_after_seconds == pytest.approx(14.5)
    assert advise_intervals(Intervals(collect_seconds=1.0, scrape_seconds=5.0), rise) == ()
