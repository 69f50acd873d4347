"""A HorizontalPodAutoscaler for an inference server, on a metric that is served for its namespace; or one of a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaler:
    """An HPA with one Object metric and an AverageValue: the sum over all pods, divided by the replicas."""

    namespace: str
    metric: str
    target: float
    max_replicas: int
    stabilization_seconds: int
    name: str = "ollama"
    """Of itself, and of the Deployment that it scales."""

    def manifests(self) -> Iterator[Manifest]:
        """The one object."""
        described = {"apiVersion": "v1", "kind": "Namespace", "name": self.namespace}
        target = {"type": "AverageValue", "averageValue": f"{self.target:.10g}"}
        source = {"describedObject": described, "metric": {"name": self.metric}, "target": target}
        yield {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": self.name},
                "minReplicas": 1,
                "maxReplicas": self.max_replicas,
                "metrics": [{"type": "Object", "object": source}],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": self.stabilization_seconds}},
            },
        }


def from_file(path: Path, namespace: str) -> Manifest:
    """
    The one object of a YAML file, as it is but for its namespace.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no YAML, or not one object.

    """
    try:
        documents = [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each is not None]
    except yaml.YAMLError as error:
        raise ValueError(f"it is no YAML: {' '.join(str(error).split())}") from error
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise ValueError(f"one object is meant, and {len(documents)} document(s) are there")
    manifest: Manifest = documents[0]
    return {**manifest, "metadata": {**(manifest.get("metadata") or {}), "namespace": namespace}}
