"""What can be wrong with a platform, and by which checks of `pod-autoscaling` it is to be found."""

from collections.abc import Mapping
from typing import Final

from tests.scenarios.autoscaling_trial import Wrong

LONG_ENOUGH_TO_TELL: Final[Mapping[str, object]] = {"up_seconds": 20, "stabilization_seconds": 30}
"""A pod is silent when requests enough came in its time; the first seconds are the Gateway's, to learn of it. It stays
although half of the requests fail, which takes load off the devices."""
WAY_DOWN: Final[Mapping[str, object]] = {"down_seconds": 15}
UTILIZATION: Final = "DCGM_FI_DEV_GPU_UTIL"

WRONG: Final[Mapping[str, Wrong]] = {
    # The target is held against what was seen before the adapter goes: neither fault can be the other's finding.
    "the target has another unit than the metric, and then the adapter goes down": Wrong(
        found_by={"target_to_full_device_ratio", "metrics_api_answered_ratio"},
        faults={"adapter-down": {}},
        parameters={"target": 0.7},
    ),
    # The exporter is looked at beside Prometheus.
    "Prometheus drops the series, and the exporter collects ten times slower than it is configured to": Wrong(
        found_by={"devices_in_prometheus_ratio", "collect_interval_measured_to_configured_ratio"},
        faults={"series-dropped": {"field": UTILIZATION}, "exporter-slow": {"factor": 10}},
        after="",
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
"""Each of these is one test."""

MORE: Final[Mapping[str, Wrong]] = {
    "the exporter shows a ratio where the HPA is told percents": Wrong(
        found_by={"target_to_full_device_ratio", "metrics_api_to_device_ratio", "replicas_short_of_predicted_total"},
        faults={"wrong-unit": {"field": UTILIZATION, "factor": 0.01}},
        after="",
    ),
    # The last moment of a full device stays: the HPA adds replicas without load, and takes none away.
    "the series freeze when the device is full": Wrong(
        found_by={"scaled_while_idle_total", "replicas_left_over_total"},
        faults={"series-frozen": {"field": UTILIZATION}},
        after="request_ttft_seconds",
        parameters={**WAY_DOWN, "target": 30, "idle_seconds": 8},
    ),
    "pods see none of their devices": Wrong(
        found_by={"pods_without_a_device_total"},
        faults={"device-hidden": {}},
        after="",
    ),
    "the HPA decides twelve seconds late": Wrong(
        found_by={"reaction_to_predicted_worst_ratio", "stage_beyond_its_worst_seconds"},
        faults={"slow-stage": {"stage": "decision", "seconds": 12}},
        parameters={"up_seconds": 26},
    ),
}
"""Tried by `make bench-autoscaling` beside the others, so that checks were seen to fail that no test has time for."""
