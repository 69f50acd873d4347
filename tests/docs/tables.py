"""What the README shows of the program and of the newest committed run, made from these."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bench.evidence.reader import StoredRun, load_run
from bench.model.measurement import Measurement
from bench.registry import discover

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
SHOWN: Final = "pod-autoscaling"


def newest_run(root: Path = ROOT / "results") -> StoredRun:
    """The newest committed run of the scenario that the README shows; ids begin with the time of their run."""
    folders = [path.parent.parent for path in root.glob(f"*/{SHOWN}/evidence.json")]
    return load_run(max(folders, key=lambda folder: folder.name))


def verdicts() -> str:
    """On what it ran, and every check."""
    run = newest_run()
    record = run.record
    cpus = record.environment.get("cpus", "?")
    rows = [
        (
            f"Run `{record.run_id}`, **{record.fidelity.value}**: {record.target}, Kubernetes {record.server_version}, "
            f"a machine with {cpus} cores. Kept whole in `results/{record.run_id}`."
        ),
        "",
        "| verdict | claim | observed | bound |",
        "|---|---|---|---|",
    ]
    for outcome in run.outcomes:
        for check in outcome.checks:
            observed = "" if check.observed is None else f"{check.observed:.3g}"
            rows.append(f"| {check.verdict} | {check.claim} | {observed} | {check.bound} |")
    return "\n".join(rows)


def stages() -> str:
    """Each repetition's stages of a load step up."""
    durations: dict[str, list[str]] = {}
    for reading in newest_run().readings(SHOWN, []):
        if reading.name == "stage_seconds" and reading.labels["direction"] == "up":
            told = f"{reading.values[0]:.2f}" if isinstance(reading, Measurement) else "absent"
            durations.setdefault(reading.labels["stage"], []).append(told)
    rows = ["| stage of a step up | seconds, each repetition |", "|---|---|"]
    return "\n".join([*rows, *(f"| {stage} | {', '.join(told)} |" for stage, told in durations.items())])


def scenarios() -> str:
    """Every scenario that `bench list` shows."""
    rows = ["| id | requirement | claim |", "|---|---|---|"]
    return "\n".join([*rows, *(f"| `{each.id}` | `{each.requirement}` | {each.claim} |" for each in discover())])


def evidence() -> str:
    """One check as it lies in the run's evidence.json, the timing one."""
    path = newest_run().folder / SHOWN / "evidence.json"
    found = json.loads(path.read_text(encoding="utf-8"))["checks"]
    check = next(each for each in found if each["measurement"] == "reaction_to_predicted_worst_ratio")
    return f"```json\n{json.dumps(check, indent=1, ensure_ascii=False)}\n```"


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "verdicts": verdicts,
    "stages": stages,
    "scenarios": scenarios,
    "evidence": evidence,
}


def refreshed(text: str) -> str:
    """The text with each table anew between its markers."""
    for name, table in TABLES.items():
        start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(start)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"the README has no markers for {name}: {start} and {end}")
        text = f"{before}{start}\n{table()}\n{end}{after}"
    return text
