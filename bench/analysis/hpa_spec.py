"""
What a HorizontalPodAutoscaler's manifest (autoscaling/v2) says, in the words of `bench.analysis.hpa`.

One metric is read: with several the largest recommendation wins, and which one that is cannot be told beforehand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.analysis.hpa import (
    Behavior,
    Hpa,
    MetricKind,
    Policy,
    Select,
    TargetKind,
    default_down,
    default_up,
    plain_up,
)
from bench.model.units import kubernetes_quantity

KIND = "HorizontalPodAutoscaler"


@dataclass(frozen=True, slots=True, kw_only=True)
class HpaSpec:
    """An HPA with one metric: how it decides, on what, and what it scales."""

    hpa: Hpa
    metric: str
    scale_target: str
    """``kind/name``."""

    @property
    def deployment(self) -> str:
        """
        The name of the Deployment that it scales.

        Raises:
            ValueError: it scales something else.

        """
        kind, _, name = self.scale_target.partition("/")
        if kind != "Deployment" or not name:
            raise ValueError(f"its scaleTargetRef is {self.scale_target}; a Deployment is what can be deployed for it")
        return name


def read_hpa(manifest: Mapping[str, Any]) -> HpaSpec:
    """
    The HPA of a manifest, or of an object as the API server tells it.

    Raises:
        ValueError: it is no HPA of autoscaling/v2, or has not exactly one metric of the types Pods, Object or
            External; the message says which of these.

    """
    kind, version = str(manifest.get("kind", "nothing")), str(manifest.get("apiVersion", "no apiVersion"))
    if kind != KIND or version != "autoscaling/v2":
        raise ValueError(f"it is {kind} of {version}, not {KIND} of autoscaling/v2")
    spec = manifest.get("spec") or {}
    metrics: Sequence[Mapping[str, Any]] = list(spec.get("metrics") or ())
    if len(metrics) != 1:
        raise ValueError(f"it has {len(metrics)} metrics; one is looked at at a time")
    kind_of_metric, source = _source(metrics[0])
    target_kind, target = _target(source.get("target") or {})
    ref = spec.get("scaleTargetRef") or {}
    up, down = _behaviors(spec.get("behavior"))
    return HpaSpec(
        hpa=Hpa(
            metric=kind_of_metric,
            target_kind=target_kind,
            target=target,
            min_replicas=int(spec.get("minReplicas", 1)),
            max_replicas=int(spec.get("maxReplicas", 0)),
            up=up,
            down=down,
        ),
        metric=str(source.get("metric", {}).get("name", "")),
        scale_target=f"{ref.get('kind', 'nothing')}/{ref.get('name', '')}",
    )


def _source(metric: Mapping[str, Any]) -> tuple[MetricKind, Mapping[str, Any]]:
    kind = str(metric.get("type", ""))
    if kind not in set(MetricKind):
        raise ValueError(f"its metric is of type {kind or 'none'}; {', '.join(MetricKind)} can be looked at")
    return MetricKind(kind), metric.get(kind.lower()) or {}


def _target(target: Mapping[str, Any]) -> tuple[TargetKind, float]:
    for kind, member in ((TargetKind.AVERAGE_VALUE, "averageValue"), (TargetKind.VALUE, "value")):
        if target.get("type") == kind and member in target:
            return kind, kubernetes_quantity(str(target[member]))
    raise ValueError(f"its target is of type {target.get('type', 'none')}; it needs an averageValue or a value")


def _behaviors(behavior: Mapping[str, Any] | None) -> tuple[Behavior, Behavior]:
    if not behavior:
        return plain_up(), default_down()
    return _behavior(behavior.get("scaleUp"), default_up()), _behavior(behavior.get("scaleDown"), default_down())


def _behavior(told: Mapping[str, Any] | None, default: Behavior) -> Behavior:
    if not told:
        return default
    policies = _policies(told.get("policies") or ())
    return Behavior(
        stabilization_seconds=float(told.get("stabilizationWindowSeconds", default.stabilization_seconds)),
        policies=policies or default.policies,
        select=Select(told.get("selectPolicy", default.select)),
        tolerance_ratio=kubernetes_quantity(str(told["tolerance"])) if "tolerance" in told else default.tolerance_ratio,
    )


def _policies(told: Sequence[Mapping[str, Any]]) -> tuple[Policy, ...]:
    return tuple(
        Policy(period_seconds=float(each["periodSeconds"]), ratio=float(each["value"]) / 100.0)
        if each["type"] == "Percent"
        else Policy(period_seconds=float(each["periodSeconds"]), pods=int(each["value"]))
        for each in told
    )
