"""
Prove what is said of the metrics of accelerators: what `make bench-fidelity` prints and keeps under results.

``python -m tests.scenarios.bench_fidelity PIECE...`` measures some of its pieces and keeps them; with the last one the
whole is told. Exit status: 0 all that is claimed was shown, 1 something was not, or pieces are missing.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.lab.running import ROOT, running_lab, unique_name
from tests.scenarios.fidelity_proof import (
    GHOST,
    LAB,
    MORE,
    PLANTINGS,
    QUICK_INTERVALS,
    UNNAMED,
    WRONG_SHARES,
    Planting,
    Recording,
    age_errors_seconds,
    blamed,
    record,
    record_faults,
    record_one,
    record_shared,
    record_slow,
    verdicts,
)
from tests.scenarios.proof_table import Row, keep

FOLDER: Final = ROOT / "results" / "bench-fidelity"
PARTS: Final = FOLDER / "parts"
"""What was measured so far; gone when all of it is told."""
AGE_BOUND_SECONDS: Final = 0.1
LARGE_RUN: Final = ROOT / "tests" / "bench" / "large_run.py"
SHARERS: Final = {
    UNNAMED: "two pods share a device, the exporter as it comes",
    WRONG_SHARES: "shares-copied: two pods share a device",
}
SLOW: Final = "collect_interval_measured_to_configured_ratio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """Runs on a sound lab: its intervals, the length of the course, the seeds, and what else the lab is told."""

    collect_seconds: float
    scrape_seconds: float
    duration_seconds: float
    seeds: tuple[int, ...]
    more: tuple[str, ...] = ()


def _sounds() -> Iterator[tuple[str, Sound]]:
    for collect, scrape, seconds, seeds in (
        (30.0, 15.0, 120.0, (1,)),
        (15.0, 15.0, 60.0, (2,)),
        (5.0, 5.0, 45.0, (3,)),
        (1.0, 5.0, 45.0, (4,)),
        (1.0, 1.0, 30.0, (5, 6, 7)),
        (2.0, 3.0, 30.0, (8, 9)),
    ):
        runs = Sound(collect_seconds=collect, scrape_seconds=scrape, duration_seconds=seconds, seeds=seeds)
        yield f"sound-{collect:g}-{scrape:g}", runs
    by_claim = ("--allocation", "dra")
    yield (
        "sound-claims",
        Sound(collect_seconds=1.0, scrape_seconds=1.0, duration_seconds=30.0, seeds=(1,), more=by_claim),
    )


SOUND: Final = dict(_sounds())
"""By piece; in the last one devices are claimed."""


def measure_sound(piece: str) -> Any:
    """The runs of one pair of intervals: what they blame, and how far their ages are from the lab's log."""
    of = SOUND[piece]
    intervals = ("--exporter-interval", str(of.collect_seconds), "--scrape-interval", str(of.scrape_seconds))
    with running_lab(unique_name("fidelity"), *LAB, *intervals, *of.more) as lab:
        runs = [
            _sound(record(lab, f"{piece}-{seed}", seed=seed, duration_seconds=of.duration_seconds)) for seed in of.seeds
        ]
    return {
        "collect_seconds": of.collect_seconds,
        "scrape_seconds": of.scrape_seconds,
        "told": " ".join(of.more),
        "runs": runs,
    }


def _sound(recording: Recording) -> Any:
    judgement = recording.judged()
    errors = np.abs(age_errors_seconds(recording))
    return {
        "seed": recording.scenario.seed,
        "failed": sorted(verdicts(judgement, "fail")),
        "inconclusive": sorted(verdicts(judgement, "inconclusive")),
        "passed_total": len(verdicts(judgement, "pass")),
        "ages_total": int(errors.size),
        "age_error_p95_seconds": round(float(np.quantile(errors, 0.95)), 4),
        "age_error_worst_seconds": round(float(errors.max()), 4),
        "age_error_within_ratio": round(float((errors <= AGE_BOUND_SECONDS).mean()), 4),
    }


