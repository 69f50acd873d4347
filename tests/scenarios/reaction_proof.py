"""
The reactions of many steps against the distribution that the measured intervals predict, by Kolmogorov and Smirnov.

Then the exporter collects at half the rate, told to nobody, and the same prediction is to fail.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from bench.analysis.autoscaling.reacting import predicted_reactions
from bench.analysis.autoscaling.view import View
from bench.analysis.intervals import ks_test
from bench.lab.faults.planting import planted
from bench.model.measurement import Absent, FloatArray, Measurement, Reading
from tests.lab.running import RunningLab
from tests.scenarios.trying import made, of, rig_on

CLOCKS: Final = {"collect": 2.5, "scrape": 0.7, "sync": 1.1}
"""Seconds; no multiples of each other: phases that stay in step within a run show one of them again and again."""
LAB: Final = (
    *("--nodes", "1", "--exporter-interval", str(CLOCKS["collect"])),
    *("--scrape-interval", str(CLOCKS["scrape"]), "--hpa-sync", str(CLOCKS["sync"])),
)
STEPS: Final = 26
FEWEST: Final = 20
"""A step at which the device or the decision was not seen has no reaction that could be compared."""
REFUSED_BELOW: Final = 0.01
TRIED: Final[Mapping[str, object]] = {
    "model": "lab-llama",
    "max_replicas": 2,
    "load_over_capacity": 1.4,
    "prompt_tokens": 8,
    "output_tokens": 8,
    "drain_seconds": 0,
    "idle_seconds": 2,
    "calibration_seconds": 6,
    "collect_interval_seconds": CLOCKS["collect"],
    "stabilization_seconds": 0,
    "up_seconds": 8.5,
    "down_seconds": 30,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactionProof:
    """The reactions, and how likely they are under the prediction from the sound run's intervals."""

    intervals_seconds: Mapping[str, float]
    """As the sound run measured them."""
    predicted_mean_seconds: float
    sound_seconds: tuple[float, ...]
    sound_p_value: float
    doubled_seconds: tuple[float, ...]
    doubled_p_value: float
    not_seen: tuple[str, ...]
    """Why steps of the sound run have no reaction that could be compared."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def prove_reactions(lab: RunningLab, steps: int = STEPS) -> ReactionProof:
    """Two runs on one lab, the second with the exporter at half its rate."""
    sound, view = _reactions(lab, steps, "sound")
    with planted(lab.name, "exporter-slow", factor=2):
        doubled, _ = _reactions(lab, steps, "doubled")
    processing = float(np.median(_stage(view, "metrics-api")))
    predicted = predicted_reactions(view.readings_view, max(0.0, processing))
    assert predicted is not None, "every clock was seen"
    return ReactionProof(
        intervals_seconds=dict(view.readings_view.clocks),
        predicted_mean_seconds=float(predicted.mean()),
        sound_seconds=tuple(np.round(sound, 3).tolist()),
        sound_p_value=ks_test(sound, predicted).p_value,
        doubled_seconds=tuple(np.round(doubled, 3).tolist()),
        doubled_p_value=ks_test(doubled, predicted).p_value,
        not_seen=tuple(
            f"step {each.labels['step']}: {each.reason}"
            for each in of(view.derived, "reaction_after_device_seconds")
            if isinstance(each, Absent)
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    readings_view: View
    derived: Sequence[Reading]


def _reactions(lab: RunningLab, steps: int, name: str) -> tuple[FloatArray, _Seen]:
    scenario: Any = made("pod-autoscaling", **TRIED, repeats=steps, seed=len(name))
    readings: list[Reading] = []
    with rig_on(lab.name, f"reactions-{name}") as rig:
        for reading in scenario.run(rig):
            readings.append(reading)
            if reading.name == "load_rate_per_second" and reading.labels["direction"] == "down":
                sys.stderr.write(f"{name}: step {reading.labels['step']} of {steps}" + "\n")
    derived = list(scenario.analyse(tuple(readings)))
    found = [each for each in of(derived, "reaction_after_device_seconds") if isinstance(each, Measurement)]
    seen = np.array([float(each.values[0]) for each in found])
    return seen, _Seen(readings_view=View(readings, scenario.rules()), derived=derived)


def _stage(seen: _Seen, stage: str) -> list[float]:
    found = of(seen.derived, "stage_seconds", direction="up", stage=stage)
    return [float(each.values[0]) for each in found if isinstance(each, Measurement)]
