"""Prometheus, with what a cluster's own has: the DCGM exporter as its chart has it scraped, and annotated pods."""

from typing import Any, Final

import yaml

from bench.lab import network
from bench.lab.config import LabConfig
from bench.lab.parts.objects import (
    Manifest,
    Ready,
    cluster_role,
    cluster_role_binding,
    config_map,
    duration,
    http_probe,
    liveness,
    namespace,
    rule,
    service,
    service_account,
    workload,
)

version: Final = "3.10.0"
ready: Final = (Ready(kind="Deployment", namespace="monitoring", name="prometheus"),)

NAMESPACE: Final = "monitoring"
PORT: Final = 9090
_POD: Final = "__meta_kubernetes_pod"
_ANNOTATION: Final = f"{_POD}_annotation_prometheus_io"


def manifests(config: LabConfig) -> list[Manifest]:
    """Deployment and Service `prometheus`; its configuration may be edited and is reloaded within seconds."""
    return [
        namespace(NAMESPACE),
        service_account("prometheus", NAMESPACE),
        cluster_role(
            "prometheus",
            [
                rule([""], ["nodes", "services", "endpoints", "pods"], ["get", "list", "watch"]),
                rule(["discovery.k8s.io"], ["endpointslices"], ["get", "list", "watch"]),
            ],
        ),
        cluster_role_binding("prometheus", "prometheus", "prometheus", NAMESPACE),
        config_map("prometheus", NAMESPACE, {"prometheus.yml": yaml.safe_dump(configuration(config), sort_keys=False)}),
        workload("Deployment", "prometheus", NAMESPACE, _pod(), annotations={}),
        service(
            "prometheus",
            NAMESPACE,
            [{"name": "http", "port": PORT, "targetPort": "http"}],
            address=network.PROMETHEUS_SERVICE_ADDRESS,
        ),
    ]


def configuration(config: LabConfig) -> dict[str, Any]:
    """The content of prometheus.yml."""
    interval = duration(config.scrape_interval_seconds)
    return {
        "global": {
            "scrape_interval": interval,
            "evaluation_interval": interval,
            # The chart's ten seconds, but never more than the interval: Prometheus refuses that.
            "scrape_timeout": duration(min(10.0, config.scrape_interval_seconds)),
        },
        "scrape_configs": [_exporter_job(), _annotated_pods_job(), _own_job()],
    }


def _label(source: str, target: str) -> dict[str, Any]:
    return {"source_labels": [source], "target_label": target}


def _exporter_job() -> dict[str, Any]:
    """What the ServiceMonitor of the exporter's chart becomes; `honor_labels` is off: its labels turn `exported_`."""
    return {
        "job_name": "dcgm-exporter",
        "honor_labels": False,
        "kubernetes_sd_configs": [{"role": "endpointslice"}],
        "relabel_configs": [
            {
                "source_labels": ["__meta_kubernetes_service_label_app_kubernetes_io_name"],
                "regex": "dcgm-exporter",
                "action": "keep",
            },
            {
                "source_labels": ["__meta_kubernetes_endpointslice_port_name"],
                "regex": "metrics",
                "action": "keep",
            },
            _label("__meta_kubernetes_namespace", "namespace"),
            _label("__meta_kubernetes_service_name", "service"),
            _label(f"{_POD}_name", "pod"),
            _label(f"{_POD}_container_name", "container"),
            _label("__meta_kubernetes_service_name", "job"),
            {"target_label": "endpoint", "replacement": "metrics"},
        ],
    }


def _annotated_pods_job() -> dict[str, Any]:
    """Every running pod with the annotation `prometheus.io/scrape: "true"`."""
    return {
        "job_name": "kubernetes-pods",
        "kubernetes_sd_configs": [{"role": "pod"}],
        "relabel_configs": [
            {"source_labels": [f"{_ANNOTATION}_scrape"], "regex": "true", "action": "keep"},
            {"source_labels": [f"{_POD}_phase"], "regex": "Pending|Succeeded|Failed|Completed", "action": "drop"},
            {
                "source_labels": [f"{_ANNOTATION}_scheme"],
                "regex": "(https?)",
                "target_label": "__scheme__",
            },
            {"source_labels": [f"{_ANNOTATION}_path"], "regex": "(.+)", "target_label": "__metrics_path__"},
            # One target a pod, whatever ports it declares.
            {
                "source_labels": [f"{_POD}_ip", f"{_ANNOTATION}_port"],
                "separator": ":",
                "regex": r"(.+:\d+)",
                "target_label": "__address__",
            },
            _label("__meta_kubernetes_namespace", "namespace"),
            _label(f"{_POD}_name", "pod"),
            _label(f"{_POD}_node_name", "node"),
        ],
    }


def _own_job() -> dict[str, Any]:
    return {"job_name": "prometheus", "static_configs": [{"targets": [f"localhost:{PORT}"]}]}


def _pod() -> Manifest:
    return {
        "serviceAccountName": "prometheus",
        "containers": [
            {
                "name": "prometheus",
                "image": f"quay.io/prometheus/prometheus:v{version}",
                "args": [
                    "--config.file=/etc/prometheus/prometheus.yml",
                    "--storage.tsdb.path=/prometheus",
                    "--storage.tsdb.retention.time=12h",
                    f"--web.listen-address=:{PORT}",
                    "--web.enable-lifecycle",
                    "--enable-feature=auto-reload-config",
                    "--config.auto-reload-interval=5s",
                    "--log.level=warn",
                ],
                "ports": [{"name": "http", "containerPort": PORT}],
                "volumeMounts": [
                    {"name": "config", "mountPath": "/etc/prometheus", "readOnly": True},
                    {"name": "data", "mountPath": "/prometheus"},
                ],
                "readinessProbe": http_probe("/-/ready", "http"),
                "livenessProbe": liveness("/-/healthy", "http"),
            }
        ],
        "volumes": [
            {"name": "config", "configMap": {"name": "prometheus"}},
            {"name": "data", "emptyDir": {}},
        ],
    }
