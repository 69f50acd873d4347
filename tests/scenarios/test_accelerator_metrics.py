"""
The scenario `accelerator-metrics` passes on a sound lab, and names each planted fault by the check meant for it.

Recordings on two labs at once: faults that could be each other's finding are not in one.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.lab.running import RunningLab, running_lab, unique_name
from tests.scenarios.fidelity_proof import (
    GHOST,
    LAB,
    PLANTINGS,
    QUICK_INTERVALS,
    UNNAMED,
    WRONG_SHARES,
    Recording,
    blamed,
    record,
    record_faults,
    record_shared,
    record_slow,
    verdicts,
)

pytestmark = [pytest.mark.lab, pytest.mark.measures]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recordings:
    """Of a sound lab, with all faults of devices, with an exporter that collects too seldom."""

    sound: Recording
    faults: Recording
    slow: Recording


@pytest.fixture(scope="module")
def recordings() -> Recordings:
    with ThreadPoolExecutor(max_workers=2) as labs:
        one = labs.submit(_on_a_lab, "faults", record_faults)
        other = labs.submit(_on_a_lab, "sound", lambda lab: record(lab, "fidelity-sound"), record_slow)
    (faults,), (sound, slow) = one.result(), other.result()
    return Recordings(sound=sound, faults=faults, slow=slow)


def _on_a_lab(name: str, *recorders: Callable[[RunningLab], Recording]) -> list[Recording]:
    with running_lab(unique_name(f"fidelity-{name}"), *LAB, *QUICK_INTERVALS) as lab:
        return [each(lab) for each in recorders]


@pytest.mark.timeout(300)
def test_of_devices_that_pods_share_only_the_sharers_without_a_name_are_found_and_shares_that_are_copies() -> None:
    with ThreadPoolExecutor(max_workers=2) as labs:
        recorded = (
            labs.submit(record_shared, "shared", duration_seconds=16.0),
            labs.submit(record_shared, "copied", "shares-copied", duration_seconds=8.0),
        )
        untuned, copied = (each.result().judged() for each in recorded)

    # the exporter as it comes has one label set a device: that one of two sharers is named is true, and is told
    assert verdicts(untuned, "fail") == {UNNAMED}
    assert verdicts(untuned, "inconclusive") == set()
    assert verdicts(copied, "fail") == {WRONG_SHARES}


def test_a_sound_lab_passes_every_check(recordings: Recordings) -> None:
    judgement = recordings.sound.judged()

    assert verdicts(judgement, "fail") == set()
    assert verdicts(judgement, "inconclusive") == set()
    assert len(verdicts(judgement, "pass")) > 20


def test_each_fault_is_named_by_the_check_meant_for_it_and_no_other(recordings: Recordings) -> None:
    devices, judgement = recordings.faults.devices, recordings.faults.judged()

    assert verdicts(judgement, "fail") == {each.measurement for each in PLANTINGS} | {GHOST}
    for each in PLANTINGS:
        assert blamed(judgement, each.measurement) == {(devices[each.place], each.quantity)}, each.fault


def test_an_exporter_that_collects_too_seldom_is_named_by_its_interval(recordings: Recordings) -> None:
    judgement = recordings.slow.judged()

    assert verdicts(judgement, "fail") == {"collect_interval_measured_to_configured_ratio"}
