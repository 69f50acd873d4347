"""What can be planted against secure-accelerator-access, and by which of its checks it is to be found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bench.evidence.judging import Judgement
from tests.lab.running import RunningLab
from tests.scenarios.trying import judged, made, rig_on

SCENARIO: Final = "secure-accelerator-access"
LAB: Final = ("--nodes", "1", "--gpus", "4", "--allocation", "both")
LOOKS: Final = "control,none,pair,second-container,bypass,residue"
"""Parts whose pods run for a fraction of a second."""
QUICK: Final[Mapping[str, object]] = {
    "parts": LOOKS,
    "repeats": 1,
    "hold_seconds": 1.5,
    "memory_bytes": 16 << 20,
    "window_seconds": 1.5,
    "windows": 13,
    # windows of so little time on a machine that does other things tell a device of half the speed, and no twentieth
    "slowdown_budget_ratio": 0.25,
    "burn_image": "gpu-bench:0.1.0",
    "pod_seconds": 60,
}
SEED_CHECK: Final = "nbody_results_without_request_total"
SLOW: Final = "neighbours-slow"
"""Not a leak that a pod sees: it is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """What a fault of the lab lets out."""

    found_by: tuple[str, ...]
    """The measurement of the one check that is to find it; a second one where the part `seed` is run too."""
    parts: str = LOOKS
    allocation: str = ""
    """By which alone devices are asked for, where the leak is of one way; empty: by every way."""


LEAKS: Final[Mapping[str, Leak]] = {
    "device-leaked": Leak(found_by=("seen_without_request_total", SEED_CHECK)),
    "device-hidden": Leak(found_by=("holder_sees_other_than_one_total",), parts="control"),
    "visible-devices-honoured": Leak(found_by=("devices_seen_by_bypass_total",)),
    "foreign-device-opens": Leak(found_by=("foreign_devices_reached_total",)),
    "second-container-leak": Leak(found_by=("seen_by_second_container_total",)),
    "two-pods-one-device": Leak(found_by=("holders_beyond_shares_total",), allocation="device-plugin"),
    "claim-ignored": Leak(found_by=("seen_other_than_allocated_total",)),
    "memory-not-scrubbed": Leak(found_by=("marks_of_earlier_owners_total",)),
    "pod-security-off": Leak(found_by=("host_path_devices_admitted_total",)),
    SLOW: Leak(found_by=("slowdown_at_least_ratio",), parts="interference"),
}
"""By fault."""


def tried(lab: RunningLab, run_id: str, **parameters: object) -> Judgement:
    """The scenario, quickly."""
    scenario = made(SCENARIO, **{**QUICK, **parameters})
    with rig_on(lab.name, run_id) as rig:
        return judged(scenario, list(scenario.run(rig)))
