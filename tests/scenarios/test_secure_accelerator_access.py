"""
The scenario passes on a sound lab; and with one leak in it, it fails by the check that is meant for that leak.

One lab for all of it: its pods run for a fraction of a second.
"""

from collections.abc import Iterator, Mapping

import pytest

from bench.evidence.judging import Judgement
from bench.lab.faults.planting import planted
from bench.model.verdict import Verdict
from tests.lab.running import RunningLab, running_lab, unique_name
from tests.scenarios.trying import failed, judged, made, rig_on

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

SCENARIO = "secure-accelerator-access"
LAB = ("--nodes", "1", "--gpus", "4", "--allocation", "both")
LOOKS = "control,none,pair,second-container,bypass,residue"
QUICK: Mapping[str, object] = {
    "parts": LOOKS,
    "repeats": 1,
    "hold_seconds": 1.5,
    "memory_bytes": 16 << 20,
    "window_seconds": 1,
    "burn_image": "gpu-bench:0.1.0",
    "pod_seconds": 60,
}

LEAKS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "device-leaked": ("seen_without_request_total", {}),
    "visible-devices-honoured": ("devices_seen_by_bypass_total", {}),
    "foreign-device-opens": ("foreign_devices_reached_total", {}),
    "second-container-leak": ("seen_by_second_container_total", {}),
    "two-pods-one-device": ("holders_beyond_shares_total", {"allocation": "device-plugin"}),
    "claim-ignored": ("seen_other_than_allocated_total", {}),
    "memory-not-scrubbed": ("marks_of_earlier_owners_total", {}),
    "pod-security-off": ("host_path_devices_admitted_total", {}),
    "neighbours-slow": ("slowdown_at_least_ratio", {"parts": "interference"}),
}
"""Fault → the measurement of the one check that is to find it, and parameters."""


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running_lab(unique_name("secure"), *LAB) as running:
        yield running


def tried(lab: RunningLab, run_id: str, **parameters: object) -> Judgement:
    scenario = made(SCENARIO, **{**QUICK, **parameters})
    with rig_on(lab.name, run_id) as rig:
        return judged(scenario, list(scenario.run(rig)))


def test_a_sound_lab_has_no_finding(lab: RunningLab) -> None:
    judgement = tried(lab, "sound", parts=f"{LOOKS},interference,seed", repeats=2)

    assert [(each.claim, each.reason) for each in judgement.checks if each.verdict is not Verdict.PASS] == []
    assert len(judgement.checks) == 13


@pytest.mark.parametrize("fault", LEAKS)
def test_each_leak_is_found_by_its_own_check(lab: RunningLab, fault: str) -> None:
    measurement, parameters = LEAKS[fault]

    with planted(lab.name, fault):
        judgement = tried(lab, fault, **parameters)

    assert failed(judgement) == {measurement}


def test_a_device_that_leaks_computes_for_the_pod_that_asked_for_none(lab: RunningLab) -> None:
    with planted(lab.name, "device-leaked"):
        judgement = tried(lab, "seed", parts="seed")

    assert failed(judgement) == {"nbody_results_without_request_total"}
