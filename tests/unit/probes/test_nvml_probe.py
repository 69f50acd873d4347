import json
import sys
import time
from pathlib import Path

import numpy as np
import pynvml
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_nvml import MIB, FakeNvml, installed, pair

from bench.model.measurement import Absent, Measurement, Source
from bench.model.units import find_unit
from bench.model.verdict import Verdict
from bench.probes.assertions import judge_devices, signal_readings
from bench.probes.nvml import Kind, NoDriver, ask, meaning_of
from bench.probes.probe import probe


def probed(devices, *, seconds=0.05, refusals=None, clock=time.monotonic):
    with installed(FakeNvml(devices, clock=clock, refusals=refusals)) as library:
        report = probe(watch_seconds=seconds)
    assert library.is_open == 0
    return report


def findings(report):
    return {check.measurement for check in report.checks if check.verdict is Verdict.FAIL}


def test_sound_devices_pass_every_check_that_can_be_asked_of_them():
    report = probed(pair())

    assert findings(report) == set()
    verdicts = {check.measurement: check.verdict for check in report.checks}
    unknown = {name for name, verdict in verdicts.items() if verdict is Verdict.INCONCLUSIVE}
    assert unknown == {"energy_to_power_ratio"}  # a tenth of a second is too short for it
    assert verdicts["memory_imbalance_bytes"] is Verdict.PASS
    assert verdicts["idle_links_total"] is Verdict.SKIPPED
    assert [device.uuid for device in report.devices] == [device.uuid for device in pair()]


PLANTS = {
    "memory_imbalance_bytes": {"memory": {"total": 81920 * MIB, "reserved": 0, "used": 0, "free": 80320 * MIB}},
    "power_limits_out_of_order_total": {"limits_milliwatts": (700_000, 600_000, 700_000)},
    "hardware_slowdowns_total": {"event_reasons": 0x48},
    "link_width_deficit_total": {"link": (5, 5, 8, 16)},
    "link_generation_deficit_total": {"link": (3, 5, 16, 16)},
    "idle_links_total": {"nvlinks": (1, 0, 1, 1)},
    "remap_failures_total": {"remapped": (0, 0, 0, 1)},
    "remaps_pending_total": {"remapped": (0, 0, 1, 0)},
    "retirements_pending_total": {"retired_pending": 1},
    "malformed_uuids_total": {"uuid": "GPU-1"},
    "identities_astray_total": {"index_by_uuid": 1},
}


@pytest.mark.parametrize("name", PLANTS)
def test_each_planted_defect_is_found_by_its_check_and_by_no_other(name):
    devices = pair()
    for attribute, value in PLANTS[name].items():
        setattr(devices[0], attribute, value)
    report = probed(devices)

    assert findings(report) == {name}
    assert report.verdict is Verdict.FAIL


def test_transfers_that_are_repeated_while_it_is_watched_are_found_and_old_ones_are_not():
    devices = pair()
    assert findings(probed(devices, seconds=0.25)) == set()

    devices[0].replays_per_second = 100.0
    assert findings(probed(devices, seconds=0.25)) == {"link_replays_recent_total"}


def test_uncorrected_errors_of_the_life_and_since_the_driver_are_both_told():
    devices = pair()
    devices[1].uncorrected = 2

    assert findings(probed(devices)) == {"uncorrected_errors_total", "uncorrected_errors_recent_total"}


def test_devices_that_share_a_name_are_found():
    devices = pair()
    devices[1].uuid = devices[0].uuid

    assert "repeated_identities_total" in findings(probed(devices))


def watched(*, watts, joules_per_second, seconds):
    times = np.arange(0.0, seconds, 0.1)
    return signals_of(times, np.full(times.size, watts), times * joules_per_second)


