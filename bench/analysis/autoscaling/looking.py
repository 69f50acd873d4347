"""Where a person looks when a workload is not scaled as it should be: the command, and what to see there."""

from collections.abc import Mapping
from typing import Final

_HPA: Final = "kubectl describe hpa: conditions, events, minReplicas, maxReplicas and behavior"
_ADAPTER: Final = "the adapter's rule: kubectl get cm -A | grep adapter; series, resources and metricsQuery"
_DEVICES: Final = "kubectl get pods -o wide, and uuid by pod in the readings named device_held_total"
_INTERVALS: Final = "the table of stages in the report: the stage that is longest for its own clock"

LOOK_AT: Final[Mapping[str, str]] = {
    "metrics_api_answered_ratio": (
        "kubectl get apiservices | grep metrics: Available? Then the adapter's log, and "
        "kubectl get --raw of the path in the reading's statement"
    ),
    "devices_in_prometheus_ratio": (
        "kubectl logs of the exporter: 'Failed to map devices to pods'? Then honorLabels and relabelings of its "
        "ServiceMonitor: the pod may be called exported_pod"
    ),
    "target_to_full_device_ratio": (
        "kubectl get hpa -o yaml: the target's value, in the unit in which the exporter shows the metric"
    ),
    "metrics_api_to_device_ratio": _ADAPTER,
    "replicas_short_of_predicted_total": f"{_HPA}; Pending pods: kubectl get pods, and the devices that are free",
    "replicas_never_ready_total": (
        "kubectl describe pod of those that it names. Not scheduled: are devices free, and offered in the way in which "
        "the pods ask for them? Scheduled: its events and its log"
    ),
    "replicas_left_over_total": f"{_HPA}; stabilizationWindowSeconds of scaleDown against down_seconds",
    "scaled_while_idle_total": f"{_ADAPTER}: does it sum devices of others? Is somebody else asking the workload?",
    "pods_without_a_device_total": "kubectl describe pod: resources, runtime class; nvidia-smi in its container",
    "pods_that_share_a_device_total": (
        f"{_DEVICES}; kubectl get node -o yaml: nvidia.com/gpu.replicas; then the device plugin's log"
    ),
    "ready_pods_that_never_answered_total": (
        "kubectl get endpointslices: is the pod's address Ready? Then the Gateway's log, and how it balances"
    ),
    "requests_failed_total": (
        "the label error of requests_failed_total; at which replicas' coming or going: preStop, grace period, readiness"
    ),
    "direction_changes_total": f"{_HPA}; a metric that swings by more than the controller's tolerance of 10 %",
    "collect_interval_measured_to_configured_ratio": "kubectl describe pod of the exporter: DCGM_EXPORTER_INTERVAL",
    "reaction_to_predicted_worst_ratio": _INTERVALS,
    "stage_beyond_its_worst_seconds": _INTERVALS,
    "reaction_ks_p_value_ratio": f"{_INTERVALS}; {_HPA}: does something else decide too?",
}
"""By measurement of the check."""
