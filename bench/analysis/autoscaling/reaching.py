"""What the HPA can reach by its own arithmetic, said beside what it did."""

from collections.abc import Iterator

import numpy as np

from bench.analysis.autoscaling.view import Step, View, absent, one
from bench.analysis.reach import Aggregation, Course, highest_reachable, reachable, simulate
from bench.model.measurement import Reading

DEMAND_ERROR_RATIO = 0.2
"""The capacity of one replica was seen once, for seconds: what follows from it is predicted for so much either way."""
STEADY_SECONDS = 900.0
"""As long as a steady demand is followed: three of the default stabilisation windows."""


def reach(view: View) -> Iterator[Reading]:
    """For each replica count what takes it up and down; the most that is reached; whether a steady demand flaps."""
    rules = view.rules
    rows = reachable(rules.hpa, rules.aggregation, rules.saturation)
    for row in rows:
        labels = {"replicas": str(row.replicas), "aggregation": str(rules.aggregation)}
        yield one("reach_usage_most_metric_value", row.usage_most, labels)
        if row.up_above is not None:
            yield one("reach_up_above_metric_value", row.up_above, labels)
        if row.down_at_most is not None:
            yield one("reach_down_at_most_metric_value", row.down_at_most, labels)
    yield one("reachable_replicas_total", float(highest_reachable(rows)))
    for step in view.steps:
        if step.direction == "up":
            yield from _under_steady_demand(view, step)
    yield from _aggregation(view)


def demand_devices(view: View, step: Step) -> float:
    """How many replicas' worth of load the step is; NaN where the capacity was not measured."""
    return step.rate_per_second / view.value("replica_capacity_per_second")


def predicted_replicas(view: View, step: Step) -> tuple[int, int] | None:
    """The fewest and the most replicas that the step's demand leads to; None where it was not measured."""
    demand = demand_devices(view, step)
    if np.isnan(demand):
        return None
    found = [
        _course(view, demand * factor).replicas[-1]
        for factor in (1.0 - DEMAND_ERROR_RATIO, 1.0, 1.0 + DEMAND_ERROR_RATIO)
    ]
    return min(found), max(found)


def _course(view: View, demand: float) -> Course:
    rules = view.rules
    return simulate(
        rules.hpa,
        rules.aggregation,
        demand_devices=demand,
        saturation=rules.saturation,
        duration_seconds=STEADY_SECONDS,
    )


def _under_steady_demand(view: View, step: Step) -> Iterator[Reading]:
    labels = {"step": str(step.number)}
    predicted = predicted_replicas(view, step)
    if predicted is None:
        yield absent("predicted_replicas_total", "the capacity of one replica was not measured", labels)
        return
    for bound, count in zip(("fewest", "most"), predicted, strict=True):
        yield one("predicted_replicas_total", float(count), {**labels, "bound": bound})
    demand = demand_devices(view, step)
    yield one("demand_devices_total", demand, labels)
    yield one("predicted_turns_total", float(_course(view, demand).turns_total), labels)


def _aggregation(view: View) -> Iterator[Reading]:
    """What the metrics API serves of several busy devices, against what the rule makes of them."""
    name = "metrics_api_to_aggregated_ratio"
    served = view.signal("metrics_api_metric_value")
    devices = view.device_sum("prometheus_metric_value", view.rules.factor)
    counts = view.holders_at(served.times_seconds)
    if not served.values.size or not devices.values.size or not (counts >= 2).any():
        yield absent(name, "the metric was never served while two pods held devices")
        return
    together = devices.at(served.times_seconds)
    busy = (counts >= 2) & (together > view.rules.saturation * 1.1)
    if not busy.any():
        yield absent(name, "the devices of two pods were never busy at a time")
        return
    divisors = counts[busy] if view.rules.aggregation is Aggregation.AVERAGE else 1.0
    yield one(name, float(np.median(served.values[busy] / (together[busy] / divisors))))
