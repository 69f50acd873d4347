"""prometheus-adapter: GPU metrics of Prometheus as the custom and external metrics that the HPA reads."""

from typing import Any, Final

import yaml

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
from bench.lab.parts.prometheus import NAMESPACE
from bench.lab.parts.prometheus import PORT as PROMETHEUS_PORT

version: Final = "0.12.0"

_NAME: Final = "prometheus-adapter"
_PORT: Final = 6443
_APIS: Final = (
    ("custom.metrics.k8s.io", "v1beta1", 100),
    ("custom.metrics.k8s.io", "v1beta2", 200),
    ("external.metrics.k8s.io", "v1beta1", 100),
)
"""Group, version, and its rank among the group's versions."""

ready: Final = (
    Ready(kind="Deployment", namespace=NAMESPACE, name=_NAME),
    *(Ready(kind="APIService", name=f"{api_version}.{group}") for group, api_version, _ in _APIS),
)

_SUM: Final = "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)"
METRICS: Final[tuple[tuple[str, str, str], ...]] = (
    ("gpu_utilization", "DCGM_FI_DEV_GPU_UTIL", _SUM),
    ("gpu_memory_used_bytes", "DCGM_FI_DEV_FB_USED", f"{_SUM} * 1048576"),
    ("gpu_power_watts", "DCGM_FI_DEV_POWER_USAGE", _SUM),
    ("gpu_engine_active_ratio", "DCGM_FI_PROF_GR_ENGINE_ACTIVE", _SUM),
)
"""
Name in the metrics API, series in Prometheus, query.

Sums, not means: an HPA with an AverageValue target divides by the replicas itself, and with a mean a third replica
could never be reached.
"""


def manifests(config: LabConfig) -> list[Manifest]:
    """The adapter with its rights, and the three API versions that it serves."""
    return [
        namespace(NAMESPACE),
        *_rights(),
        config_map(_NAME, NAMESPACE, {"config.yaml": yaml.safe_dump(rules(), sort_keys=False)}),
        workload("Deployment", _NAME, NAMESPACE, _pod(config), annotations={}),
        service(_NAME, NAMESPACE, [{"name": "https", "port": 443, "targetPort": "https"}]),
        *(_api_service(*api) for api in _APIS),
    ]


def rules() -> dict[str, Any]:
    """The adapter's configuration: every metric by namespace and pod, and as external metric over a selection."""
    series_query = '{series}{{exported_namespace!="",exported_pod!=""}}'
    return {
        "rules": [
            {
                "seriesQuery": series_query.format(series=series),
                "resources": {
                    "overrides": {
                        "exported_namespace": {"resource": "namespace"},
                        "exported_pod": {"resource": "pod"},
                    }
                },
                "name": {"as": name},
                "metricsQuery": query,
            }
            for name, series, query in METRICS
        ],
        "externalRules": [
            {
                "seriesQuery": series_query.format(series=series),
                "resources": {"namespaced": False},
                "name": {"as": name},
                "metricsQuery": query.replace(" by (<<.GroupBy>>)", ""),
            }
            for name, series, query in METRICS
        ],
    }


def _rights() -> list[Manifest]:
    return [
        service_account(_NAME, NAMESPACE),
        cluster_role(_NAME, [rule([""], ["nodes", "namespaces", "pods", "services"], ["get", "list", "watch"])]),
        cluster_role_binding(_NAME, _NAME, _NAME, NAMESPACE),
        cluster_role_binding(f"{_NAME}:system:auth-delegator", "system:auth-delegator", _NAME, NAMESPACE),
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": f"{_NAME}-auth-reader", "namespace": "kube-system"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": "extension-apiserver-authentication-reader",
            },
            "subjects": [{"kind": "ServiceAccount", "name": _NAME, "namespace": NAMESPACE}],
        },
        cluster_role(
            "custom-metrics-server-resources",
            [rule(["custom.metrics.k8s.io", "external.metrics.k8s.io"], ["*"], ["*"])],
        ),
        cluster_role_binding(
            "hpa-controller-custom-metrics",
            "custom-metrics-server-resources",
            "horizontal-pod-autoscaler",
            "kube-system",
        ),
    ]


def _api_service(group: str, api_version: str, rank: int) -> Manifest:
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{api_version}.{group}"},
        "spec": {
            "group": group,
            "version": api_version,
            "groupPriorityMinimum": 100,
            "versionPriority": rank,
            # The adapter signs its own certificate at each start, as its chart has it by default.
            "insecureSkipTLSVerify": True,
            "service": {"name": _NAME, "namespace": NAMESPACE},
        },
    }


def _pod(config: LabConfig) -> Manifest:
    scrape_seconds = config.scrape_interval_seconds
    return {
        "serviceAccountName": _NAME,
        "containers": [
            {
                "name": _NAME,
                "image": f"registry.k8s.io/prometheus-adapter/prometheus-adapter:v{version}",
                "args": [
                    f"--prometheus-url=http://prometheus.{NAMESPACE}.svc:{PROMETHEUS_PORT}/",
                    "--config=/etc/adapter/config.yaml",
                    f"--secure-port={_PORT}",
                    "--cert-dir=/var/run/serving-cert",
                    # How soon a new series has a name in the metrics API. Upstream's 10 minutes outlast a lab.
                    f"--metrics-relist-interval={duration(min(10.0, scrape_seconds))}",
                    f"--metrics-max-age={duration(max(60.0, 4 * scrape_seconds))}",
                    "--v=1",
                ],
                "ports": [{"name": "https", "containerPort": _PORT}],
                "volumeMounts": [
                    {"name": "config", "mountPath": "/etc/adapter", "readOnly": True},
                    {"name": "certificate", "mountPath": "/var/run/serving-cert"},
                ],
                "readinessProbe": http_probe("/readyz", "https", scheme="HTTPS"),
                "livenessProbe": liveness("/livez", "https", scheme="HTTPS"),
            }
        ],
        "volumes": [
            {"name": "config", "configMap": {"name": _NAME}},
            {"name": "certificate", "emptyDir": {}},
        ],
    }
