"""The HorizontalPodAutoscaler follows a metric of the devices: up under work, down without it."""

import os
from collections.abc import Mapping

from tests.contract.accelerators import as_gpu_pod, holding, need_gpus
from tests.contract.pods import container, holds
from tests.contract.target import Object, Target

METRIC = os.environ.get("BENCH_HPA_METRIC", "gpu_utilization")
"""A cluster may call it otherwise (DCGM_FI_DEV_GPU_UTIL); percent of one device, summed over the namespace."""
FOLLOWS_SECONDS = 300.0
"""An exporter that refreshes every 30 s, a scrape, the adapter and the autoscaler's own period, three times over."""
WORK = "while true; do if grep -q yes /work/go; then cd / && cuda-samples/nbody -gpu -benchmark; else sleep 1; fi; done"


def need_custom_metrics(target: Target) -> None:
    services = target.items("apiregistration.k8s.io/v1", "APIService")
    served = [s for s in services if s["spec"].get("group") == "custom.metrics.k8s.io" and holds("Available")(s)]
    if not served:
        target.unmet("no API of custom metrics is available")


def worker(target: Target, namespace: str) -> Object:
    """A Deployment whose pods compute on their GPU while a ConfigMap says so."""
    work = {"name": "work", "mountPath": "/work"}
    main = container(
        "main",
        "/bin/bash",
        "-c",
        WORK,
        image="nvcr.io/nvidia/k8s/cuda-sample:nbody",
        resources=holding(1),
        volumeMounts=[work],
    )
    volumes = [{"name": "work", "configMap": {"name": "work"}}]
    spec = {"terminationGracePeriodSeconds": 1, "containers": [main], "volumes": volumes}
    template = as_gpu_pod(target, {"metadata": {"labels": {"app": "worker"}}, "spec": spec})
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "worker", "namespace": namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "worker"}}, "template": template},
    }


def autoscaler(namespace: str) -> Object:
    value = {"type": "AverageValue", "averageValue": "70"}
    described = {"apiVersion": "v1", "kind": "Namespace", "name": namespace}
    metric = {"type": "Object", "object": {"describedObject": described, "metric": {"name": METRIC}, "target": value}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "worker", "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"},
            "minReplicas": 1,
            "maxReplicas": 2,
            "metrics": [metric],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        },
    }


def shown(found: Object) -> float:
    """The value that the autoscaler goes by, per pod; nothing yet is below everything."""
    current = found.get("status", {}).get("currentMetrics") or [{}]
    text = current[0].get("object", {}).get("current", {}).get("averageValue", "-1")
    return float(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)


def ready(pods: Mapping[str, Object]) -> list[Object]:
    return [p for p in pods.values() if holds("Ready")(p) and "deletionTimestamp" not in p["metadata"]]


def test_replicas_follow_the_utilisation_of_the_devices(target: Target, namespace: str) -> None:
    need_custom_metrics(target)
    need_gpus(target, 2)
    metadata = {"name": "work", "namespace": namespace}
    work = target.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"go": "no"}})
    target.create(worker(target, namespace))
    target.wait_until("v1", "Pod", namespace, ready, within_seconds=FOLLOWS_SECONDS)
    made = target.create(autoscaler(namespace))
    target.wait_for(made, lambda h: 0 <= shown(h) < 70, within_seconds=FOLLOWS_SECONDS, what="an idle device")
    assert target.get("apps/v1", "Deployment", "worker", namespace)["spec"]["replicas"] == 1

    target.patch(work, {"data": {"go": "yes"}})
    target.wait_for(made, lambda h: shown(h) > 70 * 1.1, within_seconds=FOLLOWS_SECONDS, what="a busy device")
    target.wait_until("v1", "Pod", namespace, lambda pods: len(ready(pods)) == 2, within_seconds=FOLLOWS_SECONDS)

    target.patch(work, {"data": {"go": "no"}})
    target.wait_until("v1", "Pod", namespace, lambda pods: len(ready(pods)) == 1, within_seconds=FOLLOWS_SECONDS)
