"""Devices and answers: whether each pod held one of its own, served, and lost nothing; and what the metric showed."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from bench.analysis.autoscaling.view import GATEWAY_SECONDS, View, absent, one
from bench.model.measurement import Reading

LEAST_CHANCE: Final = 0.001
"""Silence that is less likely than this is no chance."""
START_PATIENCE: Final = 5.0
"""As many times as long as a pod of this run took to be Ready, one may take that starts while devices are loaded: a
model on a full device was seen to take four times as long."""


def devices(view: View) -> Iterator[Reading]:
    """Pods without a device, and pairs of pods that had one device at a time."""
    ready = [pod for pod, seen in view.moments.items() if "ready" in seen]
    if not ready:
        for name in ("pods_without_a_device_total", "pods_that_share_a_device_total"):
            yield absent(name, "no pod became Ready")
        return
    held: dict[str, set[str]] = defaultdict(set)
    for pod, uuid, _, _ in view.holdings:
        held[pod].add(uuid)
    spans = {pod: _served(view, pod) for pod in ready}
    shared = [
        (pod, other)
        for pod in spans
        for other in spans
        if pod < other and held[pod] & held[other] and _overlap(spans[pod], spans[other])
    ]
    yield one("pods_without_a_device_total", float(sum(not held[pod] for pod in ready)))
    yield one("pods_that_share_a_device_total", float(len(shared)))


def _overlap(span: tuple[float, float], other: tuple[float, float]) -> bool:
    return span[0] < other[1] and other[0] < span[1]


def readiness(view: View) -> Reading:
    """
    How many replicas were created, had time enough, and never were Ready.

    One that was deleted before its time, by an autoscaler that changed its mind, is named and not counted.
    """
    name = "replicas_never_ready_total"
    took = [seen["ready"] - seen["created"] for seen in view.moments.values() if {"ready", "created"} <= seen.keys()]
    if not took or not view.steps:
        return absent(name, "no pod became Ready")
    patience_seconds = START_PATIENCE * float(np.median(took))
    end = max(step.end_seconds for step in view.steps)
    never = {pod: seen for pod, seen in view.moments.items() if "ready" not in seen and "created" in seen}
    late = {
        pod: seen
        for pod, seen in never.items()
        if min(seen.get("deleted", end), end) - seen["created"] >= patience_seconds
    }
    labels = {
        "not_scheduled": [pod for pod, seen in late.items() if "scheduled" not in seen],
        "not_ready": [pod for pod, seen in late.items() if "scheduled" in seen],
        "too_short_for": [pod for pod in never if pod not in late],
    }
    return one(name, float(len(late)), {key: " ".join(sorted(pods)) for key, pods in labels.items() if pods})


def answers(view: View) -> Iterator[Reading]:
    """Ready pods that never answered; requests that failed, and those that were late, of each step."""
    yield silence(view)
    for step in view.steps:
        failed = sum(each.values.size for each in view.measurements("request_failed_total", step.labels))
        yield one("requests_failed_total", float(failed), step.labels)
        waits = [each.values for each in view.measurements("request_ttft_seconds", step.labels)]
        if waits:
            late = np.concatenate(waits) > view.rules.ttft_slo_seconds
            yield one("requests_late_ratio", float(late.mean()), step.labels)


def silence(view: View) -> Reading:
    """
    How many Ready pods never answered although requests enough came while they served.

    A pod that lived through few requests may have had none by chance; it is named as such and is not counted.
    """
    name = "ready_pods_that_never_answered_total"
    ready = {pod for pod, seen in view.moments.items() if "ready" in seen}
    quiet = sorted(ready - view.answers.keys())
    silent = [pod for pod in quiet if chance_of_silence(view, pod) < LEAST_CHANCE]
    undecided = [pod for pod in quiet if pod not in silent]
    if not ready - set(undecided):
        return absent(name, "no pod was Ready while requests enough came to tell")
    labels = {"pods": silent, "too_few_requests_for": undecided}
    return one(name, float(len(silent)), {key: " ".join(pods) for key, pods in labels.items() if pods})


def chance_of_silence(view: View, pod: str) -> float:
    """
    How likely a pod that serves gets none of the requests that were sent in its time, were each sent to one of the
    Ready pods at random: `(1 - 1 / pods) ** requests`. A Gateway that takes turns leaves none out for so long.
    """
    start, end = _served(view, pod)
    since = start + GATEWAY_SECONDS
    count = int(np.count_nonzero((view.sent_seconds >= since) & (view.sent_seconds < end)))
    spans = [_served(view, other) for other, seen in view.moments.items() if "ready" in seen]
    pods = sum(_overlap(span, (since, end)) for span in spans)
    return float((1.0 - 1.0 / pods) ** count) if pods else 1.0


def _served(view: View, pod: str) -> tuple[float, float]:
    """From when until when a Ready pod is to get requests."""
    seen = view.moments[pod]
    return seen["ready"], seen.get("deleted", np.inf)


def agreement(view: View) -> Iterator[Reading]:
    """What the HPA is given against what the devices do, idle and at full load; and whether its target lies between."""
    for state in ("idle", "full"):
        for source in ("device", "metrics-api"):
            name = f"{state}_{source.replace('-', '_')}_metric_value"
            found = _calibrated(view, state, source)
            yield (
                one(name, found) if not np.isnan(found) else absent(name, f"nothing was seen of {source} when {state}")
            )
    device, served = (_calibrated(view, "full", source) for source in ("device", "metrics-api"))
    if np.isnan(device) or np.isnan(served) or not device:
        reason = "the metric was not seen on both sides at full load"
        yield absent("metrics_api_to_device_ratio", reason)
    else:
        yield one("metrics_api_to_device_ratio", served / device)
    yield one("target_to_full_device_ratio", view.rules.hpa.target / served if served else float("nan"))
    yield from _coverage(view)


def _calibrated(view: View, state: str, source: str) -> float:
    """The median of what a source showed while the replica was idle, or full; NaN where nothing was seen."""
    for window in view.measurements("calibration_seconds", {"at": state}):
        signal = view.signal("metrics_api_metric_value")
        if source == "device":
            signal = view.device_sum("gpu_busy_time_ratio", view.rules.saturation)
        inside = (signal.times_seconds >= window.times_seconds[0]) & (signal.times_seconds <= window.times_seconds[-1])
        return float(np.median(signal.values[inside])) if inside.any() else float("nan")
    return float("nan")


def _coverage(view: View) -> Iterator[Reading]:
    """Of the devices that our pods held, the share that Prometheus has samples of, under the pod's own name."""
    held = {(pod, uuid) for pod, uuid, _, _ in view.holdings}
    if not held:
        yield absent("devices_in_prometheus_ratio", "which devices the pods held is not known")
        return
    stored = [each.labels for each in view.measurements("prometheus_metric_value")]
    seen = {(pod, uuid) for pod, uuid in held if _is_stored(stored, pod, uuid)}
    yield one("devices_in_prometheus_ratio", len(seen) / len(held))


def _is_stored(stored: Sequence[Mapping[str, str]], pod: str, uuid: str) -> bool:
    return any(each.get("UUID") == uuid and each.get("exported_pod", each.get("pod", pod)) == pod for each in stored)
