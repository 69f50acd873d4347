"""The scenario on a sound lab: every check passes, at next to no cost, and a delay is named by its stage."""

from collections.abc import Iterator

import pytest

from bench.model.measurement import Measurement
from bench.model.verdict import Verdict
from tests.lab.running import RunningLab, running_lab, unique_name
from tests.scenarios.autoscaling_trial import LAB, tried
from tests.scenarios.stage_proof import prove_stages
from tests.scenarios.trying import failed, judged, of

pytestmark = [pytest.mark.lab, pytest.mark.measures]


@pytest.fixture(scope="module")
def small_lab() -> Iterator[RunningLab]:
    with running_lab(unique_name("autoscaling"), *LAB) as running:
        yield running


@pytest.mark.timeout(240)
def test_on_a_sound_lab_every_check_passes_at_next_to_no_cost(small_lab: RunningLab) -> None:
    scenario, readings = tried(small_lab)

    judgement = judged(scenario, readings)
    assert failed(judgement) == set()
    assert judgement.verdict is Verdict.PASS, judgement
    (busy,) = of(readings, "bench_cpu_ratio")
    (rate,) = of(readings, "bench_api_requests_per_second")
    assert isinstance(busy, Measurement)
    assert busy.values[0] <= 0.05
    assert rate.values[0] <= 5.5  # creating and removing the objects of so short a run is a part of it


@pytest.mark.timeout(400)
def test_a_delay_in_one_stage_names_that_stage_and_no_other(small_lab: RunningLab) -> None:
    proof = prove_stages(small_lab, ("ready", "device-free"))

    assert [each for each in proof.named if not each.is_right] == []
    assert {each.sum_less_total_seconds for each in proof.named} == {0.0}
