"""
Judge a stored run again, with the checks of today.

Reads the readings from disk and changes nothing there; tells where a verdict differs from the one of the run. The exit
code is that of the verdicts of today.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from bench.evidence.judging import judge
from bench.evidence.reader import StoredRun, find_run, load_run
from bench.model.evidence import Outcome, run_verdict
from bench.model.verdict import Verdict
from bench.registry import Registry, discover
from bench.report.document import run_document
from bench.report.text import render_run, verdict_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("run", metavar="RUN", help="id of a run, or its folder")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="where runs lie")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Judge, and tell."""
    stored = load_run(find_run(arguments.run, arguments.results))
    again = judged_again(stored, discover())
    if arguments.json:
        print(json.dumps(run_document(again.record, again.outcomes, again.folder, again.warnings), indent=1))
    else:
        _print(Console(), stored, again)
    return run_verdict(again.outcomes).exit_code


def judged_again(stored: StoredRun, registry: Registry) -> StoredRun:
    """
    The run with the verdicts of today.

    Raises:
        UnknownScenario: a scenario of the run is not known any more.
        BadParameter: a scenario does not take a parameter any more that it ran with.
        BadEvidence: readings that are none.

    """
    warnings = list(stored.warnings)
    outcomes = tuple(_outcome(stored, outcome, registry, warnings) for outcome in stored.outcomes)
    return replace(stored, outcomes=outcomes, warnings=tuple(warnings))


def _outcome(stored: StoredRun, outcome: Outcome, registry: Registry, warnings: list[str]) -> Outcome:
    if outcome.verdict in (Verdict.SKIPPED, Verdict.ERROR):
        return outcome  # nothing was measured to the end, so nothing can be judged
    scenario = registry.get(outcome.scenario).make(outcome.parameters)
    found = judge(scenario, stored.readings(outcome.scenario, warnings))
    if not outcome.is_complete:
        # The checks tell of what was measured; what was not tried any more may have failed, or would have passed.
        reason = outcome.reason or "not all that was measured is kept"
        return replace(outcome, verdict=Verdict.INCONCLUSIVE, checks=found.checks, reason=reason)
    return replace(outcome, verdict=found.verdict, checks=found.checks, reason=found.reason)


def _print(console: Console, before: StoredRun, after: StoredRun) -> None:
    console.print(render_run(after))
    for then, now in zip(before.outcomes, after.outcomes, strict=True):
        if then.verdict is not now.verdict:
            change = f"{verdict_text(then.verdict)} then, {verdict_text(now.verdict)} now"
            console.print(f"{escape(now.scenario)}: {change}")
