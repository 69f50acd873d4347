import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.intervals import ks_test
from bench.analysis.prediction import Intervals, Rise, draw_reactions, predict, steps_needed

RISE = Rise(base=0.0, peak=100.0, threshold=77.0)


@pytest.mark.parametrize(
    ("collect", "scrape", "rule", "mean", "deviation", "most"),
    [
        (30, 15, 0, 31.3, 10.6, 61.8),
        (30, 30, 30, 53.8, 15.6, 106.8),
        (15, 15, 0, 23.8, 7.5, 46.8),
        (5, 5, 0, 13.8, 4.8, 26.8),
        (1, 5, 0, 11.8, 4.6, 22.8),
        (1, 1, 0, 9.8, 4.4, 18.8),
    ],
)
def test_the_prediction_is_the_one_of_the_reference_table(collect, scrape, rule, mean, deviation, most):
    prediction = predict(Intervals(collect_seconds=collect, scrape_seconds=scrape, rule_seconds=rule), RISE)

    assert prediction.mean_seconds == pytest.approx(mean, abs=0.06)
    assert prediction.deviation_seconds == pytest.approx(deviation, abs=0.06)
    assert prediction.max_seconds == pytest.approx(most, abs=0.06)


def test_an_average_in_the_query_adds_its_share_of_the_window():
    prediction = predict(Intervals(query_window_seconds=120.0), RISE)

    assert prediction.mean_seconds == pytest.approx(121.0, abs=0.06)
    assert prediction.max_seconds == pytest.approx(151.5, abs=0.06)


@given(st.floats(0.5, 60), st.floats(1, 60), st.floats(0, 60), st.floats(1, 60), st.floats(0, 70))
def test_draws_have_the_predicted_mean_spread_and_bound(collect, scrape, rule, sync, base):
    intervals = Intervals(collect_seconds=collect, scrape_seconds=scrape, rule_seconds=rule, sync_seconds=sync)
    rise = Rise(base=base, peak=100.0, threshold=77.0)
    draws = draw_reactions(intervals, rise, count=20000, seed=1)
    prediction = predict(intervals, rise)

    assert draws.mean() == pytest.approx(prediction.mean_seconds, abs=0.05 * prediction.deviation_seconds + 0.01)
    assert draws.std() == pytest.approx(prediction.deviation_seconds, rel=0.03)
    assert draws.max() <= prediction.max_seconds + 1e-9


def test_a_step_below_the_threshold_is_never_seen():
    rise = Rise(base=0.0, peak=77.0, threshold=77.0)

    assert math.isinf(predict(Intervals(), rise).mean_seconds)
    assert np.isinf(draw_reactions(Intervals(), rise, count=3, seed=1)).all()


def tick_after(time, interval, phase):
    return phase + math.ceil((time - phase) / interval) * interval


def chain_reaction(generator, intervals, rise):
    """The chain played tick by tick, each clock with its own phase; not the formula."""
    window = intervals.nvml_window_seconds
    seen = tick_after(rise.share * window, window, generator.uniform(0, window))
    for interval in (intervals.collect_seconds, intervals.scrape_seconds, intervals.sync_seconds):
        seen = tick_after(seen, interval, generator.uniform(0, interval))
    return seen


def test_twenty_played_steps_pass_and_fail_when_one_interval_is_secretly_doubled():
    generator = np.random.default_rng(11)
    short = Intervals(nvml_window_seconds=0.2, collect_seconds=1.0, scrape_seconds=2.0, sync_seconds=5.0)
    doubled = Intervals(nvml_window_seconds=0.2, collect_seconds=1.0, scrape_seconds=2.0, sync_seconds=10.0)
    predicted = draw_reactions(short, RISE, count=50000, seed=1)

    sound = [ks_test([chain_reaction(generator, short, RISE) for _ in range(20)], predicted) for _ in range(60)]
    lied = [ks_test([chain_reaction(generator, doubled, RISE) for _ in range(20)], predicted) for _ in range(60)]
    assert np.mean([each.p_value < 0.01 for each in sound]) < 0.06
    assert np.mean([each.p_value < 0.01 for each in lied]) > 0.8


def test_the_number_of_steps_for_a_precision_is_told():
    assert steps_needed(10.6, 2.0) == 108
    with pytest.raises(ValueError, match="positive"):
        Intervals(scrape_seconds=0)
