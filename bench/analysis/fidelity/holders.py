"""
The truth of attribution: which devices a pod saw inside of itself, and from when to when its container ran.

The devices are told by the pod's own program (a JSON line with `devices`), the times by the kubelet; labels are held
against both.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from bench.analysis.fidelity.devices import ASKED_DUTY, ASKED_OCCUPANCY, HOLDING
from bench.model.measurement import Absent, Measurement, Reading, Source
from bench.model.units import Unit

_STATEMENT = "the pod's own log: devices by NVML inside of it"


def holder_readings(pod: Mapping[str, Any], log: str, *, ended_seconds: float) -> Iterator[Reading]:
    """A holding for each device that the pod saw, and the duty cycles and occupancies that it kept there."""
    labels = {"namespace": pod["metadata"]["namespace"], "pod": pod["metadata"]["name"]}
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    uuids = [uuid for line in lines for uuid in line.get("devices", ())]
    span = container_span(pod, ended_seconds=ended_seconds)
    if not uuids or span is None:
        reason = "it saw no device" if span else "its container never ran"
        yield Absent(name=HOLDING, source=Source.WORKLOAD, statement=_STATEMENT, reason=reason, labels=labels)
        return
    kept = [line for line in lines if "memory_bytes" in line]
    times = tuple(line["utc_seconds"] for line in kept)
    for uuid in uuids:
        yield _told(HOLDING, Unit.SECONDS, span, (), {**labels, "uuid": uuid})
        if kept:
            for name, key in ((ASKED_DUTY, "duty_ratio"), (ASKED_OCCUPANCY, "occupancy_ratio")):
                values = tuple(line[key] for line in kept)
                yield _told(name, Unit.RATIO, values, times, {**labels, "uuid": uuid})


def _told(
    name: str, unit: Unit, values: tuple[float, ...], times: tuple[float, ...], labels: Mapping[str, str]
) -> Measurement:
    return Measurement(
        name=name,
        unit=unit,
        values=values,
        times_seconds=times,
        source=Source.WORKLOAD,
        statement=_STATEMENT,
        labels=labels,
    )


def container_span(pod: Mapping[str, Any], *, ended_seconds: float) -> tuple[float, float] | None:
    """From the first start of a container to the last end; until now where one runs; None where none ever ran."""
    states = [each.get("state", {}) for each in pod.get("status", {}).get("containerStatuses") or ()]
    started, finished = [], []
    for state in states:
        phase = state.get("running") or state.get("terminated") or {}
        if phase.get("startedAt"):
            started.append(_utc_seconds(phase["startedAt"]))
            finished.append(_utc_seconds(phase["finishedAt"]) if phase.get("finishedAt") else ended_seconds)
    return (min(started), max(finished)) if started else None


def _utc_seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
