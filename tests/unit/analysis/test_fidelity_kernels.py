"""Kernels on a quarter of the multiprocessors, shown by a sound exporter and by one that tells utilisation twice."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from test_fidelity_summary import START, UUIDS, held, labelled, reading, summary

from bench.analysis.fidelity.checks import checks
from bench.analysis.fidelity.kernels import EXPECTED, HIDDEN, RATIO
from bench.analysis.signals import Signal
from bench.model.measurement import Absent, Source
from bench.model.verdict import Verdict

COURSE = (
    (0.0, 0.0, 1.0),
    (60.0, 1.0, 1.0),
    (100.0, 0.5, 1.0),
    (130.0, 1.0, 0.25),
    (170.0, 0.0, 1.0),
    (220.0, 0.0, 1.0),
)
"""From when on, which duty, on which share of the multiprocessors."""
SM_ACTIVE = "gpu_sm_active_ratio"


def course_of(times, column):
    starts = np.array([each[0] for each in COURSE])
    return np.array([each[column] for each in COURSE])[np.searchsorted(starts, times, side="right") - 1]


def means(level, ends, seconds):
    """Of a level over time before each end."""
    about = ends[:, np.newaxis] - np.linspace(0.0, seconds, 200, endpoint=False)
    return level(about.ravel()).reshape(about.shape).mean(axis=1)


def a_run(collect=5.0, scrape=5.0, shown="part", factor=0.9):
    """One device through the course; SM activity is that of the `part`, `utilization`, or not shown at all."""
    probe, passes = np.arange(0.03, 220.0, 0.1), np.arange(1.3, 220.0, collect)
    scrapes = np.arange(collect + 2.0, 220.0, scrape)
    read = passes[np.searchsorted(passes, scrapes) - 1]

    def energy(times):
        renewed = np.floor(times * 10.0) / 10.0
        return 70.0 * renewed + 630.0 * np.cumsum(course_of(np.arange(0.0, 221.0, 0.1), 1))[(renewed * 10).astype(int)]

    def busy(times):
        return means(lambda at: course_of(at, 1), times, 1.0)

    def on_multiprocessors(at):
        return factor * course_of(at, 1) * (course_of(at, 2) if shown == "part" else 1.0)

    def made(name, times, values, source, labels):
        return reading(name, Signal(times_seconds=START + times, values=values), source, labels)

    here = {"uuid": UUIDS[0], "node": "n"}
    scraped, pod = labelled(0) | {"instance": "i"}, {"uuid": UUIDS[0], "namespace": "ns", "pod": "pod-0"}
    starts = np.array([each[0] for each in COURSE])
    run = {
        "probe-energy": made("gpu_energy_joules", probe, energy(probe), Source.NVML, here),
        "probe-busy": made("gpu_busy_time_ratio", probe, busy(probe), Source.NVML, here),
        "energy": made("gpu_energy_joules", scrapes, energy(read), Source.PROMETHEUS, scraped),
        "busy": made("gpu_busy_time_ratio", scrapes, busy(read), Source.PROMETHEUS, scraped),
        "engine": made(
            "gpu_engine_active_ratio",
            scrapes,
            means(lambda at: course_of(at, 1), read, collect),
            Source.PROMETHEUS,
            scraped,
        ),
        "held": held(0),
        "duty": made("asked_duty_ratio", starts, course_of(starts, 1), Source.WORKLOAD, pod),
        "occupancy": made("asked_occupancy_ratio", starts, course_of(starts, 2), Source.WORKLOAD, pod),
    }
    if shown != "nothing":
        run["sm"] = made(SM_ACTIVE, scrapes, means(on_multiprocessors, read, collect), Source.PROMETHEUS, scraped)
    return run


def only(found, name):
    (one,) = found[name]
    return one


def verdict_of(found):
    (check,) = [each for each in checks(asks_the_metrics_api=False) if each.measurement == HIDDEN]
    return check.judge([each for group in found.values() for each in group]).verdict


@pytest.mark.parametrize(("collect", "scrape"), [(1.0, 1.0), (5.0, 5.0), (15.0, 5.0)])
def test_activity_of_a_quarter_is_a_quarter_of_that_of_all_while_utilisation_is_full(collect, scrape):
    found = summary(a_run(collect, scrape), scrape)

    assert float(only(found, RATIO).values[0]) == pytest.approx(0.25, abs=0.01)
    assert float(only(found, EXPECTED).values[0]) == 0.25
    assert float(only(found, "partial_busy_time_ratio").values[0]) == pytest.approx(1.0, abs=0.01)
    assert verdict_of(found) is Verdict.PASS


def test_activity_that_is_utilisation_hides_the_quarter_and_the_engine_is_no_part_of_it():
    found = summary(a_run(shown="utilization", factor=1.0))

    assert float(only(found, RATIO).values[0]) == pytest.approx(1.0, abs=0.01)
    assert verdict_of(found) is Verdict.FAIL
    assert float(only(found, "engine_unexplained_ratio").values[0]) == 0.0


def test_what_is_not_shown_is_absent_and_hides_nothing():
    found = summary(a_run(shown="nothing"))

    assert isinstance(only(found, RATIO), Absent)
    assert "off by default" in only(found, RATIO).reason
    assert verdict_of(found) is Verdict.PASS


def test_where_no_sample_lies_wholly_in_the_step_nothing_is_known():
    """The exporter's interval is longer than the step: each mean is of something else too."""
    found = summary(a_run(collect=45.0, scrape=15.0), 15.0)

    assert "lies wholly" in only(found, RATIO).reason
    assert verdict_of(found) is Verdict.INCONCLUSIVE


def test_of_activity_that_shows_nothing_of_all_no_part_is_told():
    found = summary(a_run(factor=0.01))

    assert "SM activity is 0.01" in only(found, RATIO).reason
    assert verdict_of(found) is Verdict.INCONCLUSIVE


def test_without_such_kernels_nothing_is_known():
    run = a_run()
    run["occupancy"] = reading(
        "asked_occupancy_ratio",
        Signal(times_seconds=run["occupancy"].times_seconds, values=np.ones(len(COURSE))),
        Source.WORKLOAD,
        run["occupancy"].labels,
    )

    assert "no pod" in only(summary(run), HIDDEN).reason


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        ("part", "utilisation said 100% while kernels were on 25% of the multiprocessors, SM activity 20%"),
        ("nothing", "DCGM_FI_PROF_SM_ACTIVE would tell, which no exporter shows"),
    ],
)
def test_advice_says_what_either_metric_told(shown, told):
    notes = " ".join(each.labels["note"] for each in summary(a_run(shown=shown, factor=0.8))["noted_total"])

    assert told in notes
