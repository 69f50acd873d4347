"""
With one thing wrong with a platform the scenario fails, by the check that is meant for it.

A fault that a newcomer's cluster would have from the start is planted before; others when one replica serves already.
"""

from collections.abc import Iterator, Mapping

import pytest

from bench.model.verdict import Verdict
from tests.lab.running import RunningLab, running_lab, unique_name
from tests.scenarios.autoscaling_trial import LAB, Wrong, tried
from tests.scenarios.trying import failed, judged

pytestmark = pytest.mark.lab

LONG_ENOUGH_TO_TELL: Mapping[str, object] = {"up_seconds": 20, "stabilization_seconds": 30}
"""A pod is silent when requests enough came in its time; the first seconds are the Gateway's, to learn of it. It stays
although half of the requests fail, which takes load off the devices."""


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
    "others hold the devices that a second replica would need": Wrong(
        found_by={"replicas_never_ready_total"},
        devices_of_others=2,
        parameters={"up_seconds": 32},
    ),
    # Whether a pod answers says nothing of its devices, nor they of its answers. On a device that is full already a
    # model is loaded in three times the time.
    "the Gateway does not route to the new pod, and two pods are given one device": Wrong(
        found_by={"ready_pods_that_never_answered_total", "pods_that_share_a_device_total"},
        faults={"gateway-cut-off": {}, "two-pods-one-device": {}},
        parameters={**LONG_ENOUGH_TO_TELL, "up_seconds": 40},
    ),
}


@pytest.fixture(scope="module")
def small_lab() -> Iterator[RunningLab]:
    with running_lab(unique_name("autoscaling"), *LAB) as running:
        yield running


@pytest.mark.timeout(240)
@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_found_by_the_check_that_is_meant_for_it(small_lab: RunningLab, what: str) -> None:
    scenario, readings = tried(small_lab, WRONG[what])

    judgement = judged(scenario, readings)
    assert WRONG[what].found_by <= failed(judgement), what
    assert judgement.verdict is Verdict.FAIL
