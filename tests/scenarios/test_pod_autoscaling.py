"""
The scenario passes on a sound lab; and with one thing wrong it fails by the check that is meant for it.

A fault that a newcomer's cluster would have from the start is planted before; others when one replica serves already.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from bench.lab.faults.planting import planted
from bench.model.measurement import Measurement, Reading
from bench.model.verdict import Verdict
from tests.lab.running import RunningLab, running_lab, unique_name
from tests.scenarios.stage_proof import prove_stages
from tests.scenarios.trying import failed, judged, made, of, rig_on

pytestmark = pytest.mark.lab

LAB = ("--nodes", "1", "--gpus", "3", "--exporter-interval", "1", "--scrape-interval", "1", "--hpa-sync", "2")
QUICK: Mapping[str, object] = {
    "model": "lab-llama",
    "max_replicas": 2,
    "load_over_capacity": 1.4,
    "prompt_tokens": 8,
    "output_tokens": 8,
    "ttft_slo_seconds": 2,
    "drain_seconds": 4,
    "idle_seconds": 3,
    "calibration_seconds": 6,
    "collect_interval_seconds": 1,
    "stabilization_seconds": 2,
    "repeats": 1,
    "up_seconds": 13,
    "down_seconds": 15,
}


LONG_ENOUGH_TO_TELL: Mapping[str, object] = {"up_seconds": 20}
"""A pod is silent when requests enough came in its time; the first seconds are the Gateway's, to learn of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """What is wrong with a platform, and the checks that are meant for it."""

    found_by: set[str]
    faults: Mapping[str, Mapping[str, float | str]] = field(default_factory=dict)
    from_the_start: bool = False
    parameters: Mapping[str, object] = field(default_factory=dict)


WRONG = {
    # The target is held against what was seen before the adapter goes: neither fault can be the other's finding.
    "the target has another unit than the metric, and then the adapter goes down": Wrong(
        found_by={"target_to_full_device_ratio", "metrics_api_answered_ratio"},
        faults={"adapter-down": {}},
        parameters={"target": 0.7},
    ),
    # The exporter is looked at beside Prometheus.
    "Prometheus drops the series, and the exporter collects ten times slower than it is configured to": Wrong(
        found_by={"devices_in_prometheus_ratio", "collect_interval_measured_to_configured_ratio"},
        faults={"series-dropped": {"field": "DCGM_FI_DEV_GPU_UTIL"}, "exporter-slow": {"factor": 10}},
        from_the_start=True,
    ),
    "pods become Ready without serving": Wrong(
        found_by={"ready_pods_that_never_answered_total"},
        faults={"ready-without-serving": {}},
        parameters=LONG_ENOUGH_TO_TELL,
    ),
    "two pods are given one device": Wrong(
        found_by={"pods_that_share_a_device_total"}, faults={"two-pods-one-device": {}}
    ),
    "the Gateway does not route to the new pod": Wrong(
        found_by={"ready_pods_that_never_answered_total"},
        faults={"gateway-cut-off": {}},
        parameters=LONG_ENOUGH_TO_TELL,
    ),
}


@pytest.fixture(scope="module")
def small_lab() -> Iterator[RunningLab]:
    with running_lab(unique_name("autoscaling"), *LAB) as running:
        yield running


def tried(lab: RunningLab, wrong: Wrong | None = None) -> tuple[Any, list[Reading]]:
    """The scenario and its readings, with the faults planted at their time."""
    told = wrong or Wrong(found_by=set())
    # what is wrong shows on the way up; nobody waits for the way down
    way_down = {"down_seconds": 1} if wrong else {}
    scenario: Any = made("pod-autoscaling", **{**QUICK, **way_down, **told.parameters})
    readings: list[Reading] = []
    # the faults end before the rig does: without its adapter a control plane cannot finalise a namespace
    with rig_on(lab.name, f"trial-{secrets.token_hex(2)}") as rig, ExitStack() as planting:

        def plant() -> None:
            for name, arguments in told.faults.items():
                planting.enter_context(planted(lab.name, name, **arguments))

        if told.from_the_start:
            plant()
        for reading in scenario.run(rig):
            readings.append(reading)
            if reading.name == "idle_control_seconds" and not told.from_the_start:
                plant()
    return scenario, readings


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


@pytest.mark.timeout(240)
@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_found_by_the_check_that_is_meant_for_it(small_lab: RunningLab, what: str) -> None:
    scenario, readings = tried(small_lab, WRONG[what])

    judgement = judged(scenario, readings)
    assert WRONG[what].found_by <= failed(judgement), what
    assert judgement.verdict is Verdict.FAIL


@pytest.mark.timeout(400)
def test_a_delay_in_one_stage_names_that_stage_and_no_other(small_lab: RunningLab) -> None:
    proof = prove_stages(small_lab, ("ready", "device-free"))

    assert [each for each in proof.named if not each.is_right] == []
    assert {each.sum_less_total_seconds for each in proof.named} == {0.0}
