"""Kubernetes objects as plain dictionaries: the few shapes that the parts are made of, and what being up means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Manifest = dict[str, Any]

NAME_LABEL: Final = "app.kubernetes.io/name"

_PATHS: Final[Mapping[str, str]] = {
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
    "DaemonSet": "/apis/apps/v1/namespaces/{namespace}/daemonsets/{name}",
    "APIService": "/apis/apiregistration.k8s.io/v1/apiservices/{name}",
    "Gateway": "/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/gateways/{name}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """An object that must be up, and how to see it."""

    kind: str
    name: str
    namespace: str = ""

    @property
    def path(self) -> str:
        """Where the API server serves the object."""
        return _PATHS[self.kind].format(namespace=self.namespace, name=self.name)

    def is_met_by(self, found: Mapping[str, Any]) -> bool:
        """
        The object, as read from the API server, is up.

        Of a workload: every replica of the newest generation is available. Of others: the condition by which its own
        controller says so.
        """
        if self.kind == "Deployment":
            return _deployment_is_up(found)
        if self.kind == "DaemonSet":
            return _daemon_set_is_up(found)
        wanted = {"APIService": "Available", "Gateway": "Programmed"}[self.kind]
        conditions = found.get("status", {}).get("conditions", [])
        return any(condition["type"] == wanted and condition["status"] == "True" for condition in conditions)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def _deployment_is_up(found: Mapping[str, Any]) -> bool:
    status, wanted = found.get("status", {}), found.get("spec", {}).get("replicas", 1)
    is_seen = status.get("observedGeneration", 0) >= found["metadata"].get("generation", 1)
    return bool(is_seen and status.get("updatedReplicas", 0) >= wanted <= status.get("availableReplicas", 0))


def _daemon_set_is_up(found: Mapping[str, Any]) -> bool:
    # One that is meant for no node is not up: its controller may have looked before the nodes came.
    status = found.get("status", {})
    is_seen = status.get("observedGeneration", 0) >= found["metadata"].get("generation", 1)
    wanted = status.get("desiredNumberScheduled", 0)
    return bool(is_seen and 0 < wanted <= status.get("numberAvailable", 0))


def namespace(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def config_map(name: str, namespace: str, data: Mapping[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": dict(data),
    }


def rule(groups: Sequence[str], resources: Sequence[str], verbs: Sequence[str]) -> Manifest:
    """One rule of a ClusterRole."""
    return {"apiGroups": list(groups), "resources": list(resources), "verbs": list(verbs)}


def service_account(name: str, namespace: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}


def cluster_role(name: str, rules: Sequence[Manifest]) -> Manifest:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": list(rules),
    }


def cluster_role_binding(name: str, role: str, account: str, namespace: str) -> Manifest:
    """Gives a ClusterRole to a service account, in the whole cluster."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }


def workload(kind: str, name: str, namespace: str, pod: Manifest, *, annotations: Mapping[str, str]) -> Manifest:
    """A Deployment of one replica, or a DaemonSet, whose pods carry the label `app.kubernetes.io/name`."""
    labels = {NAME_LABEL: name}
    spec: Manifest = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels, "annotations": dict(annotations)}, "spec": pod},
    }
    if kind == "Deployment":
        spec["replicas"] = 1
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": spec,
    }


def service(name: str, namespace: str, ports: Sequence[Manifest], *, address: str | None = None) -> Manifest:
    """A Service over the pods that `workload` makes under the same name."""
    spec: Manifest = {"selector": {NAME_LABEL: name}, "ports": list(ports)}
    if address is not None:
        spec["clusterIP"] = address
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": {NAME_LABEL: name}},
        "spec": spec,
    }


def http_probe(path: str, port: int | str, *, scheme: str = "HTTP", period_seconds: int = 1) -> Manifest:
    """Asked every second: a lab is to be up in seconds, and its probes cost nothing worth saving."""
    return {
        "httpGet": {"path": path, "port": port, "scheme": scheme},
        "periodSeconds": period_seconds,
        "timeoutSeconds": 2,
    }


def liveness(path: str, port: int | str, *, scheme: str = "HTTP") -> Manifest:
    """A program that does not answer for a minute is started again."""
    return http_probe(path, port, scheme=scheme, period_seconds=10) | {"failureThreshold": 6, "timeoutSeconds": 5}


def duration(seconds: float) -> str:
    """As Prometheus and Go read it: whole milliseconds."""
    return f"{round(seconds * 1000)}ms"
