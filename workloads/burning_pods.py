"""Pods that run the program of `gpu_burn` on one device each: its text in a ConfigMap, its settings as arguments."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workloads import gpu_burn
from workloads.gpu_burn import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuBurn:
    """A Deployment of burning pods, one device each."""

    name: str = "gpu-burn"
    replicas: int = 1
    duty_ratio: float = 1.0
    occupancy_ratio: float = 1.0
    memory_bytes: int = 0
    seconds: float = 86400.0
    steps: tuple[Step, ...] = ()
    """One after the other instead of one duty cycle, one occupancy and one size of memory."""
    begin_utc_seconds: float = 0.0
    """When the first step is due; who comes later leaves out what is over, so that pods keep step with each other."""
    image: str = "nvcr.io/nvidia/pytorch:25.08-py3"
    resource: str = "nvidia.com/gpu"
    device_class: str = ""
    """Ask for the device by a claim of this DeviceClass; empty: by the resource."""

    def manifests(self) -> list[dict[str, Any]]:
        """A ConfigMap with the program, and the Deployment that runs it."""
        labels = {"app.kubernetes.io/name": self.name}
        return [
            self.program(),
            *self.claim_templates(),
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": self.name, "labels": labels},
                "spec": {
                    "replicas": self.replicas,
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": self.pod_spec()},
                },
            },
        ]

    def program(self) -> dict[str, Any]:
        """The ConfigMap with the program."""
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self.name, "labels": {"app.kubernetes.io/name": self.name}},
            "data": {"gpu_burn.py": Path(gpu_burn.__file__).read_text(encoding="utf-8")},
        }

    def claim_templates(self) -> list[dict[str, Any]]:
        """What the pods' claims are made of: one template, or none where they ask by the resource."""
        if not self.device_class:
            return []
        exactly = {"deviceClassName": self.device_class, "allocationMode": "ExactCount", "count": 1}
        return [
            {
                "apiVersion": "resource.k8s.io/v1",
                "kind": "ResourceClaimTemplate",
                "metadata": {"name": self.name, "labels": {"app.kubernetes.io/name": self.name}},
                "spec": {"spec": {"devices": {"requests": [{"name": "device", "exactly": exactly}]}}},
            }
        ]

    def pod_spec(self) -> dict[str, Any]:
        """A pod that runs the program on one device."""
        command = ["python3", "/workload/gpu_burn.py"]
        if self.steps:
            command += [f"--steps={','.join(map(str, self.steps))}", f"--begin-utc={self.begin_utc_seconds:.3f}"]
        else:
            command += [f"--seconds={self.seconds:g}", f"--duty-ratio={self.duty_ratio:g}"]
            command += [f"--occupancy-ratio={self.occupancy_ratio:g}", f"--memory-bytes={self.memory_bytes}"]
        container = {
            "name": "burn",
            "image": self.image,
            "command": command,
            "resources": {"claims": [{"name": "device"}]} if self.device_class else {"limits": {self.resource: 1}},
            "volumeMounts": [{"name": "program", "mountPath": "/workload", "readOnly": True}],
        }
        spec: dict[str, Any] = {
            "terminationGracePeriodSeconds": 5,
            "containers": [container],
            "volumes": [{"name": "program", "configMap": {"name": self.name}}],
        }
        if self.device_class:
            spec["resourceClaims"] = [{"name": "device", "resourceClaimTemplateName": self.name}]
        return spec
