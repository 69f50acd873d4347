"""Each planted fault of one series is found by its own question and by no other."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from simulated_gpu import play
from test_fidelity_summary import START, UUIDS, changed, held, labelled, reading, sound_run, summary, worst

from bench.analysis.fidelity.clocks import node_shifts
from bench.analysis.fidelity.holders import container_span, holder_readings
from bench.analysis.fidelity.view import MISMATCH, view_readings
from bench.model.measurement import Absent, Measurement, Source
from bench.model.units import Unit

ZERO = (
    "frozen_seconds",
    "field_delay_seconds",
    "sentinels_total",
    "out_of_range_total",
    "counter_resets_total",
    "missing_labels_total",
    "sharers_unnamed_total",
    "wrong_pods_total",
    "ghosts_total",
    "duplicates_total",
    "hand_over_lost_total",
    "series_unexplained_total",
    "shares_wrong_total",
    "device_unseen_total",
)


def on_one_target(run):
    """Both devices behind one exporter, scraped together."""
    for key, each in list(run.items()):
        if each.source is Source.PROMETHEUS:
            run[key] = changed(each, labels={**each.labels, "instance": "10.0.0.1:9400"})
        elif each.source is Source.NVML:
            run[key] = changed(each, labels={**each.labels, "node": "n"})
    return run


def neighbours(seed=5, collect=5.0, scrape=5.0):
    """Two devices that one exporter reads in one pass; their loads differ."""
    run = on_one_target(sound_run(seed, collect, scrape))
    chain = play(np.random.default_rng(seed), collect=collect, scrape=scrape)
    other = {"UUID": UUIDS[1], "exported_namespace": "ns", "exported_pod": "pod-1", "instance": "10.0.0.1:9400"}
    for kind, signal in (("busy", chain.busy), ("energy", chain.energy)):
        name = run[kind, 1].name
        run[kind, 1] = reading(
            name, signal, Source.PROMETHEUS, other | {"namespace": "gpu-operator", "pod": "exporter"}
        )
    for kind, signal in (("probe-energy", chain.probe_energy), ("probe-busy", chain.probe_busy)):
        run[kind, 1] = reading(run[kind, 1].name, signal, Source.NVML, {"uuid": UUIDS[1], "node": "n"})
    watts = replace(chain.probe_busy, values=60.0 + 300.0 * chain.probe_busy.values)
    run["probe-power", 1] = reading("gpu_power_watts", watts, Source.NVML, {"uuid": UUIDS[1], "node": "n"})
    return run


def blamed(run, scrape=5.0):
    """Names of the dimensions that find something, as the scenario's checks bound them."""
    found = summary(run, scrape)
    names = {name for name in ZERO if name in found and worst(found, name) > 0}
    names |= {"unit_factor_ratio"} if any(each.values[0] != 1.0 for each in found["unit_factor_ratio"]) else set()
    names |= {"coverage_ratio"} if min(float(each.values.max()) for each in found["coverage_ratio"]) < 0.98 else set()
    for name, bound in (("sample_age_excess_seconds", 0.0), ("unexplained_error_ratio", 0.03)):
        seen = [float(each.values.max()) for each in found.get(name, ()) if isinstance(each, Measurement)]
        names |= {name} if seen and max(seen) > bound else set()
    ratios = [float(each.values[0]) for each in found.get("energy_to_power_ratio", ())]
    return names | ({"energy_to_power_ratio"} if any(abs(each - 1.0) > 0.1 for each in ratios) else set())


@pytest.mark.parametrize(("collect", "scrape"), [(30.0, 15.0), (15.0, 15.0), (5.0, 5.0), (1.0, 5.0), (1.0, 1.0)])
@pytest.mark.parametrize("seed", range(4))
def test_a_sound_run_is_not_blamed(collect, scrape, seed):
    assert blamed(neighbours(seed, collect, scrape), scrape) == set()


def later(measurement, seconds):
    """The values as they were so much earlier, at the same times."""
    gap = float(np.median(np.diff(measurement.times_seconds)))
    shift = round(seconds / gap)
    return changed(measurement, values=measurement.values[:-shift], times_seconds=measurement.times_seconds[shift:])


