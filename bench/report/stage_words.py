"""What each stage of a load step ends with, by what it is seen, and where to look when it takes too long."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class StageWords:
    """One stage in words."""

    ends_when: str
    seen_by: str
    look_at: str


_DEFAULT = StageWords("", "", "")

_STAGES: Final = {
    "device": StageWords(
        "the devices are beyond the threshold",
        "the NVML probe",
        "whether the load reaches the pods: their log, and the busy ratio by NVML",
    ),
    "exporter": StageWords(
        "the exporter shows it",
        "polls of its /metrics",
        "the exporter's collect interval (DCGM_EXPORTER_INTERVAL, in milliseconds), and its log",
    ),
    "prometheus": StageWords(
        "Prometheus holds it",
        "time of the stored sample",
        "the scrape interval of the exporter's ServiceMonitor, and whether Prometheus finds it up",
    ),
    "metrics-api": StageWords(
        "the metrics API serves it",
        "polls, asked as the autoscaler asks",
        "the adapter: kubectl get apiservices, its rules, and the windows in its queries",
    ),
    "decision": StageWords(
        "the autoscaler has decided",
        "watch of the scale target",
        "kubectl describe hpa: conditions and events, its behavior, and the controller's sync period",
    ),
    "pod-created": StageWords(
        "the Pod is created", "watch of Pods", "kubectl describe replicaset: quota and admission webhooks"
    ),
    "node": StageWords(
        "the new Node is Ready with its devices", "watch of Nodes", "the events of the node autoscaler, and its limits"
    ),
    "scheduled": StageWords(
        "the Pod is scheduled", "watch of Pods", "kubectl describe pod: FailedScheduling, and the devices that are free"
    ),
    "started": StageWords(
        "its containers run", "watch of Pods", "kubectl describe pod: image pull, volumes, allocation of the device"
    ),
    "ready": StageWords(
        "the Pod is Ready", "watch of Pods", "its readiness probe, and how long its model takes to load"
    ),
    "serving": StageWords(
        "its first answer came through the Gateway",
        "the record of each request",
        "the EndpointSlices of its Service, and whether the Gateway knows the new Pod",
    ),
    "relief": StageWords(
        "the latency objective is met again for a whole window",
        "the record of each request",
        "whether the replicas that there are can carry the load: what one answers, and the maximum of the HPA",
    ),
    "pod-deleted": StageWords(
        "the first Pod is deleted", "watch of Pods", "kubectl describe replicaset, and the finalizers of the Pod"
    ),
    "last-answer": StageWords(
        "its last answer is complete",
        "the record of each request",
        "the Pod's preStop hook and grace period, and whether the Gateway still sends to it",
    ),
    "device-free": StageWords("its device is free", "the NVML probe", "processes that are left on the device"),
    "node-removed": StageWords("the Node is gone", "watch of Nodes", "the delays of the node autoscaler's scale-down"),
}


def stage_words(stage: str) -> StageWords:
    """The words of a stage; empty ones of a stage that has none."""
    return _STAGES.get(stage, _DEFAULT)
