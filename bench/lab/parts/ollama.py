"""
An inference server behind the Gateway: what a user deploys. No lab starts it by itself.

The same objects, written out as YAML, are what tests and the documentation apply.
"""

from typing import Any, Final

from bench.lab.config import LabConfig
from bench.lab.parts import gateway
from bench.lab.parts.objects import Manifest, Ready, namespace

version: Final = "0.9.6"
NAMESPACE: Final = "suse-private-ai"
MODEL: Final = "lab-llama"
PORT: Final = 11434
ready: Final = (Ready(kind="Deployment", namespace=NAMESPACE, name="ollama"),)


def manifests(config: LabConfig) -> list[Manifest]:  # noqa: ARG001 - all parts are called alike
    """Namespace, Deployment, Service and HTTPRoute `ollama`, one GPU a replica."""
    return [namespace(NAMESPACE), *server(NAMESPACE)]


def server(in_namespace: str, *, name: str = "ollama", path: str = "/") -> list[Manifest]:
    """The inference server under a name and a path of the Gateway."""
    labels = {"app": name}
    metadata = {"name": name, "namespace": in_namespace, "labels": labels}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [_container()]}},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"name": "http", "port": PORT, "targetPort": PORT}]},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": metadata,
            "spec": {
                "parentRefs": [{"name": gateway.GATEWAY, "namespace": "traefik"}],
                "rules": [
                    {
                        "matches": [{"path": {"type": "PathPrefix", "value": path}}],
                        "backendRefs": [{"name": name, "port": PORT}],
                    }
                ],
            },
        },
    ]


def _container() -> dict[str, Any]:
    # Ready means that the model is in memory, not that a port is open: with an empty prompt `ollama run` loads it, and
    # comes back when its runner answers.
    asks = ["/bin/ollama", "run", MODEL, ""]
    return {
        "name": "ollama",
        "image": f"docker.io/ollama/ollama:{version}",
        "env": [
            {"name": "OLLAMA_KEEP_ALIVE", "value": "-1"},
            {"name": "OLLAMA_NUM_PARALLEL", "value": "4"},
        ],
        "ports": [{"name": "http", "containerPort": PORT}],
        "resources": {"limits": {"nvidia.com/gpu": 1}},
        "startupProbe": {"exec": {"command": asks}, "periodSeconds": 1, "timeoutSeconds": 20, "failureThreshold": 60},
        "readinessProbe": {"httpGet": {"path": "/api/version", "port": "http"}, "periodSeconds": 2},
    }
