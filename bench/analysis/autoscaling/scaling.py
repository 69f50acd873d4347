"""What came of the steps in replicas: enough of them, gone again, still in between, and what they cost."""

from collections.abc import Iterator

import numpy as np

from bench.analysis.autoscaling.reaching import demand_devices, predicted_replicas
from bench.analysis.autoscaling.reacting import predicted_reaction
from bench.analysis.autoscaling.view import Step, View, absent, one
from bench.analysis.reach import turns_total
from bench.analysis.signals import Signal
from bench.analysis.timeline import provisioning
from bench.model.measurement import FloatArray, Reading


def replicas(view: View) -> Iterator[Reading]:
    """Of every step: how far the replicas stayed from what was predicted, and how often they turned."""
    if view.desired.values.size == 0:
        yield absent("replicas_short_of_predicted_total", "the scale target was not seen")
        return
    for step in view.steps:
        course = _course(view, step)
        labels = {"step": str(step.number)}
        if step.direction == "up":
            yield from _short(view, step, float(course.max(initial=0.0)))
        else:
            yield _left_over(view, step, float(course[-1]))
        yield one("direction_changes_total", float(turns_total(course.tolist())), {**labels, "of": step.direction})
        yield from _cost(view, step)


def _course(view: View, step: Step) -> FloatArray:
    desired = view.desired
    inside = (desired.times_seconds >= step.start_seconds) & (desired.times_seconds <= step.end_seconds)
    before = desired.at(np.array([step.start_seconds]))
    return np.concatenate([before[~np.isnan(before)], desired.values[inside]])


def _short(view: View, step: Step, reached: float) -> Iterator[Reading]:
    labels = {"step": str(step.number)}
    yield one("reached_replicas_total", reached, labels)
    predicted = predicted_replicas(view, step)
    if predicted is None:
        yield absent("replicas_short_of_predicted_total", "the capacity of one replica was not measured", labels)
        return
    short, lasted_seconds = max(0.0, predicted[0] - reached), step.end_seconds - step.start_seconds
    yield _unless_too_short("replicas_short_of_predicted_total", short, step, lasted_seconds, _slowest_seconds(view))


def _left_over(view: View, step: Step, last: float) -> Reading:
    left = last - max(1, view.rules.hpa.min_replicas)
    takes_seconds = view.rules.hpa.down.stabilization_seconds + _slowest_seconds(view)
    lasted_seconds = step.end_seconds - max(step.start_seconds, _last_answer_seconds(view, step))
    return _unless_too_short("replicas_left_over_total", left, step, lasted_seconds, takes_seconds)


def _last_answer_seconds(view: View, step: Step) -> float:
    """When the last request of the step up before it was answered: until then its load is on the devices."""
    before = view.measurements("request_e2e_seconds", {"step": str(step.number), "direction": "up"})
    ends = [float((each.times_seconds + each.values).max()) for each in before if each.values.size]
    return max(ends, default=step.start_seconds)


def _slowest_seconds(view: View) -> float:
    """The slowest reaction that the measured clocks allow; 0 where they were not measured."""
    prediction = predicted_reaction(view)
    return prediction.max_seconds if prediction is not None and np.isfinite(prediction.max_seconds) else 0.0


def _unless_too_short(name: str, missing: float, step: Step, lasted_seconds: float, takes_seconds: float) -> Reading:
    """What did not come within a step that was over before it had to is not missing; what came is there."""
    if not missing or lasted_seconds >= takes_seconds:
        return one(name, missing, {"step": str(step.number)})
    reason = (
        f"the step {step.direction} left {lasted_seconds:.0f} s, and what is due may take {takes_seconds:.0f} s: "
        f"set {step.direction}_seconds higher"
    )
    return absent(name, reason, {"step": str(step.number)})


def _cost(view: View, step: Step) -> Iterator[Reading]:
    """Device-seconds held and not needed, needed and not held, within the step."""
    demand = demand_devices(view, step)
    if np.isnan(demand):
        return
    needed = Signal(times_seconds=np.array([step.start_seconds]), values=np.array([max(1.0, demand)]))
    spent = provisioning(view.desired, needed, start_seconds=step.start_seconds, end_seconds=step.end_seconds)
    yield one("over_provisioned_device_seconds", spent.over_device_seconds, step.labels)
    yield one("under_provisioned_device_seconds", spent.under_device_seconds, step.labels)


def idle(view: View) -> Iterator[Reading]:
    """Changes of the replicas in the time without load."""
    desired = view.desired
    for window in view.measurements("idle_control_seconds") if desired.values.size else ():
        start, end = float(window.times_seconds[0]), float(window.times_seconds[-1])
        inside = (desired.times_seconds > start) & (desired.times_seconds <= end)
        course = np.concatenate([desired.at(np.array([start])), desired.values[inside]])
        known = course[~np.isnan(course)]
        yield one("scaled_while_idle_total", float(np.count_nonzero(np.diff(known))))
