"""
Prove what is said of isolation: the table that `make bench-isolation` prints and keeps under results.

A lab without a leak, tried again and again, and each leak planted alone. Exit status: 0 all that is claimed was shown,
1 something was not.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from bench.evidence.judging import Judgement
from bench.lab.faults.planting import planted
from bench.model.check import CheckResult
from bench.model.verdict import Verdict
from tests.lab.running import ROOT, RunningLab, running_lab, unique_name
from tests.scenarios.leaks import LAB, LEAKS, LOOKS, SEED_CHECK, tried
from tests.scenarios.proof_table import Row, keep
from tests.scenarios.trying import failed

FOLDER: Final = ROOT / "results" / "bench-isolation"
SOUND: Final[Mapping[str, tuple[int, int]]] = {LOOKS: (1, 20), "interference": (5, 1), "seed": (2, 1)}
"""Parts → how often the scenario is run, and with how many repetitions of its pods."""
SEED_LEAK: Final = "device-leaked"


def main() -> int:
    """One lab for all of it."""
    with running_lab(unique_name("isolation"), *LAB) as lab:
        sound = {parts: _sound(lab, parts) for parts in SOUND}
        found = {name: failed(judgement) for name, judgement in _leaking(lab)}
    rows = [*_sound_rows(sound), *_leak_rows(found)]
    told = {
        "sound": {parts: _told(each) for parts, each in sound.items()},
        "leaks": {n: sorted(found[n]) for n in found},
    }
    return 0 if keep(FOLDER, "Isolation", rows, told) else 1


def _sound(lab: RunningLab, parts: str) -> list[Judgement]:
    times, repeats = SOUND[parts]
    return [tried(lab, f"sound-{number}", parts=parts, repeats=repeats) for number in range(1, times + 1)]


def _leaking(lab: RunningLab) -> Iterator[tuple[str, Judgement]]:
    for name, leak in LEAKS.items():
        with planted(lab.name, name):
            yield (
                name,
                tried(lab, name, parts=leak.parts, **({"allocation": leak.allocation} if leak.allocation else {})),
            )
    with planted(lab.name, SEED_LEAK):
        yield f"{SEED_LEAK}, the three nbody pods", tried(lab, "seed-leak", parts="seed")


def _sound_rows(sound: Mapping[str, Sequence[Judgement]]) -> Iterator[Row]:
    for parts, judgements in sound.items():
        times, repeats = SOUND[parts]
        checks = [check for judgement in judgements for check in judgement.checks]
        missed = [f"{check.measurement}: {check.verdict}" for check in checks if check.verdict is not Verdict.PASS]
        what = f"no leak planted, {times * repeats} times: {parts.replace(',', ', ')}"
        seen = f"{len(checks) - len(missed)} of {len(checks)} checks pass; {', '.join(missed) or 'no finding'}"
        yield what, seen, is_without_finding(checks)


def is_without_finding(checks: Sequence[CheckResult]) -> bool:
    """Nothing failed, and each check passed at least once: one that never came to a verdict shows nothing."""
    passed = {check.measurement for check in checks if check.verdict is Verdict.PASS}
    return all(check.verdict is not Verdict.FAIL for check in checks) and passed == {
        each.measurement for each in checks
    }


def _leak_rows(found: Mapping[str, set[str]]) -> Iterator[Row]:
    for name, by in found.items():
        leak = LEAKS.get(name)
        wanted = leak.found_by[0] if leak else SEED_CHECK
        yield f"{name} is found by {wanted} alone", ", ".join(sorted(by)) or "no finding", by == {wanted}


def _told(judgements: Sequence[Judgement]) -> list[list[dict[str, Any]]]:
    return [
        [
            {"measurement": check.measurement, "verdict": check.verdict.value, "observed": check.observed}
            for check in judgement.checks
        ]
        for judgement in judgements
    ]


if __name__ == "__main__":
    sys.exit(main())
