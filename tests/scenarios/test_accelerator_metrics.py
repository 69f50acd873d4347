"""
The scenario `accelerator-metrics` passes on a sound lab, and names each planted fault by the check meant for it.

Recordings on two labs at once: faults that could be each other's finding are not in one.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

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
    """Each of a lab of its own."""

    faults: Recording
    sound: Recording
    slow: Recording
    """With an exporter that collects too seldom."""
    shared: Recording
    """Of devices that pods share, with the exporter as it comes."""
    copied: Recording
    """Of such devices, with an exporter that shows each sharer the whole of it."""


@pytest.fixture(scope="module")
def recordings() -> Recordings:
    recorders: dict[str, Callable[[], Recording]] = {
        "faults": partial(_on_a_lab, "faults", record_faults),
        "sound": partial(_on_a_lab, "sound", partial(record, name="fidelity-sound")),
        "slow": partial(_on_a_lab, "slow", record_slow),
        "shared": partial(record_shared, "shared", duration_seconds=16.0),
        "copied": partial(record_shared, "copied", "shares-copied", duration_seconds=8.0),
    }
    with ThreadPoolExecutor(max_workers=2) as labs:
        recorded = {name: labs.submit(recorder) for name, recorder in recorders.items()}
    return Recordings(**{name: each.result() for name, each in recorded.items()})


def _on_a_lab(name: str, recorder: Callable[[RunningLab], Recording]) -> Recording:
    with running_lab(unique_name(f"fidelity-{name}"), *LAB, *QUICK_INTERVALS) as lab:
        return recorder(lab)


def test_of_devices_that_pods_share_only_the_sharers_without_a_name_are_found_and_shares_that_are_copies(
    recordings: Recordings,
) -> None:
    untuned, copied = recordings.shared.judged(), recordings.copied.judged()

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
