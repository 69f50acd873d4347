import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from simulated_gpu import play

from bench.analysis.fidelity.summary import Settings, fidelity_readings
from bench.model.measurement import Absent, Measurement, Source
from bench.model.units import find_unit

START = 1_700_000_000.0
UUIDS = ("GPU-aa", "GPU-bb")


def reading(name, signal, source, labels):
    return Measurement(
        name=name,
        unit=find_unit(name),
        values=signal.values,
        times_seconds=signal.times_seconds,
        source=source,
        statement="s",
        labels=labels,
    )


def labelled(number):
    return {
        "UUID": UUIDS[number],
        "exported_namespace": "ns",
        "exported_pod": f"pod-{number}",
        "namespace": "gpu-operator",
        "pod": "exporter",
    }


def held(number):
    return Measurement(
        name="gpu_held_seconds",
        unit=find_unit("gpu_held_seconds"),
        values=(START, START + 1800.0),
        source=Source.WORKLOAD,
        statement="nvml in the pod",
        labels={"uuid": UUIDS[number], "namespace": "ns", "pod": f"pod-{number}"},
    )


def sound_run(seed=1, collect=5.0, scrape=5.0):
    """Readings of a sound chain, by a key that a test can change one of."""
    run = {}
    for number, uuid in enumerate(UUIDS):
        chain = play(np.random.default_rng(seed + number), collect=collect, scrape=scrape)
        run["probe-energy", number] = reading("gpu_energy_joules", chain.probe_energy, Source.NVML, {"uuid": uuid})
        run["probe-busy", number] = reading("gpu_busy_time_ratio", chain.probe_busy, Source.NVML, {"uuid": uuid})
        watts = type(chain.probe_busy)(
            times_seconds=chain.probe_busy.times_seconds, values=60.0 + 300.0 * chain.probe_busy.values
        )
        run["probe-power", number] = reading("gpu_power_watts", watts, Source.NVML, {"uuid": uuid})
        run["energy", number] = reading("gpu_energy_joules", chain.energy, Source.PROMETHEUS, labelled(number))
        run["busy", number] = reading("gpu_busy_time_ratio", chain.busy, Source.PROMETHEUS, labelled(number))
        run["held", number] = held(number)
    return run


def summary(run, scrape=5.0):
    settings = Settings(start_seconds=START + 60, end_seconds=START + 1800, scrape_seconds=scrape)
    found = {}
    for each in fidelity_readings(list(run.values()), settings):
        found.setdefault(each.name, []).append(each)
    return found


def worst(found, name):
    return max(float(each.values.max()) for each in found[name])


def changed(measurement, **change):
    fields = {
        name: getattr(measurement, name)
        for name in ("name", "unit", "values", "times_seconds", "source", "statement", "labels")
    }
    return Measurement(**(fields | change))


FINDINGS = {
    "stale": lambda found: worst(found, "stale_ratio") > 0.05,
    "coverage": lambda found: min(float(each.values[0]) for each in found["coverage_ratio"]) < 0.95,
    "unit": lambda found: any(float(each.values[0]) != 1.0 for each in found["unit_factor_ratio"]),
    "sentinel": lambda found: worst(found, "sentinels_total") > 0,
    "range": lambda found: worst(found, "out_of_range_total") > 0,
    "age": lambda found: worst(found, "fresh_age_seconds") > 5.2,
    "wrong": lambda found: worst(found, "wrong_pods_total") > 0,
    "missing": lambda found: worst(found, "missing_labels_total") > 0,
    "duplicate": lambda found: worst(found, "duplicates_total") > 0,
    "ghost": lambda found: worst(found, "ghosts_total") > 0,
    "reset": lambda found: worst(found, "counter_resets_total") > 0,
    "aligned": lambda found: worst(found, "aligned_error_ratio") > 0.03,
    "power": lambda found: abs(worst(found, "energy_to_power_ratio") - 1.0) > 0.05,
}


def findings(run):
    found = summary(run)
    return {name for name, is_found in FINDINGS.items() if is_found(found)}


@pytest.mark.parametrize(("collect", "scrape"), [(30.0, 15.0), (15.0, 15.0), (5.0, 5.0), (1.0, 5.0)])
@pytest.mark.parametrize("seed", [1, 20, 300])
def test_a_sound_run_has_no_findings_but_the_repeats_that_its_intervals_imply(collect, scrape, seed):
    found = summary(sound_run(seed, collect, scrape), scrape)
    names = {name for name, is_found in FINDINGS.items() if is_found(found)}

    expected = 1.0 - min(1.0, scrape / collect)
    assert names - {"stale", "age"} == set()
    assert worst(found, "stale_ratio") == pytest.approx(expected, abs=0.02)
    assert worst(found, "sample_age_seconds") <= collect + 0.11
    assert worst(found, "fresh_age_seconds") <= scrape + 0.11


def test_every_measure_of_agreement_is_told_with_the_age_taken_out_and_without():
    found = summary(sound_run(20, 5.0, 5.0))

    for kind in ("aligned", "unaligned"):
        (low, bias, high) = found[f"{kind}_limits_ratio"][0].values
        mean, rms, p95 = (float(found[f"{kind}_error{each}_ratio"][0].values[0]) for each in ("", "_rms", "_p95"))
        assert low <= bias <= high
        assert mean <= rms
        assert p95 <= rms * math.sqrt(1 / 0.05)  # Markov: a twentieth of the squares lies beyond the percentile's
        assert found[f"{kind}_bias_ratio"][0].values[0] == bias
    spreads = {kind: worst(found, f"{kind}_error_rms_to_range_ratio") for kind in ("aligned", "unaligned")}
    assert spreads["aligned"] < spreads["unaligned"]


