"""
A delay planted in one stage at a time: that stage, and only it, is to be named, up and down.

One run with a step for each stage. What the lab itself wrote of the same moments is held against what was seen.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from bench.analysis.autoscaling.view import Step, View
from bench.lab.faults.planting import planted
from bench.model.measurement import Measurement, Reading
from tests.lab.running import RunningLab
from tests.scenarios.trying import made, of, rig_on

DELAY_SECONDS: Final = 8.0
"""Beyond the worst case of every stage, whose clocks are short here."""
LOOK_SECONDS: Final = 0.1
BOTH_WAYS: Final = ("exporter", "prometheus", "metrics-api", "decision")
UP_ONLY: Final = ("pod-created", "scheduled", "started", "ready", "serving")
DOWN_ONLY: Final = ("pod-deleted", "last-answer", "device-free")
STAGES: Final = ("", *BOTH_WAYS, *UP_ONLY, *DOWN_ONLY, "")
"""What is planted in each step; the first and the last are without."""
LAB: Final = ("--nodes", "1", "--exporter-interval", "1", "--scrape-interval", "1", "--hpa-sync", "2")
THRESHOLD: Final = 80.0
"""A tenth of the device's percent: the lab's log has a line when one is crossed."""
TRIED: Final[Mapping[str, object]] = {
    "model": "lab-llama",
    "target": f"{THRESHOLD / 1.1:.6f}",
    "max_replicas": 2,
    "load_over_capacity": 1.4,
    # at equal distances: a device that rests goes above the threshold at no second, and each pod is asked in its turn
    "arrivals": "constant",
    "down_over_capacity": 0.3,
    "prompt_tokens": 8,
    "output_tokens": 8,
    "drain_seconds": 1,
    "idle_seconds": 4,
    "calibration_seconds": 8,
    "collect_interval_seconds": 1,
    "stabilization_seconds": 2,
    "up_seconds": 21,
    "down_seconds": 45,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """One direction of one step: what was planted, and what was named."""

    step: int
    direction: str
    planted: str
    named: tuple[str, ...]
    longer_seconds: float | None
    """What the planted stage took, less what it takes without a delay."""
    sum_less_total_seconds: float
    seen: tuple[str, ...]
    """Each stage with its seconds, or why it is absent."""

    @property
    def is_right(self) -> bool:
        """The planted stage, and only it."""
        return self.named == ((self.planted,) if self.planted else ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Off:
    """One sighting against the lab's own log."""

    step: int
    direction: str
    stage: str
    off_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProof:
    """All that the run showed."""

    named: tuple[Named, ...]
    off: tuple[Off, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def prove_stages(lab: RunningLab, stages: Sequence[str] = STAGES) -> StageProof:
    """Run, and hold what was derived against what was planted and logged."""
    scenario: Any = made("pod-autoscaling", **TRIED, repeats=len(stages))
    readings = run_stages(lab, scenario, stages)
    return hold(scenario, readings, _events(lab), stages)


def hold(scenario: Any, readings: Sequence[Reading], events: Sequence[Any], stages: Sequence[str]) -> StageProof:
    """What was seen, against what was planted and what the lab's log says."""
    derived = list(scenario.analyse(tuple(readings)))
    view = View(readings, scenario.rules())
    return StageProof(named=tuple(_named(derived, stages)), off=tuple(_off(view, derived, events, stages)))


def run_stages(lab: RunningLab, scenario: Any, stages: Sequence[str]) -> list[Reading]:
    """The readings of one run with a step for each of the stages, each with its delay planted."""
    readings: list[Reading] = []
    with rig_on(lab.name, "stage-proof") as rig, ExitStack() as fault:
        for reading in scenario.run(rig):
            readings.append(reading)
            following = _step_after(reading)
            if following:
                if following > 1 and stages[following - 2] == "device-free":
                    _wait_until_free(lab, since=reading)
                fault.close()
            if 0 < following <= len(stages) and (stage := stages[following - 1]):
                sys.stderr.write(f"step {following} of {len(stages)}: {stage}\n")
                fault.enter_context(planted(lab.name, "slow-stage", stage=stage, seconds=DELAY_SECONDS))
                # what is shown that much later is of the step before, for as long
                threading.Event().wait(DELAY_SECONDS)
    return readings


def _wait_until_free(lab: RunningLab, *, since: Reading) -> None:
    """A device that is let go late is so after the step, which this reading tells of."""
    assert isinstance(since, Measurement)
    deadline = time.monotonic() + 2.0 * DELAY_SECONDS
    freed = None
    while freed is None and time.monotonic() < deadline:
        threading.Event().wait(LOOK_SECONDS)
        freed = _first(_events(lab), "device-memory-freed", since=float(since.times_seconds[0]))


def _events(lab: RunningLab) -> list[Any]:
    """All whole lines of the lab's log."""
    whole, _, _ = lab.paths.truth.read_text(encoding="utf-8").rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def _step_after(reading: Reading) -> int:
    """The number of the step that comes next, where this reading is the last before it; 0 elsewhere."""
    if reading.name == "idle_control_seconds":
        return 1
    if reading.name == "load_rate_per_second" and reading.labels["direction"] == "down":
        return int(reading.labels["step"]) + 1
    return 0


def is_planted(stage: str, direction: str) -> bool:
    """Whether a delay of this stage is one of this direction."""
    return stage in BOTH_WAYS or stage in (UP_ONLY if direction == "up" else DOWN_ONLY)


def _named(derived: Sequence[Reading], stages: Sequence[str]) -> Iterator[Named]:
    for number, stage in enumerate(stages, start=1):
        for direction in ("up", "down"):
            labels = {"step": str(number), "direction": direction}
            there = stage if is_planted(stage, direction) else ""
            (total,) = of(derived, "stages_together_seconds", **labels)
            yield Named(
                step=number,
                direction=direction,
                planted=there,
                named=tuple(each.labels["stage"] for each in of(derived, "stage_excess_seconds", **labels)),
                longer_seconds=_longer(derived, labels, stages) if there else None,
                sum_less_total_seconds=round(sum(_values(derived, **labels)) - float(total.values[0]), 9),
                seen=tuple(_told(each) for each in of(derived, "stage_seconds", **labels)),
            )


def _told(reading: Reading) -> str:
    seen = f"{reading.values[0]:.2f} s" if isinstance(reading, Measurement) else reading.reason
    return f"{reading.labels['stage']}: {seen}"


def _longer(derived: Sequence[Reading], labels: Mapping[str, str], stages: Sequence[str]) -> float | None:
    stage, direction = stages[int(labels["step"]) - 1], labels["direction"]
    usual = [
        value
        for number, other in enumerate(stages, start=1)
        if not other
        for value in _values(derived, step=str(number), direction=direction, stage=stage)
    ]
    seen = _values(derived, **labels, stage=stage)
    return float(seen[0] - np.median(usual)) if seen and usual else None


def _values(derived: Sequence[Reading], **labels: str) -> list[float]:
    found = of(derived, "stage_seconds", **labels)
    return [float(each.values[0]) for each in found if isinstance(each, Measurement)]


def _off(view: View, derived: Sequence[Reading], events: Sequence[Any], stages: Sequence[str]) -> Iterator[Off]:
    for step in view.steps:
        at = step.start_seconds
        for each in of(derived, "stage_seconds", step=str(step.number), direction=step.direction):
            if isinstance(each, Measurement):
                at += float(each.values[0])
                true = _truth(each.labels["stage"], view, step, events)
                # a stage that was made late is told as late by the lab's log, or is not told by it
                if true is not None and stages[step.number - 1] != each.labels["stage"]:
                    yield Off(
                        step=step.number,
                        direction=step.direction,
                        stage=each.labels["stage"],
                        off_seconds=round(at - true, 4),
                    )


def _truth(stage: str, view: View, step: Step, events: Sequence[Any]) -> float | None:
    """When the stage really ended, by the lab's log and nothing of ours but the step's time and the pod's name."""
    after = [each for each in events if each["utc_seconds"] >= step.start_seconds]
    pod = _pod(view, step)
    own = [each for each in after if each.get("pod") == pod]
    busy = _crossed(view, step, after)
    match stage:
        case "device" if step.direction == "up":
            return busy
        case "exporter" if busy is not None and step.direction == "up":
            return _first(after, "exporter-refreshed", since=busy)
        case "started":
            starts = [each["utc_seconds"] for each in own if each["event"] == "container-started"]
            return max(starts, default=None)
        case "ready":
            return _first(own, "pod-ready")
        case "device-free":
            return _first(own, "device-memory-freed")
    return None


def _pod(view: View, step: Step) -> str:
    moment = "created" if step.direction == "up" else "deleted"
    times = {seen[moment]: pod for pod, seen in view.moments.items() if seen.get(moment, 0) >= step.start_seconds}
    return times[min(times)] if times else ""


def _crossed(view: View, step: Step, events: Sequence[Any]) -> float | None:
    ours = {uuid for _, uuid, start, _ in view.holdings if start < step.start_seconds}
    level = THRESHOLD / 100.0
    crossings = [
        each
        for each in events
        if each["event"] == "device-utilization-crossed"
        and each["uuid"] in ours
        and each["utilization_ratio"] >= level
        and each["direction"] == "up"
    ]
    return crossings[0]["utc_seconds"] if crossings else None


def _first(events: Sequence[Any], name: str, *, since: float = 0.0) -> float | None:
    return next(
        (each["utc_seconds"] for each in events if each["event"] == name and each["utc_seconds"] >= since), None
    )
