"""What the README shows of the program and of the newest committed run, made from these."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.analysis.intervals import wilson_interval
from bench.evidence.reader import StoredRun, load_run
from bench.model.measurement import Measurement
from bench.registry import discover
from tests.scenarios.autoscaling_faults import MORE, WRONG
from tests.scenarios.bench_fidelity import SLOW, is_found
from tests.scenarios.fidelity_proof import GHOST, PLANTINGS
from tests.scenarios.fidelity_proof import MORE as MORE_OF_METRICS
from tests.scenarios.leaks import LEAKS, SEED_CHECK

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


def trust() -> str:
    """Of every scenario: what was planted on labs, and what of it passed; and runs in which nothing was planted."""
    proofs = [proof(_newest(folder)) for folder, proof in PROOFS.items()]
    rows = [
        "| scenario | planted | found by the check meant for it | passed unnoticed | nothing planted | false alarms |",
        "|---|---|---|---|---|---|",
    ]
    for each in proofs:
        found = sum(meant <= failed for meant, failed in each.planted)
        passed = sum(not failed for _, failed in each.planted)
        alarms = sum(bool(failed) for failed in each.sound)
        rows.append(
            f"| `{each.scenario}` | {len(each.planted)} | {found} | {_rate(passed, len(each.planted))} "
            f"| {len(each.sound)} | {_rate(alarms, len(each.sound))} |"
        )
    rows += ["", "Checks that no kept proof has seen to fail yet; a test of theirs or of their analysis has:", ""]
    for each in proofs:
        seen = {name for _, failed in each.planted for name in failed}
        checks = discover().get(each.scenario).make({}).checks()
        never = sorted({check.measurement for check in checks} - seen)
        rows.append(f"- `{each.scenario}`: {', '.join(f'`{name}`' for name in never) or 'none'}")
    return "\n".join(rows)


def _rate(count: int, total: int) -> str:
    """With the upper end of its 95 % interval: nothing seen in few trials is not nothing."""
    return f"{count} (at most {wilson_interval(count, total).high:.0%})"


def _newest(folder: str) -> Mapping[str, Any]:
    """What the newest proof of a folder kept."""
    told: Mapping[str, Any] = json.loads(max((ROOT / "results" / folder).glob("*.json")).read_text(encoding="utf-8"))
    return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a proof on labs planted and found."""

    scenario: str
    planted: tuple[tuple[frozenset[str], frozenset[str]], ...]
    """By planting: the measurements of the checks that were to fail, and of those that did; of a delay, the stages."""
    sound: tuple[frozenset[str], ...]
    """By run with nothing planted: the measurements of the checks that failed."""


def _of_autoscaling(told: Mapping[str, Any]) -> Proof:
    delays = [
        (frozenset({each["planted"]}), frozenset(each["named"])) for each in told["stages"]["named"] if each["planted"]
    ]
    trials = {**WRONG, **MORE}
    wrong = tuple(
        (frozenset(each.found_by), frozenset(told["wrong"][what]["fail"]))
        for what, each in trials.items()
        if what in told["wrong"]
    )
    return Proof(
        scenario="pod-autoscaling",
        planted=(*delays, *wrong),
        sound=tuple(frozenset(each["fail"]) for each in told["sound"]),
    )


def _of_metrics(told: Mapping[str, Any]) -> Proof:
    # of faults that were planted together nobody knows which one another check would have noticed
    together = [(each, {each.measurement: told["faults"]["found"].get(each.measurement, [])}) for each in PLANTINGS]
    planted = [
        (
            frozenset({each.measurement}),
            frozenset(set(found) if is_found(found, each) else set(found) - {each.measurement}),
        )
        for each, found in [*together, *zip(MORE_OF_METRICS, told["more"], strict=True)]
    ]
    others = {GHOST: told["faults"]["found"], SLOW: told["faults"]["slow"], **told["shared"]}
    return Proof(
        scenario="accelerator-metrics",
        planted=(*planted, *((frozenset({meant}), frozenset({meant} & set(found))) for meant, found in others.items())),
        sound=tuple(
            frozenset(run["failed"])
            for name, piece in told.items()
            if name.startswith("sound-")
            for run in piece["runs"]
        ),
    )


def _of_isolation(told: Mapping[str, Any]) -> Proof:
    def meant(name: str) -> frozenset[str]:
        return frozenset({LEAKS[name].found_by[0] if name in LEAKS else SEED_CHECK})

    return Proof(
        scenario="secure-accelerator-access",
        planted=tuple((meant(name), frozenset(failed)) for name, failed in told["leaks"].items()),
        sound=tuple(
            frozenset(check["measurement"] for check in run if check["verdict"] == "fail")
            for runs in told["sound"].values()
            for run in runs
        ),
    )


PROOFS: Final[Mapping[str, Callable[[Mapping[str, Any]], Proof]]] = {
    "bench-autoscaling": _of_autoscaling,
    "bench-fidelity": _of_metrics,
    "bench-isolation": _of_isolation,
}
"""By the folder of their results."""

TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "verdicts": verdicts,
    "stages": stages,
    "scenarios": scenarios,
    "evidence": evidence,
    "trust": trust,
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
