"""
Run scenarios on a target, and tell the verdicts.

Everything that is created carries the run's label and is removed again, also after Ctrl-C. What was measured lies under
results/<run-id>/ from the first reading on.
"""

import argparse
import json
import os
import platform
import secrets
import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from rich.console import Console

from bench import interruption
from bench.cli._choosing import add_scenario_arguments, chosen
from bench.cli._narrator import Narrator
from bench.cli.plan import planned
from bench.cluster.client import PATIENCE_SECONDS
from bench.cluster.journal import Journal, leftovers
from bench.cluster.leftovers import in_order
from bench.errors import BenchError, Forbidden, WrongUsage
from bench.evidence.reader import load_run
from bench.evidence.store import PAGE_FILE, RunStore, ScenarioStore
from bench.model.evidence import Fidelity, Outcome, Plan, RunRecord, Step
from bench.model.rights import Rights
from bench.plan import missing_text
from bench.registry import Registry
from bench.report.document import run_document
from bench.report.html import render as render_page
from bench.report.text import render_run
from bench.rig.cluster_rig import ClusterRig, Surroundings
from bench.runner import Runner, exit_code
from bench.targets.opening import OpenTarget, opened
from bench.targets.options import add_target_arguments, target_of

JOURNAL_FILE = "journal.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    add_scenario_arguments(parser)
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="where runs are kept")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--yes", action="store_true", help="do not ask before a run on a real cluster")
    add_target_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Plan, run, tell."""
    asked = chosen(arguments)
    talk = Console(stderr=True)
    with opened(target_of(arguments)) as target:
        plan, missing = planned(asked, target)
        refuse_without_rights(plan, missing)
        if not _is_agreed(target, plan, arguments, talk):
            return WrongUsage.exit_code
        target.cluster.patience_seconds = PATIENCE_SECONDS
        if target.prometheus is not None:
            target.prometheus.patience_seconds = PATIENCE_SECONDS
        return _execute(_Execution(asked.registry, target, plan, arguments, talk))


def refuse_without_rights(plan: Plan, missing: Rights) -> None:
    """
    Before anything is created: where nothing of the plan can run for want of a right, that is said at once.

    Raises:
        Forbidden: the right is named with verb and resource.

    """
    if missing and not any(step.can_run for step in plan.steps):
        scenarios = " ".join(step.scenario for step in plan.steps)
        raise Forbidden(
            f"{missing_text(missing)[:1].upper()}{missing_text(missing)[1:]}. Nothing was created. "
            f"`bench rbac {scenarios}` prints roles that give what is needed."
        )


def _is_agreed(target: OpenTarget, plan: Plan, arguments: argparse.Namespace, talk: Console) -> bool:
    """A run on a real cluster is told first, and wants a yes."""
    minutes = plan.duration_seconds / 60.0
    talk.print(f"{target.target.name}: about {minutes:.0f} min, {plan.gpu_minutes:.0f} GPU-minutes")
    if target.target.fidelity is Fidelity.EMBEDDED or arguments.yes:
        return True
    talk.print("It creates namespaces bench-<run>-… with the following, and removes them:")
    for step in plan.steps:
        if step.can_run and step.footprint:
            talk.print(f"  {step.scenario}: {', '.join(step.footprint.objects)}", markup=False, highlight=False)
    if not sys.stdin.isatty():
        talk.print("Say --yes to run on a cluster without being asked.")
        return False
    return input(f"Run on {target.target.name}? [y/N] ").strip().lower() in ("y", "yes")


class _Execution:
    """One run: its store, its journal, and the rigs of its steps."""

    def __init__(
        self, registry: Registry, target: OpenTarget, plan: Plan, arguments: argparse.Namespace, talk: Console
    ) -> None:
        self.registry = registry
        self.target = target
        self.plan = plan
        self.as_json: bool = arguments.json
        self._arguments = arguments
        self.talk = talk
        self.narrator = Narrator(talk)
        self.record = _record(target, plan)
        self.store = RunStore.create(arguments.results, self.record)

    @property
    def journal_path(self) -> Path:
        """Where the run notes what it is about to create."""
        return self.store.folder / JOURNAL_FILE

    def rig_of(self, _: Step, kept: ScenarioStore) -> AbstractContextManager[ClusterRig]:
        target = self.target
        journal = Journal(self.journal_path)
        rig = ClusterRig(
            Surroundings(
                cluster=target.cluster,
                prometheus=target.prometheus,
                inventory=target.inventory,
                gateway_url=target.target.gateway_url,
                run_id=self.record.run_id,
                folder=kept.folder,
                journal=journal,
                tell=self.narrator.progressed,
            )
        )
        self.narrator.look_at(rig.figures)
        return rig

    def tell_interruption(self, count: int) -> None:
        """What becomes of the run, at the first Ctrl-C and at the second."""
        if count == 1:
            told = "interrupted: what was measured is kept, and what was created is being removed"
            _say(self.talk, f"bench: {told}. Ctrl-C again leaves it there; {self._cure} removes it later.")
        else:
            refs = in_order(leftovers(self.journal_path)) if self.journal_path.is_file() else ()
            left = ", ".join(map(str, refs))
            rest = f"{left} stay; {self._cure} removes them" if left else "nothing stays"
            _say(self.talk, f"bench: interrupted again: {rest}.")

    @property
    def _cure(self) -> str:
        given = self._arguments
        words = ["bench", "clean", "--run", self.record.run_id, "--results", str(given.results)]
        words += ["--target", given.target] if given.target != "lab" else []
        words += ["--kubeconfig", str(given.kubeconfig)] if given.kubeconfig else []
        return f"`{shlex.join(words)}`"


def _record(target: OpenTarget, plan: Plan) -> RunRecord:
    started = datetime.now(UTC)
    return RunRecord(
        run_id=f"{started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        fidelity=target.target.fidelity,
        target=target.target.name,
        bench_version=metadata.version("gpu-bench"),
        server_version=target.inventory.server_version,
        cluster_uid=target.inventory.cluster_uid,
        started=started,
        plan=plan,
        environment={"python": platform.python_version(), "kernel": platform.release(), "cpus": str(os.cpu_count())},
    )


def _execute(execution: _Execution) -> int:
    runner = Runner(
        registry=execution.registry,
        store=execution.store,
        rig_of=execution.rig_of,
        narrator=execution.narrator,
    )
    outcomes: list[Outcome] = []
    with interruption.heard(execution.tell_interruption):
        try:
            with execution.narrator:
                outcomes.extend(runner.execute(execution.plan))
        finally:
            is_whole = _is_whole(execution.plan, outcomes, is_interrupted=runner.is_interrupted)
            final = execution.store.finish(execution.record, is_whole=is_whole)
            _say(execution.talk, f"kept in {execution.store.folder}")
        _tell(execution, final, outcomes)
        return interruption.EXIT_CODE if runner.is_interrupted else exit_code(tuple(outcomes))


def _is_whole(plan: Plan, outcomes: Sequence[Outcome], *, is_interrupted: bool) -> bool:
    """Whether every step was tried, and none broken off by the user."""
    is_each_tried = len(outcomes) == len(plan.steps)
    return is_each_tried and (not is_interrupted or all(outcome.is_complete for outcome in outcomes))


def _tell(execution: _Execution, final: RunRecord, outcomes: Sequence[Outcome]) -> None:
    if execution.as_json:
        json.dump(run_document(final, outcomes, execution.store.folder), sys.stdout, indent=1)
        print()
    else:
        Console().print(render_run(load_run(execution.store.folder)))
    _write_page(execution.store.folder, execution.talk)


def _write_page(folder: Path, talk: Console) -> None:
    """The report beside the evidence; a page that cannot be made takes nothing from the verdicts."""
    try:
        (folder / PAGE_FILE).write_text(render_page(load_run(folder)), encoding="utf-8")
    except (OSError, BenchError, ArithmeticError, ValueError, LookupError, TypeError) as error:
        _say(talk, f"{PAGE_FILE} was not written: {type(error).__name__}: {error}")
    else:
        _say(talk, f"the report: {folder / PAGE_FILE}")


def _say(talk: Console, sentence: str) -> None:
    """On one line, however long: paths are there to be copied."""
    talk.print(sentence, markup=False, highlight=False, soft_wrap=True)