def signals_of(times, watts, joules):
    signals = {"gpu_power_watts": watts, "gpu_energy_joules": joules}
    return [
        Measurement(
            name=name,
            unit=find_unit(name),
            values=values,
            times_seconds=times,
            source=Source.NVML,
            statement="nvml",
            labels={"uuid": "GPU-a"},
        )
        for name, values in signals.items()
    ]


def energy_verdict(**signals):
    found = judge_devices(list(signal_readings("GPU-a", watched(**signals), {})))
    return next(each.verdict for each in found if each.measurement == "energy_to_power_ratio")


def test_energy_is_held_against_power_once_it_was_watched_for_long_enough():
    assert energy_verdict(watts=300.0, joules_per_second=300.0, seconds=3.0) is Verdict.PASS
    assert energy_verdict(watts=300.0, joules_per_second=340.0, seconds=3.0) is Verdict.FAIL
    assert energy_verdict(watts=300.0, joules_per_second=260.0, seconds=3.0) is Verdict.FAIL
    assert energy_verdict(watts=300.0, joules_per_second=300.0, seconds=1.0) is Verdict.INCONCLUSIVE
    assert energy_verdict(watts=0.0, joules_per_second=300.0, seconds=3.0) is Verdict.INCONCLUSIVE


def stepped(*, at, before, after, seconds):
    """A load that changes at a time: power is told as the mean over the second before, energy at once."""
    fine = np.arange(-20.0, seconds, 0.01)
    true = np.where(fine < at, before, after)
    joules = np.cumsum(true) * 0.01
    told = (joules[100:] - joules[:-100]) / 1.0
    times = np.arange(0.0, seconds, 0.1)
    places = np.searchsorted(fine, times)
    found = judge_devices(list(signal_readings("GPU-a", signals_of(times, told[places - 100], joules[places]), {})))
    return next(each.verdict for each in found if each.measurement == "energy_to_power_ratio")


@pytest.mark.parametrize("at", np.arange(-2.0, 20.0, 0.5))
@pytest.mark.parametrize(("before", "after"), [(70.0, 700.0), (700.0, 70.0)])
@pytest.mark.parametrize("seconds", [3.0, 20.0])
def test_a_device_whose_load_changes_is_not_blamed_for_power_that_tells_of_the_past(at, before, after, seconds):
    assert stepped(at=at, before=before, after=after, seconds=seconds) is not Verdict.FAIL


def test_a_load_that_changes_early_in_a_long_watch_is_judged():
    assert stepped(at=1.0, before=70.0, after=700.0, seconds=20.0) is Verdict.PASS


def test_energy_that_falls_is_found():
    ticks = iter(range(10**6, 0, -1))

    assert "energy_falls_total" in findings(probed(pair(), seconds=0.25, clock=lambda: next(ticks)))


def test_a_link_at_rest_is_not_judged_on_an_idle_device():
    devices = pair()
    for device in devices:
        device.busy_percent, device.link = 0, (1, 5, 16, 16)
    report = probed(devices)
    generation = [each for each in report.checks if each.measurement == "link_generation_deficit_total"]

    assert {each.verdict for each in generation} == {Verdict.SKIPPED}
    assert "--burn" in generation[0].reason


def test_what_a_device_does_not_support_is_absent_with_its_reason_and_not_zero():
    devices = pair()
    devices[0].refusals = {"nvmlDeviceGetTotalEnergyConsumption": 3, "nvmlDeviceGetRemappedRows": 3}
    report = probed(devices)
    energy = [each for each in report.readings if each.name == "gpu_energy_joules"]

    assert isinstance(energy[0], Absent)
    assert "not supported" in energy[0].reason
    assert isinstance(energy[1], Measurement)
    assert report.devices[0].answers["nvmlDeviceGetRemappedRows"].value is None
    skipped = {each.measurement for each in report.checks if each.verdict is Verdict.SKIPPED}
    assert {"remap_failures_total", "energy_falls_total"} <= skipped


