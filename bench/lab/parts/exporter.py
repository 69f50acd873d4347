"""The DCGM exporter as NVIDIA's chart installs it: one pod on every node that has a GPU."""

from pathlib import Path
from typing import Final

from bench.lab.config import Allocation, LabConfig
from bench.lab.parts.objects import (
    Manifest,
    Ready,
    config_map,
    http_probe,
    liveness,
    namespace,
    service,
    service_account,
    workload,
)
from bench.lab.programs.dcgm_counters import DEFAULT_COLLECTORS, OWN_FILE

version: Final = "4.5.3-4.8.2"
ready: Final = (Ready(kind="DaemonSet", namespace="gpu-operator", name="dcgm-exporter"),)

NAMESPACE: Final = "gpu-operator"
PORT: Final = 9400
_NAME: Final = "dcgm-exporter"
_DEFAULT_INTERVAL_SECONDS: Final = 30.0
_POD_RESOURCES: Final = "/var/lib/kubelet/pod-resources"
_COLLECTORS: Final = Path(DEFAULT_COLLECTORS)


def manifests(config: LabConfig) -> list[Manifest]:
    """DaemonSet and Service `dcgm-exporter`; Prometheus finds the Service by its label and the port `metrics`."""
    return [
        namespace(NAMESPACE),
        service_account(_NAME, NAMESPACE),
        *_collectors(config),
        workload("DaemonSet", _NAME, NAMESPACE, _pod(config), annotations={}),
        service(_NAME, NAMESPACE, [{"name": "metrics", "port": PORT, "targetPort": "metrics"}]),
    ]


def _collectors(config: LabConfig) -> list[Manifest]:
    """The collectors file with more rows, as the chart's `customMetrics` makes it; none for the image's own."""
    if not config.exporter_fields:
        return []
    rows = [f"{field}, gauge, Shown beside the defaults.\n" for field in config.exporter_fields]
    return [config_map(_NAME, NAMESPACE, {_COLLECTORS.name: "".join((OWN_FILE.read_text(encoding="utf-8"), *rows))})]


def _environment(config: LabConfig) -> list[Manifest]:
    variables: list[Manifest] = [
        {"name": "DCGM_EXPORTER_KUBERNETES", "value": "true"},
        {"name": "DCGM_EXPORTER_LISTEN", "value": f":{PORT}"},
        {"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"},
        {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ]
    if config.allocation is not Allocation.DEVICE_PLUGIN:
        # as NVIDIA's operator sets it where claims are served: without it devices of claims have no pod
        variables.append({"name": "KUBERNETES_ENABLE_DRA", "value": "true"})
    if config.exporter_interval_seconds != _DEFAULT_INTERVAL_SECONDS:
        milliseconds = round(config.exporter_interval_seconds * 1000)
        variables.append({"name": "DCGM_EXPORTER_INTERVAL", "value": str(milliseconds)})
    return variables


def _pod(config: LabConfig) -> Manifest:
    mounts: list[Manifest] = [{"name": "pod-gpu-resources", "mountPath": _POD_RESOURCES, "readOnly": True}]
    volumes: list[Manifest] = [{"name": "pod-gpu-resources", "hostPath": {"path": _POD_RESOURCES}}]
    if config.exporter_fields:
        mounts.append({"name": "collectors", "mountPath": str(_COLLECTORS.parent), "readOnly": True})
        volumes.append({"name": "collectors", "configMap": {"name": _NAME}})
    return {
        "serviceAccountName": _NAME,
        "nodeSelector": {"nvidia.com/gpu.present": "true"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "containers": [
            {
                "name": "exporter",
                "image": f"nvcr.io/nvidia/k8s/dcgm-exporter:{version}-distroless",
                "env": _environment(config),
                "ports": [{"name": "metrics", "containerPort": PORT}],
                "securityContext": {
                    "runAsNonRoot": False,
                    "runAsUser": 0,
                    "capabilities": {"add": ["SYS_ADMIN"]},
                },
                "volumeMounts": mounts,
                "readinessProbe": http_probe("/health", "metrics"),
                "livenessProbe": liveness("/health", "metrics"),
            }
        ],
        "volumes": volumes,
    }