def frozen(measurement, start, length):
    values = measurement.values.copy()
    values[start : start + length] = values[start]
    return changed(measurement, values=values)


def fallen(measurement, place):
    values = measurement.values.copy()
    values[place:] -= values[place]
    return changed(measurement, values=values)


def scaled_from(measurement, place, factor):
    values = measurement.values.copy()
    values[place:] *= factor
    return changed(measurement, values=values)


def later_from(measurement, place, seconds):
    late = later(measurement, seconds)
    behind = measurement.values.size - late.values.size
    values = np.concatenate([measurement.values[:place], late.values[place - behind :]])
    return changed(measurement, values=values)


PLANTS = {
    "a value that stands": ("busy", lambda each: frozen(each, 100, 120), "frozen_seconds"),
    "a counter that stands": ("energy", lambda each: frozen(each, 100, 100), "frozen_seconds"),
    "a value that comes late": ("busy", lambda each: later(each, 20.0), "field_delay_seconds"),
    "a counter that comes late": ("energy", lambda each: later(each, 20.0), "sample_age_excess_seconds"),
    "a wrong unit": ("busy", lambda each: changed(each, values=each.values * 100.0), "unit_factor_ratio"),
    "a counter in a wrong unit": ("energy", lambda each: changed(each, values=each.values * 1e3), "unit_factor_ratio"),
    "a counter that falls": ("energy", lambda each: fallen(each, 150), "counter_resets_total"),
    "a counter that rises too fast": ("energy", lambda each: scaled_from(each, 0, 1.3), "energy_to_power_ratio"),
    "a counter that rises too fast from then on": (
        "energy",
        lambda each: scaled_from(each, 120, 1.3),
        "energy_to_power_ratio",
    ),
    "values that are not the device's": (
        "busy",
        lambda each: changed(each, values=np.clip(each.values * 0.8, 0, 1)),
        "unexplained_error_ratio",
    ),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_fault_of_one_series_is_found_by_one_dimension(plant):
    kind, change, expected = PLANTS[plant]
    run = neighbours()
    run[kind, 0] = change(run[kind, 0])

    assert blamed(run) == {expected}


def alone(run):
    """Without the other device of the exporter."""
    return {key: each for key, each in run.items() if key[1] != 1}


@pytest.mark.parametrize(("collect", "scrape"), [(30.0, 15.0), (5.0, 5.0), (1.0, 5.0)])
@pytest.mark.parametrize("seed", range(4))
def test_a_sound_device_without_neighbours_is_not_blamed(collect, scrape, seed):
    assert blamed(alone(neighbours(seed, collect, scrape)), scrape) == set()


@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_a_counter_that_rises_wrongly_from_the_start_is_found_without_neighbours(factor):
    run = alone(neighbours())
    for kind in ("energy", "probe-energy"):  # it has run for long
        run[kind, 0] = changed(run[kind, 0], values=run[kind, 0].values + 1e7)
    run["energy", 0] = scaled_from(run["energy", 0], 0, factor)

    assert blamed(run) == {"energy_to_power_ratio"}


@pytest.mark.parametrize("again", [{"job": "by-another-job"}, {"instance": "10.0.0.9:9400"}])
def test_a_device_that_is_scraped_by_two_jobs_or_from_two_exporters_is_shown_twice(again):
    run = neighbours()
    for kind in ("busy", "energy"):
        copy = changed(run[kind, 0], times_seconds=run[kind, 0].times_seconds + 2.0)
        run["again", kind] = changed(copy, labels={**copy.labels, **again})

    assert "duplicates_total" in blamed(run)


def test_an_exporter_that_is_replaced_shows_no_device_twice():
    run = neighbours()
    for kind in ("busy", "energy"):
        whole = run[kind, 0]
        for name, part, instance in (
            ("before", slice(0, 152), "10.0.0.1:9400"),
            ("after", slice(150, None), "10.0.0.9"),
        ):
            labels = {**whole.labels, "instance": instance}
            run[name, kind] = changed(
                whole, values=whole.values[part], times_seconds=whole.times_seconds[part], labels=labels
            )
        del run[kind, 0]

    assert blamed(run) == {"series_unexplained_total"}  # one, and three are allowed


def test_a_device_that_is_late_from_then_on_is_old_in_all_its_values_and_its_counter_falls():
    run = neighbours()
    for kind in ("busy", "energy"):
        run[kind, 0] = later_from(run[kind, 0], 120, 20.0)

    assert blamed(run) == {"sample_age_excess_seconds", "counter_resets_total"}


def test_the_jump_of_a_counter_that_has_run_for_long_is_no_other_unit():
    run = neighbours()
    for kind in ("energy", "probe-energy"):
        run[kind, 0] = changed(run[kind, 0], values=run[kind, 0].values + 1e9)
    run["energy", 0] = scaled_from(run["energy", 0], 120, 1.3)  # by 3e8 at once, a thousand times what the run takes

    assert blamed(run) == {"energy_to_power_ratio"}


def test_a_counter_that_falls_and_rises_too_slowly_is_blamed_for_both():
    run = neighbours()
    run["energy", 0] = scaled_from(run["energy", 0], 120, 0.7)

    assert blamed(run) == {"energy_to_power_ratio", "counter_resets_total"}


def test_a_device_whose_clock_is_dropped_is_judged_by_its_neighbours_passes():
    run = neighbours()
    del run["energy", 0]
    found = summary(run)

    coverage = {
        (each.labels["uuid"], each.labels["quantity"]): float(each.values.max()) for each in found["coverage_ratio"]
    }
    assert coverage[UUIDS[0], "gpu_energy_joules"] < 0.1
    compared = {each.labels["uuid"] for each in found["unexplained_error_ratio"]}
    assert UUIDS[1] in compared


def test_a_label_other_than_the_pods_that_changes_is_a_series_nobody_explains():
    run = neighbours()
    busy = run["busy", 0]
    parts = [slice(start, start + 60) for start in range(0, 300, 60)]
    for number, part in enumerate(parts):
        run["busy", 0, number] = changed(
            busy,
            values=busy.values[part],
            times_seconds=busy.times_seconds[part],
            labels={**busy.labels, "start": str(number)},
        )
    del run["busy", 0]

    assert worst(summary(run), "series_unexplained_total") == 4


def clock(of, against, offset, bound):
    for name, value in (("clock_offset_seconds", offset), ("clock_bound_seconds", bound)):
        labels = {"of": of, "against": against}
        yield Measurement(
            name=name, unit=Unit.SECONDS, values=[value], source=Source.KUBERNETES, statement="s", labels=labels
        )


def test_a_probe_whose_clock_is_behind_still_tells_the_true_ages():
    run = on_one_target(sound_run())
    for key, each in list(run.items()):
        if each.source is Source.NVML:
            run[key] = changed(each, times_seconds=each.times_seconds - 7.0)
    clocks = [
        *clock("prometheus", "bench", 2.0, 0.01),
        *clock("api-server", "bench", 1.0, 0.01),
        *clock("api-server", "n", 6.0, 0.02),
    ]
    run |= {("clock", number): each for number, each in enumerate(clocks)}

    assert node_shifts(clocks)["n"].seconds == pytest.approx(7.0)
    assert node_shifts(clocks)["n"].bound_seconds == pytest.approx(0.04)
    assert worst(summary(run), "sample_age_seconds") <= 5.11


def test_clocks_that_are_hardly_known_leave_ages_unknown():
    run = on_one_target(sound_run())
    clocks = [
        *clock("prometheus", "bench", 0.0, 0.4),
        *clock("api-server", "bench", 0.0, 0.1),
        *clock("api-server", "n", 0.0, 0.1),
    ]
    run |= {("clock", number): each for number, each in enumerate(clocks)}
    ages = summary(run)["sample_age_seconds"]

    assert all(isinstance(each, Absent) and "0.60 s" in each.reason for each in ages)


def polled(values, times):
    return Measurement(
        name="metrics_api_metric_value",
        unit=Unit.METRIC_VALUE,
        values=values,
        times_seconds=times,
        source=Source.KUBERNETES,
        statement="s",
        labels={"namespace": "ns"},
    )


@pytest.mark.parametrize(("factor", "expected"), [(100.0, 0.0), (50.0, 0.0), (70.0, 1.0)])
def test_what_the_metrics_api_tells_is_explained_by_a_rule_or_not_at_all(factor, expected):
    """The sum and the mean of two pods are rules; seven tenths of the sum are none."""
    times = START + 100.0 + np.arange(100.0) * 5.0
    level = 0.25 + 0.5 * (np.arange(100) % 7 < 3)
    series = [
        Measurement(
            name="gpu_busy_time_ratio",
            unit=Unit.RATIO,
            values=level,
            times_seconds=times,
            source=Source.PROMETHEUS,
            statement="s",
            labels=labelled(number) | {"instance": "i"},
        )
        for number in range(2)
    ]
    answers = polled(2.0 * level[:-1] * factor, times[:-1] + 2.5)
    (found,) = view_readings([*series, answers])

    assert found.name == MISMATCH
    assert float(found.values[0]) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("kept", [True, False], ids=["still added up", "no more added up"])
def test_a_series_that_is_gone_may_be_told_until_the_next_scrape_and_each_target_in_its_own_time(kept):
    """Two pods that change names when both were full; the scrapes of their targets are a tenth of a second apart."""
    times = START + 100.0 + np.arange(40.0)
    full = np.ones(20)
    series = [
        Measurement(
            name="gpu_busy_time_ratio",
            unit=Unit.RATIO,
            values=full * level,
            times_seconds=(times[:20] if number == name else times[20:]) + 0.1 * number,
            source=Source.PROMETHEUS,
            statement="s",
            labels=labelled(name) | {"instance": f"i{number}"},
        )
        for number in range(2)
        for name, level in ((0, 0.5), (1, 0.75))
    ]
    after = times[20] + 0.5
    told = 100.0 * sum(float(each.values[0]) for each in series if kept or each.times_seconds[0] >= times[20])
    (found,) = view_readings([*series, polled([told], [after])])

    assert float(found.values[0]) == 0.0


POD = {
    "metadata": {"namespace": "ns", "name": "burn-0"},
    "status": {
        "containerStatuses": [
            {"state": {"terminated": {"startedAt": "2026-01-01T00:00:10Z", "finishedAt": "2026-01-01T00:01:00Z"}}}
        ]
    },
}


def test_a_pod_holds_what_it_saw_inside_from_its_containers_start_to_its_end():
    step = '{"utc_seconds": 2.0, "duty_ratio": 1.0, "memory_bytes": 0, "occupancy_ratio": 0.25}'
    log = f'noise\n{{"utc_seconds": 1.0, "devices": ["GPU-1"]}}\n{step}\n'
    holding, asked, part = holder_readings(POD, log, ended_seconds=0.0)

    assert holding.values[1] - holding.values[0] == 50.0
    assert holding.labels == {"namespace": "ns", "pod": "burn-0", "uuid": "GPU-1"}
    assert (asked.name, list(asked.values)) == ("asked_duty_ratio", [1.0])
    assert (part.name, list(part.values), list(part.times_seconds)) == ("asked_occupancy_ratio", [0.25], [2.0])


def test_a_pod_that_saw_nothing_or_never_ran_is_absent_and_says_why():
    (blind,) = holder_readings(POD, "", ended_seconds=0.0)
    (waiting,) = holder_readings({**POD, "status": {}}, '{"devices": ["GPU-1"]}', ended_seconds=0.0)

    assert "saw no device" in blind.reason
    assert "never ran" in waiting.reason


def test_a_container_that_still_runs_holds_until_now():
    running = {**POD, "status": {"containerStatuses": [{"state": {"running": {"startedAt": "1970-01-01T00:00:10Z"}}}]}}

    assert container_span(running, ended_seconds=70.0) == (10.0, 70.0)


def exporter(name, value, **labels):
    return Measurement(
        name=name,
        unit=Unit.SECONDS if name.endswith("seconds") else Unit.TOTAL,
        values=[value],
        source=Source.EXPORTER,
        statement="s",
        labels={"node": "n", **labels},
    )


def test_advice_names_the_interval_to_shorten_and_what_the_labels_are():
    run = on_one_target(sound_run(collect=30.0, scrape=15.0))
    run["told"] = exporter("exporter_configured_collect_seconds", 10.0)
    run["wrong"] = exporter("exporter_ignored_variable_total", 1.0, variable="DCGM_EXPORTER_COLLECT_INTERVAL")
    found = summary(run, 15.0)

    (now,) = found["reaction_predicted_mean_seconds"]
    after = {each.labels["change"][:14]: float(each.values[0]) for each in found["reaction_mean_after_change_seconds"]}
    assert float(now.values[0]) - after["collect every "] == pytest.approx(14.5, abs=0.2)
    assert worst(found, "collect_interval_measured_to_configured_ratio") == pytest.approx(3.0, abs=0.05)
    notes = " ".join(each.labels["note"] for each in found["noted_total"])
    assert "exported_pod" in notes
    assert "DCGM_EXPORTER_COLLECT_INTERVAL means nothing" in notes


def test_a_counter_that_falls_all_the_time_is_noted_as_a_gauge():
    run = on_one_target(sound_run())
    metric = "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL"
    run["declared"] = exporter("exporter_series_total", 1.0, metric=metric, declared="counter")
    run["traffic"] = Measurement(
        name="gpu_link_traffic_bytes_per_second",
        unit=Unit.BYTES_PER_SECOND,
        values=np.arange(60.0) % 2,
        times_seconds=START + 100.0 + np.arange(60.0) * 5.0,
        source=Source.PROMETHEUS,
        statement="s",
        labels=labelled(0) | {"__name__": metric},
    )

    assert any("declared a counter and is a gauge" in each.labels["note"] for each in summary(run)["noted_total"])


def test_memory_that_does_not_add_up_is_found_where_its_parts_are_sound():
    run = on_one_target(sound_run())
    times = run["busy", 0].times_seconds
    for name, mebibytes in (("used", 1000.0), ("free", 79000.0), ("reserved", 500.0)):
        run[name] = Measurement(
            name=f"gpu_memory_{name}_bytes",
            unit=Unit.BYTES,
            values=np.full(times.size, mebibytes * 1048576),
            times_seconds=times,
            source=Source.PROMETHEUS,
            statement="s",
            labels=run["busy", 0].labels,
        )
    run["total"] = Measurement(
        name="gpu_memory_total_bytes",
        unit=Unit.BYTES,
        values=[81559.0 * 1048576],
        source=Source.NVML,
        statement="s",
        labels={"uuid": UUIDS[0], "node": "n"},
    )

    assert worst(summary(run), "memory_imbalance_bytes") == 1059 * 1048576


def test_held_is_told_beside_claimed_in_the_matrix():
    run = neighbours()
    run["busy", 0] = changed(
        run["busy", 0], labels=labelled(0) | {"exported_pod": "pod-1", "instance": "10.0.0.1:9400"}
    )
    cells = {
        (each.labels["uuid"], each.labels["claimed"], each.labels["held"])
        for each in summary(run)["attribution_samples_total"]
    }

    assert (UUIDS[0], "ns/pod-1", "ns/pod-0") in cells
    assert held(0).labels["pod"] == "pod-0"


def test_the_metric_follows_a_step_within_collect_and_scrape():
    run = neighbours()
    load = run["probe-busy", 0]
    rises = 1 + np.flatnonzero(np.diff(load.values) > 0.5)
    edges = np.sort(np.concatenate([[0], rises, 1 + np.flatnonzero(np.diff(load.values) < -0.5)]))
    run["asked"] = Measurement(
        name="asked_duty_ratio",
        unit=Unit.RATIO,
        values=load.values[edges],
        times_seconds=load.times_seconds[edges],
        source=Source.WORKLOAD,
        statement="s",
        labels={"uuid": UUIDS[0]},
    )
    found = {each.labels["share"]: float(each.values[0]) for each in summary(run)["response_seconds"]}

    assert 0.0 < found["10%"] <= found["90%"] <= 10.0
