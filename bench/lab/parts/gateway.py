"""The Gateway: Traefik as controller of the Gateway API, with one Gateway that routes of every namespace may join."""

import json
from typing import Final

from bench.lab import network
from bench.lab.build import find
from bench.lab.config import LabConfig
from bench.lab.parts.objects import (
    Manifest,
    Ready,
    cluster_role,
    cluster_role_binding,
    http_probe,
    liveness,
    namespace,
    rule,
    service,
    service_account,
    workload,
)

version: Final = "3.7.15"
ready: Final = (
    Ready(kind="Deployment", namespace="traefik", name="traefik"),
    Ready(kind="Gateway", namespace="traefik", name="lab"),
)

GATEWAY: Final = "lab"
GATEWAY_CLASS: Final = "traefik"
ENTRY_PORT: Final = 8000
"""Of Traefik's entry point `web`, and so of the Gateway's listener; the Service leads to it from port 80."""
_NAMESPACE: Final = "traefik"
_ADMIN_PORT: Final = 8080
_METRICS_PORT: Final = 9100
_API_GROUP: Final = "gateway.networking.k8s.io"
_WATCHED: Final = (
    "gatewayclasses",
    "gateways",
    "httproutes",
    "grpcroutes",
    "tcproutes",
    "tlsroutes",
    "listenersets",
    "referencegrants",
    "backendtlspolicies",
)


def manifests(config: LabConfig) -> list[Manifest]:  # noqa: ARG001 - all parts are called alike
    """The definitions of the Gateway API, Traefik with the rights it asks for, its GatewayClass and the Gateway."""
    definitions: list[Manifest] = json.loads(find("gateway-crds").read_text(encoding="utf-8"))
    return [
        namespace(_NAMESPACE),
        *definitions,
        service_account("traefik", _NAMESPACE),
        cluster_role("traefik-gateway", _rules()),
        cluster_role_binding("traefik-gateway", "traefik-gateway", "traefik", _NAMESPACE),
        workload("Deployment", "traefik", _NAMESPACE, _pod(), annotations=_scraped()),
        service(
            "traefik",
            _NAMESPACE,
            [{"name": "web", "port": 80, "targetPort": "web"}],
            address=network.GATEWAY_SERVICE_ADDRESS,
        ),
        {
            "apiVersion": f"{_API_GROUP}/v1",
            "kind": "GatewayClass",
            "metadata": {"name": GATEWAY_CLASS},
            "spec": {"controllerName": "traefik.io/gateway-controller"},
        },
        {
            "apiVersion": f"{_API_GROUP}/v1",
            "kind": "Gateway",
            "metadata": {"name": GATEWAY, "namespace": _NAMESPACE},
            "spec": {
                "gatewayClassName": GATEWAY_CLASS,
                "listeners": [
                    {
                        "name": "web",
                        "protocol": "HTTP",
                        "port": ENTRY_PORT,
                        "allowedRoutes": {"namespaces": {"from": "All"}},
                    }
                ],
            },
        },
    ]


def _rules() -> list[Manifest]:
    return [
        rule([""], ["namespaces"], ["list", "watch"]),
        rule([""], ["pods"], ["get"]),
        rule([""], ["services", "secrets", "configmaps"], ["get", "list", "watch"]),
        rule(["discovery.k8s.io"], ["endpointslices"], ["list", "watch"]),
        rule([_API_GROUP], _WATCHED, ["get", "list", "watch"]),
        rule([_API_GROUP], [f"{kind}/status" for kind in _WATCHED], ["update"]),
    ]


def _scraped() -> dict[str, str]:
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(_METRICS_PORT),
        "prometheus.io/path": "/metrics",
    }


def _pod() -> Manifest:
    flags = [
        f"--entrypoints.web.address=:{ENTRY_PORT}",
        f"--entrypoints.traefik.address=:{_ADMIN_PORT}",
        f"--entrypoints.metrics.address=:{_METRICS_PORT}",
        "--providers.kubernetesgateway=true",
        f"--providers.kubernetesgateway.statusaddress.ip={network.GATEWAY_SERVICE_ADDRESS}",
        "--ping=true",
        "--metrics.prometheus=true",
        "--metrics.prometheus.entrypoint=metrics",
        # One line a request, with the address of the pod that served it (ServiceAddr).
        "--accesslog=true",
        "--accesslog.format=json",
        # By which a client's record of a request is found again here.
        "--accesslog.fields.headers.names.X-Request-Id=keep",
        "--log.level=INFO",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
    ]
    return {
        "serviceAccountName": "traefik",
        "containers": [
            {
                "name": "traefik",
                "image": f"docker.io/traefik/traefik:v{version}",
                "args": flags,
                "ports": [
                    {"name": "web", "containerPort": ENTRY_PORT},
                    {"name": "admin", "containerPort": _ADMIN_PORT},
                    {"name": "metrics", "containerPort": _METRICS_PORT},
                ],
                "readinessProbe": http_probe("/ping", "admin"),
                "livenessProbe": liveness("/ping", "admin"),
            }
        ],
    }
