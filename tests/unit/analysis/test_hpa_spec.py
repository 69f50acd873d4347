"""What a manifest says, read back; the one that the conformance document shows among them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.analysis.hpa import MetricKind, Select, TargetKind
from bench.analysis.hpa_spec import read_hpa

SHOWN = Path(__file__).parents[2] / "lab" / "data" / "ollama-hpa.yaml"


def manifest(**spec: Any) -> dict[str, Any]:
    source = {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "1500m"}}
    told = {
        "scaleTargetRef": {"kind": "Deployment", "name": "server"},
        "maxReplicas": 4,
        "metrics": [{"type": "Pods", "pods": source}],
        **spec,
    }
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": told}


def test_the_manifest_of_the_conformance_document_is_understood() -> None:
    found = read_hpa(yaml.safe_load(SHOWN.read_text(encoding="utf-8")))

    assert (found.metric, found.deployment) == ("gpu_utilization", "ollama")
    assert (found.hpa.metric, found.hpa.target_kind, found.hpa.target) == (
        MetricKind.OBJECT,
        TargetKind.AVERAGE_VALUE,
        70.0,
    )
    assert (found.hpa.min_replicas, found.hpa.max_replicas) == (1, 3)
    assert found.hpa.down.stabilization_seconds == 300.0


def test_quantities_are_numbers_and_what_is_left_out_is_the_default() -> None:
    found = read_hpa(manifest())

    assert found.hpa.target == 1.5
    assert found.hpa.min_replicas == 1
    assert found.hpa.up.stabilization_seconds == 0.0


def test_behavior_is_read_with_its_policies_and_its_own_tolerance() -> None:
    policies = [
        {"type": "Pods", "value": 2, "periodSeconds": 30},
        {"type": "Percent", "value": 50, "periodSeconds": 60},
    ]
    down = {"stabilizationWindowSeconds": 7, "policies": policies, "selectPolicy": "Min", "tolerance": "50m"}

    found = read_hpa(manifest(behavior={"scaleDown": down})).hpa

    assert (found.down.stabilization_seconds, found.down.select, found.down.tolerance_ratio) == (7.0, Select.MIN, 0.05)
    assert [(each.pods, each.ratio, each.period_seconds) for each in found.down.policies] == [(2, 0, 30), (0, 0.5, 60)]
    assert found.up.policies[0].pods == 4


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "Deployment"}, "it is Deployment of autoscaling/v2"),
        ({"apiVersion": "autoscaling/v1"}, "autoscaling/v1"),
        ({"spec": {"maxReplicas": 1}}, "0 metrics"),
    ],
)
def test_what_is_no_such_autoscaler_is_refused_with_what_it_is(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_hpa({**manifest(), **wrong})


def test_a_resource_metric_is_refused_by_its_type() -> None:
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}

    with pytest.raises(ValueError, match="type Resource"):
        read_hpa(manifest(metrics=[cpu]))


def test_what_scales_no_deployment_has_none() -> None:
    found = read_hpa(manifest(scaleTargetRef={"kind": "StatefulSet", "name": "db"}))

    with pytest.raises(ValueError, match="StatefulSet/db"):
        found.deployment  # noqa: B018