def measure_faults(_piece: str) -> Any:
    """Which checks fail by which device and quantity, with all faults planted; and with a slow exporter."""
    with running_lab(unique_name("fidelity"), *LAB, *QUICK_INTERVALS) as lab:
        found = _found(record_faults(lab))
        slow = record_slow(lab).judged()
    return {"found": found, "slow": sorted(verdicts(slow, "fail"))}


def measure_more(_piece: str) -> Any:
    """Of each fault that may show in more than one way, which checks fail, and by which device and quantity."""
    with running_lab(unique_name("fidelity"), *LAB, *QUICK_INTERVALS) as lab:
        return [_found(record_one(lab, each)) for each in MORE]


def measure_shared(_piece: str) -> Any:
    """Of devices that pods share: what fails with the exporter as it comes, and with shares that are copies."""
    return {
        UNNAMED: _found(record_shared("shared", duration_seconds=16.0)),
        WRONG_SHARES: _found(record_shared("copied", "shares-copied", duration_seconds=8.0)),
    }


def _found(recording: Recording) -> dict[str, list[tuple[str, str]]]:
    judgement = recording.judged()
    names = {uuid: f"device {place}" for place, uuid in enumerate(recording.devices)}
    return {
        each: sorted((names.get(uuid, uuid), quantity) for uuid, quantity in blamed(judgement, each))
        for each in sorted(verdicts(judgement, "fail"))
    }


def measure_judging(_piece: str) -> Any:
    """An hour of a thousand devices, written and judged in processes of their own."""
    with tempfile.TemporaryDirectory() as folder:
        for verb in ("write", "judge"):
            command = [sys.executable, str(LARGE_RUN), verb, folder]
            done = subprocess.run(
                command, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, stdout=subprocess.PIPE, check=True
            )
    return json.loads(done.stdout)


PIECES: Final[Mapping[str, Callable[[str], Any]]] = {
    **dict.fromkeys(SOUND, measure_sound),
    "faults": measure_faults,
    "more": measure_more,
    "shared": measure_shared,
    "judging": measure_judging,
}


def rows(told: Mapping[str, Any]) -> Iterator[Row]:
    """All claims."""
    for piece in SOUND:
        yield _age_row(told[piece])
    runs = [run for piece in SOUND for run in told[piece]["runs"]]
    alarms = sorted({name for run in runs for name in run["failed"]})
    yield f"{len(runs)} sound runs of different seeds and intervals", f"failed: {_listed(alarms)}", not alarms
    yield from _fault_rows(told["faults"])
    yield from _more_rows(told["more"])
    for meant, found in told["shared"].items():
        yield SHARERS[meant], f"found by {_listed(list(found))}", list(found) == [meant]
    judging = told["judging"]
    seen = f"{judging['seconds']:.1f} s, {judging['bytes'] / 1e6:.0f} MB"
    yield (
        "1,000 devices for an hour judged from disk in 10 s and 1,000 MB",
        seen,
        judging["seconds"] <= 10.0 and judging["bytes"] <= 1e9,
    )


def _age_row(pair: Mapping[str, Any]) -> Row:
    collect, scrape, runs = pair["collect_seconds"], pair["scrape_seconds"], pair["runs"]
    worst = max(run["age_error_worst_seconds"] for run in runs)
    p95 = max(run["age_error_p95_seconds"] for run in runs)
    count = sum(run["ages_total"] for run in runs)
    told = f" {pair['told']}" if pair["told"] else ""
    claim = f"sample ages at collect {collect:g} s, scrape {scrape:g} s{told}, within {AGE_BOUND_SECONDS:g} s"
    seen = f"off by {worst:.3f} s at most, 95 of 100 by {p95:.3f} s; {count} samples, runs: {len(runs)}"
    return claim, seen, worst <= AGE_BOUND_SECONDS


