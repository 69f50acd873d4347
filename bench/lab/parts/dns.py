"""CoreDNS for the names of Services and pods. It forwards nothing: a lab has no way out."""

from typing import Final

from bench.lab import network
from bench.lab.config import LabConfig
from bench.lab.parts.objects import (
    Manifest,
    Ready,
    cluster_role,
    cluster_role_binding,
    config_map,
    http_probe,
    liveness,
    rule,
    service_account,
)

version: Final = "1.14.4"
ready: Final = (Ready(kind="Deployment", namespace="kube-system", name="coredns"),)

_NAMESPACE: Final = "kube-system"
_LABELS: Final = {"k8s-app": "kube-dns"}
# Names that are not there yet are asked again soon: a test creates a Service and calls it.
_COREFILE: Final = f""".:53 {{
    errors
    health :8080
    ready :8181
    kubernetes {network.CLUSTER_DOMAIN} in-addr.arpa {{
        pods insecure
        ttl 5
    }}
    cache {{
        success 9984 5
        denial 9984 1
    }}
    loadbalance
    reload
}}
"""


def manifests(config: LabConfig) -> list[Manifest]:  # noqa: ARG001 - all parts are called alike
    """As kubeadm names it: Deployment `coredns`, Service `kube-dns`."""
    return [
        service_account("coredns", _NAMESPACE),
        cluster_role(
            "system:coredns",
            [
                rule([""], ["endpoints", "services", "pods", "namespaces"], ["list", "watch"]),
                rule(["discovery.k8s.io"], ["endpointslices"], ["list", "watch"]),
            ],
        ),
        cluster_role_binding("system:coredns", "system:coredns", "coredns", _NAMESPACE),
        config_map("coredns", _NAMESPACE, {"Corefile": _COREFILE}),
        _deployment(),
        _service(),
    ]


def _deployment() -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "coredns", "namespace": _NAMESPACE, "labels": _LABELS},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": _LABELS},
            "template": {
                "metadata": {"labels": _LABELS},
                "spec": {
                    "serviceAccountName": "coredns",
                    "priorityClassName": "system-cluster-critical",
                    "dnsPolicy": "Default",
                    "containers": [_container()],
                    "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
                },
            },
        },
    }


def _container() -> Manifest:
    return {
        "name": "coredns",
        "image": f"registry.k8s.io/coredns/coredns:v{version}",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
        ],
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
        "readinessProbe": http_probe("/ready", 8181),
        "livenessProbe": liveness("/health", 8080),
        # Four threads of garbage collection gain nothing where all zones fit in a page.
        "env": [{"name": "GOMAXPROCS", "value": "1"}],
    }


def _service() -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kube-dns",
            "namespace": _NAMESPACE,
            "labels": _LABELS | {"kubernetes.io/name": "CoreDNS"},
        },
        "spec": {
            "selector": _LABELS,
            "clusterIP": network.DNS_SERVICE_ADDRESS,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    }
