"""
An inference server with a model, behind the Gateway.

A second container in the pod passes requests through and puts the pod's name on every answer: of all that stands
between a client and a pod, only something inside the pod knows surely which pod it is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Manifest = dict[str, Any]

PORT: Final = 11434
FRONT_PORT: Final = 8080
BACKEND_HEADER: Final = "X-Bench-Backend"
VERSION_PATH: Final = "/api/version"
"""Answered without work."""

# First it tells which devices it holds: by NVML where the container runtime brought nvidia-smi, else by what the
# runtime set. `ollama run` with an empty prompt loads the model and returns when its runner answers.
SERVE: Final = """\
nvidia-smi -L 2>/dev/null || echo "NVIDIA_VISIBLE_DEVICES=$NVIDIA_VISIBLE_DEVICES"
ollama serve &
server=$!
trap 'kill $server' TERM INT
until ollama list >/dev/null 2>&1; do kill -0 $server || exit 1; sleep 0.2; done
ollama show "$MODEL" >/dev/null 2>&1 || ollama pull "$MODEL" || exit 1
wait $server
"""

FRONT: Final = """\
http:
  routers:
    all: {rule: "PathPrefix(`/`)", service: server, middlewares: [name], entryPoints: [front]}
  middlewares:
    name: {headers: {customResponseHeaders: {X-Bench-Backend: '{{ env "POD_NAME" }}'}}}
  services:
    server: {loadBalancer: {servers: [{url: "http://127.0.0.1:11434"}]}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ollama:
    """A Deployment of ollama with one accelerator a pod, its Service and its HTTPRoute."""

    namespace: str
    model: str
    gateway: str
    gateway_namespace: str
    name: str = "ollama"
    image: str = "docker.io/ollama/ollama:0.9.6"
    front_image: str = "docker.io/library/traefik:v3.7"
    replicas: int = 1
    drain_seconds: int = 5
    """Between a pod's deletion and the end of its programs: requests go on to it until the Gateway knows."""
    device_class: str = ""
    """Ask for the accelerator by a claim of this DeviceClass; empty: by `nvidia.com/gpu`."""

    def manifests(self) -> Iterator[Manifest]:
        """ConfigMap, claim template where one is needed, Deployment, Service, HTTPRoute."""
        yield self._object("v1", "ConfigMap", data={"front.yaml": FRONT})
        if self.device_class:
            exactly = {"deviceClassName": self.device_class, "allocationMode": "ExactCount", "count": 1}
            devices = {"devices": {"requests": [{"name": "gpu", "exactly": exactly}]}}
            yield self._object("resource.k8s.io/v1", "ResourceClaimTemplate", spec={"spec": devices})
        yield self._object("apps/v1", "Deployment", spec=self._deployment())
        ports = [{"name": "http", "port": PORT, "targetPort": "front"}]
        yield self._object("v1", "Service", spec={"selector": self.labels, "ports": ports})
        parent = {"name": self.gateway, "namespace": self.gateway_namespace}
        rule = {
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "backendRefs": [{"name": self.name, "port": PORT}],
        }
        spec = {"parentRefs": [parent], "hostnames": [self.hostname], "rules": [rule]}
        yield self._object("gateway.networking.k8s.io/v1", "HTTPRoute", spec=spec)

    @property
    def labels(self) -> Mapping[str, str]:
        """Of its pods."""
        return {"app.kubernetes.io/name": self.name}

    @property
    def hostname(self) -> str:
        """By which the Gateway tells its requests from those of others; sent as Host, not resolved."""
        return f"{self.name}.{self.namespace}.bench.internal"

    def _object(self, api_version: str, kind: str, **content: Any) -> Manifest:
        metadata = {"name": self.name, "namespace": self.namespace, "labels": dict(self.labels)}
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}

    def _deployment(self) -> Manifest:
        pod: Manifest = {
            "containers": [self._server(), self._front()],
            "volumes": [{"name": "front", "configMap": {"name": self.name}}],
            "terminationGracePeriodSeconds": self.drain_seconds + 30,
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        }
        if self.device_class:
            pod["resourceClaims"] = [{"name": "gpu", "resourceClaimTemplateName": self.name}]
        return {
            "replicas": self.replicas,
            "selector": {"matchLabels": dict(self.labels)},
            "template": {"metadata": {"labels": dict(self.labels)}, "spec": pod},
        }

    def _server(self) -> Manifest:
        loads = ["ollama", "run", self.model, ""]
        return {
            "name": "ollama",
            "image": self.image,
            "command": ["/bin/sh", "-c", SERVE],
            "env": [
                {"name": "MODEL", "value": self.model},
                {"name": "OLLAMA_KEEP_ALIVE", "value": "-1"},
                {"name": "OLLAMA_NUM_PARALLEL", "value": "4"},
            ],
            "resources": {"claims": [{"name": "gpu"}]} if self.device_class else {"limits": {"nvidia.com/gpu": 1}},
            # Ten minutes: a model of some gigabytes over a slow line.
            "startupProbe": {
                "exec": {"command": loads},
                "periodSeconds": 1,
                "timeoutSeconds": 60,
                "failureThreshold": 600,
            },
            "readinessProbe": {"httpGet": {"path": VERSION_PATH, "port": PORT}, "periodSeconds": 2},
            "lifecycle": self._drain(),
        }

    def _drain(self) -> Manifest:
        return {"preStop": {"exec": {"command": ["/bin/sh", "-c", f"sleep {self.drain_seconds}"]}}}

    def _front(self) -> Manifest:
        return {
            "name": "front",
            "image": self.front_image,
            "args": [
                f"--entryPoints.front.address=:{FRONT_PORT}",
                "--providers.file.filename=/etc/front/front.yaml",
                "--providers.file.watch=false",
                "--global.checkNewVersion=false",
                "--global.sendAnonymousUsage=false",
            ],
            "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "ports": [{"name": "front", "containerPort": FRONT_PORT}],
            "volumeMounts": [{"name": "front", "mountPath": "/etc/front"}],
            "readinessProbe": {"tcpSocket": {"port": FRONT_PORT}, "periodSeconds": 1},
            "lifecycle": self._drain(),
        }
