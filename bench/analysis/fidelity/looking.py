"""Where a person looks when a dimension of fidelity fails: the command, and what to see there."""

from collections.abc import Mapping
from typing import Final

_SCRAPE: Final = "the scrape job of the exporter (ServiceMonitor, prometheus.yml)"
_TARGETS: Final = "Prometheus, /targets: is every exporter's pod a target, and what does its last scrape say?"
_TEXT: Final = (
    "kubectl get --raw /api/v1/namespaces/NS/pods/EXPORTER:9400/proxy/metrics: what does the exporter itself show?"
)
_PODS: Final = (
    "kubectl logs of the exporter: 'Failed to map devices to pods'? Is the kubelet's pod-resources socket mounted, and "
    "DCGM_EXPORTER_KUBERNETES true?"
)

LOOK_AT: Final[Mapping[str, str]] = {
    "exporter_answer_seconds": "kubectl get pods -A -o wide | grep dcgm-exporter: one Ready on every such node?",
    "device_unseen_total": _TARGETS,
    "coverage_ratio": f"{_SCRAPE}: do metricRelabelings drop it? {_TEXT}",
    "scrape_coverage_ratio": f"{_TARGETS} scrape_duration_seconds near the time-out?",
    "collect_interval_measured_to_configured_ratio": "kubectl describe pod of the exporter: DCGM_EXPORTER_INTERVAL",
    "sample_age_excess_seconds": f"{_TEXT} Does the energy counter change each collect interval?",
    "field_delay_seconds": f"{_TEXT} Has the field an interval of its own (watchGroups)?",
    "frozen_seconds": f"{_TEXT} nvidia-smi on the node shows another? Restart the exporter.",
    "unexplained_error_ratio": f"{_TEXT} Does a recording or relabelling rule change the value?",
    "unit_factor_ratio": "the exporter's collectors file (-f), third column, and recording rules",
    "sentinels_total": f"{_TEXT} Some 9.2e18 or 1.4e14 are DCGM's blanks.",
    "out_of_range_total": _TEXT,
    "memory_imbalance_bytes": "nvidia-smi -q -d MEMORY on the node against FB_USED, FB_FREE and FB_RESERVED",
    "counter_resets_total": "kubectl get pods of the exporter: restarts? dmesg on the node: driver loaded again?",
    "energy_to_power_ratio": "nvidia-smi -q -d POWER on the node; MIG or vGPU?",
    "engine_unexplained_ratio": "the exporter's capabilities: PROF fields need SYS_ADMIN, before Hopper alone",
    "partial_kernels_hidden_total": (
        f"{_TEXT} Is DCGM_FI_PROF_SM_ACTIVE another metric by a relabelling or recording rule?"
    ),
    "missing_labels_total": _PODS,
    "sharers_unnamed_total": (
        "KUBERNETES_VIRTUAL_GPUS of the exporter: true names each sharer; "
        "kubectl get node -o yaml: nvidia.com/gpu.replicas"
    ),
    "wrong_pods_total": f"{_PODS} Is the device shared by time-slicing?",
    "ghosts_total": "the kubelet's version: before 1.34 its PodResources list pods that have ended",
    "duplicates_total": f"{_TARGETS} Two exporters on one node? Two jobs that scrape one?",
    "label_late_seconds": _PODS,
    "hand_over_lost_total": _TARGETS,
    "series_unexplained_total": f"{_SCRAPE}: does a label hold a value that changes, such as a time or an address?",
    "shares_wrong_total": "KUBERNETES_VIRTUAL_GPUS of the exporter: before 4.8.2 each sharer is told the whole device",
    "view_mismatch_ratio": "the adapter's rule: kubectl get cm -A | grep adapter; series, resources and metricsQuery",
    "idle_seen_ratio": "nvidia-smi on the node: who else works on the device?",
    "load_seen_ratio": _TEXT,
}
