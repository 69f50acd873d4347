"""What the README shows is what the program says: the verdict table of a committed run, and the table of scenarios."""

from pathlib import Path

from bench.evidence.reader import StoredRun, load_run
from bench.model.measurement import Measurement
from bench.registry import discover

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RUN = load_run(next(path.parent for path in sorted((ROOT / "results").glob("*/run.json"))))


def verdict_table(run: StoredRun) -> list[str]:
    rows = ["| verdict | claim | observed | bound |", "|---|---|---|---|"]
    for outcome in run.outcomes:
        for check in outcome.checks:
            observed = "" if check.observed is None else f"{check.observed:.3g}"
            rows.append(f"| {check.verdict} | {check.claim} | {observed} | {check.bound} |")
    return rows


def stage_table(run: StoredRun, scenario: str) -> list[str]:
    rows = ["| stage of a step up | seconds, each repetition |", "|---|---|"]
    durations: dict[str, list[str]] = {}
    for reading in run.readings(scenario, []):
        if reading.name == "stage_seconds" and reading.labels["direction"] == "up":
            told = f"{reading.values[0]:.2f}" if isinstance(reading, Measurement) else "absent"
            durations.setdefault(reading.labels["stage"], []).append(told)
    return [*rows, *(f"| {stage} | {', '.join(told)} |" for stage, told in durations.items())]


def scenario_table() -> list[str]:
    rows = ["| id | requirement | claim |", "|---|---|---|"]
    return [*rows, *(f"| `{each.id}` | `{each.requirement}` | {each.claim} |" for each in discover())]


def test_the_verdicts_shown_are_those_of_a_committed_run() -> None:
    assert "\n".join(verdict_table(RUN)) in README


def test_the_stages_shown_are_those_of_the_same_run() -> None:
    assert "\n".join(stage_table(RUN, "pod-autoscaling")) in README


def test_the_run_that_is_shown_is_whole_and_named_with_what_it_ran_on() -> None:
    assert RUN.warnings == ()
    assert RUN.record.run_id in README
    assert "embedded" in RUN.record.fidelity


def test_the_scenarios_shown_are_those_that_there_are() -> None:
    assert "\n".join(scenario_table()) in README
