"""The scenario `accelerator-metrics` passes on a sound lab, and names each planted fault by the check meant for it."""

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.evidence.reader import load_run
from bench.lab.faults.planting import clear, plant
from bench.model.measurement import Measurement
from tests.lab.asking import query, wait_until
from tests.lab.running import RunningLab, bench, bring_up, unique_name

pytestmark = [pytest.mark.lab, pytest.mark.measures]

SCENARIO = "accelerator-metrics"
LAB = ("--gpus", "4", "--gpu-cores", "0.2", "--exporter-interval", "1", "--scrape-interval", "1")
"""Eight devices, six of them with work, half of the time: about one core."""
DURATION_SECONDS = 30.0
RUN_SECONDS = 200.0

BUSY, POWER, MEMORY = "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_FB_USED"
ENERGY, TEMPERATURE = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "DCGM_FI_DEV_GPU_TEMP"

PLANTS: tuple[tuple[str, int, Mapping[str, str], str, str], ...] = (
    ("series-frozen", 0, {"field": BUSY}, "frozen_seconds", "gpu_busy_time_ratio"),
    ("wrong-unit", 2, {"field": POWER, "factor": "1000"}, "unit_factor_ratio", "gpu_power_watts"),
    ("sentinel-leaked", 3, {"field": MEMORY}, "sentinels_total", "gpu_memory_used_bytes"),
    ("counter-reset", 2, {"field": ENERGY}, "counter_resets_total", "gpu_energy_joules"),
    ("series-dropped", 3, {"field": TEMPERATURE}, "coverage_ratio", "gpu_temperature_celsius"),
    ("wrong-pod", 4, {}, "wrong_pods_total", ""),
    ("missing-pod-label", 5, {}, "missing_labels_total", ""),
    ("duplicated-series", 0, {}, "duplicates_total", ""),
)
"""Fault, which of the devices with work, arguments, the check meant for it, and the quantity that it names."""


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    running = bring_up(unique_name("fidelity"), *LAB)
    yield running
    down = bench("lab", "down", "--name", running.name)
    assert down.returncode == 0, down.stderr


class Trial:
    """One run of the scenario on a lab, in the background."""

    def __init__(self, lab: RunningLab, results: Path, **settings: float | str) -> None:
        wanted = {"duration_seconds": DURATION_SECONDS, "start_seconds": 60, "memory_bytes": 1 << 29, **settings}
        words = [word for key, value in wanted.items() for word in ("--set", f"{SCENARIO}.{key}={value}")]
        self._results = results
        self._arguments = ("run", SCENARIO, "--target", f"lab:{lab.name}", "--results", str(results), "--json", *words)
        self._told = ""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        done = bench(*self._arguments, within_seconds=RUN_SECONDS)
        self._told = done.stdout or done.stderr

    def end(self) -> "Trial":
        self._thread.join(RUN_SECONDS + 10.0)
        return self

    def checks(self, verdict: str) -> dict[str, Any]:
        """By measurement the checks with this verdict."""
        (outcome,) = json.loads(self._told)["scenarios"]
        return {each["measurement"]: each for each in outcome["checks"] if each["verdict"] == verdict}

    def blamed(self, measurement: str) -> set[tuple[str, str]]:
        """Device and quantity of each reading that keeps no bound."""
        (folder,) = (path.parent for path in self._results.glob("*/run.json"))
        return {
            (each.labels["uuid"], each.labels.get("quantity", ""))
            for each in load_run(folder).readings(SCENARIO, [])
            if each.name == measurement and isinstance(each, Measurement) and _is_bad(each)
        }


def _is_bad(reading: Measurement) -> bool:
    if reading.name == "unit_factor_ratio":
        return float(reading.values[0]) != 1.0
    if reading.name == "coverage_ratio":
        return float(reading.values.max()) < 0.98
    return float(reading.values.max()) > 0.0


def working(lab: RunningLab) -> list[str]:
    """The devices that the pods with work are named at, in the order of the pods; empty until all are."""
    series = query(lab, f'{BUSY}{{exported_pod=~"burn-.*"}}')
    found = {each["metric"]["exported_pod"]: each["metric"]["UUID"] for each in series}
    return [uuid for _, uuid in sorted(found.items())] if len(found) == 6 else []


def test_a_sound_lab_passes_every_check(lab: RunningLab, tmp_path: Path) -> None:
    trial = Trial(lab, tmp_path, devices=4).end()

    assert trial.checks("fail") == {}
    assert trial.checks("inconclusive") == {}
    assert len(trial.checks("pass")) > 20


def test_each_fault_is_named_by_the_check_meant_for_it_and_no_other(lab: RunningLab, tmp_path: Path) -> None:
    trial = Trial(lab, tmp_path, devices=6)
    devices = wait_until(lambda: working(lab), within_seconds=60)
    wait_until(lambda: query(lab, f"{BUSY} > 50"), within_seconds=60)
    for fault, place, arguments, _, _ in PLANTS:
        plant(lab.name, fault, {"device": devices[place], **arguments})
    plant(lab.name, "ghost-pod", {})
    trial.end()
    clear(lab.name)

    expected = {measurement for _, _, _, measurement, _ in PLANTS} | {"ghosts_total"}
    assert set(trial.checks("fail")) == expected
    for fault, place, _, measurement, quantity in PLANTS:
        assert trial.blamed(measurement) == {(devices[place], quantity)}, fault


def test_an_exporter_that_collects_too_seldom_is_named_by_its_interval(lab: RunningLab, tmp_path: Path) -> None:
    plant(lab.name, "exporter-slow", {"factor": "6"})
    trial = Trial(lab, tmp_path, devices=2, dwell_seconds=8.0).end()
    clear(lab.name)

    assert set(trial.checks("fail")) == {"collect_interval_measured_to_configured_ratio"}
