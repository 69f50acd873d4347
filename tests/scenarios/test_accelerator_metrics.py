"""The scenario `accelerator-metrics` passes on a sound lab, and names each planted fault by the check meant for it."""

from collections.abc import Iterator

import pytest

from tests.lab.running import RunningLab, running_lab, unique_name
from tests.scenarios.fidelity_proof import (
    GHOST,
    LAB,
    PLANTINGS,
    blamed,
    record,
    record_faults,
    record_slow,
    verdicts,
)

pytestmark = [pytest.mark.lab, pytest.mark.measures]


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running_lab(unique_name("fidelity"), *LAB, "--exporter-interval", "1", "--scrape-interval", "1") as running:
        yield running


def test_a_sound_lab_passes_every_check(lab: RunningLab) -> None:
    judgement = record(lab, "fidelity-sound").judged()

    assert verdicts(judgement, "fail") == set()
    assert verdicts(judgement, "inconclusive") == set()
    assert len(verdicts(judgement, "pass")) > 20


def test_each_fault_is_named_by_the_check_meant_for_it_and_no_other(lab: RunningLab) -> None:
    recording = record_faults(lab)
    judgement = recording.judged()

    assert verdicts(judgement, "fail") == {each.measurement for each in PLANTINGS} | {GHOST}
    for each in PLANTINGS:
        assert blamed(judgement, each.measurement) == {(recording.devices[each.place], each.quantity)}, each.fault


def test_an_exporter_that_collects_too_seldom_is_named_by_its_interval(lab: RunningLab) -> None:
    judgement = record_slow(lab).judged()

    assert verdicts(judgement, "fail") == {"collect_interval_measured_to_configured_ratio"}