def test_what_may_not_be_asked_is_unknown_and_neither_pass_nor_fail():
    devices = pair()
    devices[0].refusals = {"nvmlDeviceGetRemappedRows": 4}
    report = probed(devices)

    assert report.verdict is Verdict.INCONCLUSIVE
    assert "root may" in next(each.reason for each in report.checks if each.measurement == "remap_failures_total")


@pytest.mark.parametrize("code", [15, 16, 14])
def test_a_device_that_is_lost_is_a_failure_and_the_other_is_probed(code):
    devices = pair()
    devices[0].refusals = {"open": code}
    report = probed(devices)

    assert report.verdict is Verdict.FAIL
    assert report.devices[0].lost.startswith("device lost")
    assert report.devices[1].uuid == devices[1].uuid
    assert findings(report) == set()


@pytest.mark.parametrize(("code", "words"), [(9, "not loaded"), (18, "different versions"), (999, "failed inside")])
def test_a_driver_that_does_not_answer_is_told_in_one_sentence(code, words):
    library = FakeNvml(pair(), clock=time.monotonic, refusals={"nvmlInitWithFlags": code})
    with installed(library), pytest.raises(NoDriver, match=words) as caught:
        probe()
    assert caught.value.exit_code == 3


def test_a_driver_without_devices_is_no_pass():
    with installed(FakeNvml([], clock=time.monotonic)), pytest.raises(NoDriver, match="has no device"):
        probe()


def test_a_driver_that_cannot_count_is_told():
    refusals = {"nvmlDeviceGetCount_v2": 999}
    with installed(FakeNvml(pair(), clock=time.monotonic, refusals=refusals)), pytest.raises(NoDriver, match="count"):
        probe()


@pytest.mark.parametrize("code", [1, 2, 3, 4, 6, 7, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 25, 26, 27, 28, 999])
def test_every_known_error_has_a_kind_and_a_sentence_of_its_own(code):
    def refuse():
        raise pynvml.NVMLError(code)

    answer = ask("call", refuse)
    assert not answer.is_there
    assert answer.value is None
    assert answer.kind is meaning_of(code)[0]
    assert f"NVML {code}" in answer.reason


def test_an_error_that_nobody_knows_keeps_its_number():
    assert meaning_of(777) == (Kind.UNKNOWN, "NVML error 777")


def test_the_sentences_differ():
    sentences = [meaning_of(code)[1] for code in (3, 4, 6, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 25, 26, 27)]

    assert len(set(sentences)) == len(sentences)


def test_a_success_that_pynvml_raises_is_an_empty_list():
    report = probed(pair())

    assert report.devices[0].answers["nvmlDeviceGetProcessUtilization(since start)"].value == []


def test_each_field_has_its_own_return_code():
    answers = probed(pair()).devices[0].answers

    assert answers["nvmlDeviceGetFieldValues(NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION)"].value > 0
    assert not answers["nvmlDeviceGetFieldValues(NVML_FI_DEV_MEMORY_TEMP)"].is_there


def test_samples_are_ten_a_second_and_stamped_in_utc():
    began = time.time()
    report = probed(pair(), seconds=1.0)
    power = next(each for each in report.readings if each.name == "gpu_power_watts")

    assert 8 <= power.values.size <= 12
    assert began <= power.times_seconds[0] <= time.time()
    assert power.values[0] == 300.0


def test_a_fault_of_ours_is_raised_and_not_made_absent():
    with pytest.raises(ZeroDivisionError):
        ask("call", lambda: 1 / 0)


def test_a_load_runs_on_every_device_and_is_over_when_the_probe_is():
    with installed(FakeNvml(pair(), clock=time.monotonic)):
        report = probe(burn_seconds=0.3)
    busy = next(each for each in report.readings if each.name == "gpu_busy_time_ratio")

    assert len(report.burn) == 2
    assert all(json.loads(told.splitlines()[-1])["verified"] for told in report.burn)
    assert busy.values.size >= 3
