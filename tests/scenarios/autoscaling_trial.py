"""The scenario on a small lab with short clocks, sound or with something wrong with the platform."""

import secrets
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from bench.lab.faults.planting import planted
from bench.model.measurement import Reading
from tests.lab.running import RunningLab
from tests.scenarios.trying import made, rig_on

LAB = ("--nodes", "1", "--gpus", "3", "--exporter-interval", "1", "--scrape-interval", "1", "--hpa-sync", "2")
QUICK: Mapping[str, object] = {
    "model": "lab-llama",
    "max_replicas": 2,
    "load_over_capacity": 1.4,
    "prompt_tokens": 8,
    "output_tokens": 8,
    "ttft_slo_seconds": 2,
    "drain_seconds": 4,
    "idle_seconds": 3,
    "calibration_seconds": 6,
    "collect_interval_seconds": 1,
    "stabilization_seconds": 2,
    "repeats": 1,
    "up_seconds": 13,
    "down_seconds": 15,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """What is wrong with a platform, and the checks that are meant for it."""

    found_by: set[str]
    faults: Mapping[str, Mapping[str, float | str]] = field(default_factory=dict)
    after: str = "idle_control_seconds"
    """The reading after whose first one the faults are planted; empty: before the first."""
    devices_of_others: int = 0
    """Held by a pod that has nothing to do with it."""
    parameters: Mapping[str, object] = field(default_factory=dict)


def tried(lab: RunningLab, wrong: Wrong | None = None) -> tuple[Any, list[Reading]]:
    """The scenario and its readings, with the faults planted at their time."""
    told = wrong or Wrong(found_by=set())
    # what is wrong shows on the way up; nobody waits for the way down
    way_down = {"down_seconds": 1} if wrong else {}
    scenario: Any = made("pod-autoscaling", **{**QUICK, **way_down, **told.parameters})
    readings: list[Reading] = []
    is_planted = False
    # the faults end before the rig does: without its adapter a control plane cannot finalise a namespace
    with rig_on(lab.name, f"trial-{secrets.token_hex(2)}") as rig, ExitStack() as planting:

        def plant() -> None:
            for name, arguments in told.faults.items():
                planting.enter_context(planted(lab.name, name, **arguments))

        if not told.after:
            plant()
        if told.devices_of_others:
            rig.create(_other(rig.namespace("others"), told.devices_of_others))
        for reading in scenario.run(rig):
            readings.append(reading)
            if reading.name == told.after and not is_planted:
                is_planted = True
                plant()
    return scenario, readings


def _other(namespace: str, devices: int) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "busybox",
        "command": ["sleep", "600"],
        "resources": {"limits": {"nvidia.com/gpu": devices}},
    }
    metadata = {"name": "other", "namespace": namespace}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