def test_a_frozen_value_is_stale():
    run = sound_run()
    energy = run["energy", 0]
    values = energy.values.copy()
    values[100:200] = values[100]
    run["energy", 0] = changed(energy, values=values)

    assert findings(run) == {"stale"}


def test_each_other_planted_fault_is_found_by_its_own_dimension_only():
    run = sound_run()
    busy = run["busy", 0]
    blank = busy.values.copy()
    blank[50] = 9223372036854775794.0 * 0.01
    half = busy.values.size // 2
    kept = np.delete(np.arange(busy.values.size), range(50, 150))
    plants = {
        frozenset({"unit"}): {("busy", 0): changed(busy, values=busy.values * 100.0)},
        frozenset({"sentinel"}): {("busy", 0): changed(busy, values=blank)},
        frozenset({"coverage"}): {
            ("busy", 0): changed(busy, values=busy.values[kept], times_seconds=busy.times_seconds[kept])
        },
        frozenset({"wrong"}): {
            (kind, 0): changed(run[kind, 0], labels=labelled(0) | {"exported_pod": "other"})
            for kind in ("busy", "energy")
        },
        frozenset({"duplicate"}): {
            ("copy", 0): changed(
                busy,
                values=busy.values[:half],
                times_seconds=busy.times_seconds[:half],
                labels=labelled(0) | {"exported_pod": "pod-9"},
            )
        },
        frozenset({"ghost"}): {("held", 0): changed(held(0), values=(START, START + 900.0))},
        frozenset({"missing"}): {
            (kind, 0): changed(run[kind, 0], labels={"UUID": UUIDS[0], "namespace": "gpu-operator", "pod": "exporter"})
            for kind in ("busy", "energy")
        },
    }

    for expected, plant in plants.items():
        assert findings(run | plant) == set(expected), sorted(expected)


def test_a_delayed_series_is_older_than_it_may_be():
    run = sound_run()
    run |= {
        (kind, 0): changed(run[kind, 0], times_seconds=run[kind, 0].times_seconds + 20.0) for kind in ("busy", "energy")
    }

    assert "age" in findings(run)
    assert "wrong" not in findings(run)


def test_a_device_without_probe_and_a_run_without_holdings_say_why_they_tell_nothing():
    run = {key: each for key, each in sound_run().items() if not key[0].startswith(("probe", "held"))}
    found = summary(run)

    assert all(isinstance(each, Absent) for each in found["sample_age_seconds"])
    assert "no probe watched any" in found["sample_age_seconds"][0].reason
    assert isinstance(found["attribution_precision_ratio"][0], Absent)
    assert "unit_factor_ratio" not in found


def test_a_device_that_is_probed_and_never_scraped_says_so():
    run = {key: each for key, each in sound_run().items() if key[0].startswith("probe")}

    assert "Prometheus has no energy counter" in summary(run)["sample_age_seconds"][0].reason


def test_a_hand_over_between_series_is_measured():
    run = sound_run()
    busy = run["busy", 0]
    run["busy", 0] = changed(busy, values=busy.values[:100], times_seconds=busy.times_seconds[:100])
    idle = {"UUID": UUIDS[0], "namespace": "gpu-operator", "pod": "exporter"}
    run["idle", 0] = changed(busy, values=busy.values[110:], times_seconds=busy.times_seconds[110:], labels=idle)

    assert worst(summary(run), "hand_over_gap_seconds") == pytest.approx(50.0, abs=0.1)


@pytest.mark.parametrize(("share", "ratio"), [(0.5, 1.0), (1.0, 2.0)])
def test_sharing_pods_that_are_each_told_all_add_up_to_twice_the_device(share, ratio):
    run = sound_run()
    steady = np.full_like(run["probe-busy", 0].values, 0.8)
    run["probe-busy", 0] = changed(run["probe-busy", 0], values=steady)
    busy = changed(run["busy", 0], values=np.full_like(run["busy", 0].values, 0.8 * share))
    run["busy", 0] = busy
    run["other", 0] = changed(busy, labels=labelled(0) | {"exported_pod": "neighbour"})

    assert "conservation_ratio" not in summary(run)  # nobody saw that it is shared
    run["held-too", 0] = changed(held(0), labels=held(0).labels | {"pod": "neighbour"})
    found = summary(run)
    assert worst(found, "conservation_ratio") == pytest.approx(ratio)
    assert worst(found, "shares_wrong_total") == (ratio != 1.0)
    assert worst(found, "sharers_unnamed_total") == 0


def test_of_pods_that_share_a_device_those_that_are_not_named_are_counted_apart_from_missing_labels():
    run = sound_run()
    run["held-too", 0] = changed(held(0), labels=held(0).labels | {"pod": "neighbour"})
    found = summary(run)

    assert worst(found, "sharers_unnamed_total") > 10
    assert worst(found, "missing_labels_total") == worst(found, "shares_wrong_total") == 0


def test_the_lag_is_told_beside_the_age():
    found = summary(sound_run())

    ages = np.median(found["fresh_age_seconds"][0].values)
    assert float(found["lag_seconds"][0].values[0]) == pytest.approx(ages, abs=1.0)
    assert float(found["lag_explained_ratio"][0].values[0]) > 0.8