def _fault_rows(faults: Mapping[str, Any]) -> Iterator[Row]:
    found = {check: [tuple(each) for each in blames] for check, blames in faults["found"].items()}
    for each in PLANTINGS:
        here = (f"device {each.place}", each.quantity)
        # a fault's device has faults of other quantities too: those are blamed by the checks meant for them
        by = [check for check, blames in found.items() if here in blames and _is_of(check, each.quantity)]
        where = f"device {each.place}{', ' if each.quantity else ''}{each.quantity}"
        is_alone = found.get(each.measurement) == [here]
        yield f"{each.fault} at {where}", f"found by {_listed(by)}", is_alone
    yield "ghost-pod", f"found by {GHOST if GHOST in found else 'nothing'}", GHOST in found
    meant = {each.measurement for each in PLANTINGS} | {GHOST}
    others = sorted(set(found) - meant)
    yield "no other check fails", _listed(others), not others
    yield "exporter-slow", f"found by {_listed(faults['slow'])}", faults["slow"] == [SLOW]


def _more_rows(more: Sequence[Mapping[str, Sequence[Sequence[str]]]]) -> Iterator[Row]:
    for each, found in zip(MORE, more, strict=True):
        wrong = ", ".join(f"{key} {value}" for key, value in each.arguments.items() if value)
        yield (
            f"{each.fault} alone: {wrong or 'beside nobody else'}",
            f"found by {_listed(list(found))}",
            is_found(found, each),
        )


def is_found(found: Mapping[str, Sequence[Sequence[str]]], planting: Planting) -> bool:
    """Whether the check that is meant blames the device and the quantity, if the fault has one."""
    here = [f"device {planting.place}", planting.quantity]
    blames = [list(blame) for blame in found.get(planting.measurement, [])]
    return bool(blames) if planting.place is None else here in blames


def _is_of(check: str, quantity: str) -> bool:
    """A quantity's checks, or for faults of names those that know no quantity."""
    meant = {each.measurement for each in PLANTINGS if each.quantity == quantity}
    return bool(quantity) or check in meant


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"


def matrix(faults: Mapping[str, Any]) -> Iterator[str]:
    """Faults against checks: how many quantities of the fault's device each check blames."""
    checks = sorted(set(faults["found"]) | set(faults["slow"]))
    yield f"| fault | {' | '.join(checks)} |"
    yield f"|---|{'---|' * len(checks)}"
    found = {check: [tuple(each) for each in blames] for check, blames in faults["found"].items()}
    for each in PLANTINGS:
        here = (f"device {each.place}", each.quantity)
        # the kubelet's fault is of every device that a pod had before
        yield _line(each.fault, ["x" if here in found.get(check, []) and check != GHOST else "" for check in checks])
    yield _line("ghost-pod", ["x" if check == GHOST else "" for check in checks])
    yield _line("exporter-slow", ["x" if check in faults["slow"] else "" for check in checks])


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def main(arguments: Sequence[str]) -> int:
    """The pieces that are named, all of them without a name."""
    PARTS.mkdir(parents=True, exist_ok=True)
    for piece in arguments or PIECES:
        found = PIECES[piece](piece)
        (PARTS / f"{piece}.json").write_text(json.dumps(found), encoding="utf-8")
        sys.stderr.write(f"{piece}: {json.dumps(found)}\n")
    missing = [piece for piece in PIECES if not _part(piece).is_file()]
    if missing:
        sys.stderr.write(f"to be measured still: {', '.join(missing)}\n")
        return 1
    told = {piece: json.loads(_part(piece).read_text(encoding="utf-8")) for piece in PIECES}
    faults = ["", "Faults, each at a device and a quantity of its own, against the checks that blame these:", ""]
    title = "Metrics of accelerators"
    shown = keep(FOLDER, title, list(rows(told)), told, more=[*faults, *matrix(told["faults"])])
    for piece in PIECES:
        _part(piece).unlink()
    PARTS.rmdir()
    return 0 if shown else 1


def _part(piece: str) -> Path:
    return PARTS / f"{piece}.json"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
