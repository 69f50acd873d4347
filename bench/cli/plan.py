"""
Show what a run would do on a target, and why the rest would not.

Reads only. For each scenario: whether its needs are met, how long it takes, which GPU-minutes, which kinds of object it
makes, and which rights it uses; a right that this context does not have is named. `bench run` with the same arguments
does what is shown here.

Exits with 0 when every scenario would run, 3 when one would not.
"""

import argparse
import json
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.cli._choosing import Chosen, add_scenario_arguments, chosen
from bench.cluster.heartbeat import HEARTBEAT_RIGHTS
from bench.cluster.rights import missing_rights
from bench.model.codec import to_json
from bench.model.evidence import Plan, Step
from bench.model.rights import Rights, distinct, told
from bench.plan import make_plan, rights_of, without_rights
from bench.targets.opening import OpenTarget, opened
from bench.targets.options import add_target_arguments, target_of

CANNOT_RUN = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    add_scenario_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_target_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Plan, and tell."""
    asked = chosen(arguments)
    with opened(target_of(arguments)) as target:
        plan, missing = planned(asked, target)
        if arguments.json:
            print(json.dumps(_document(target, plan, missing), indent=1))
        else:
            tell(Console(), target, plan, missing)
    return 0 if all(step.can_run for step in plan.steps) else CANNOT_RUN


def planned(asked: Chosen, target: OpenTarget) -> tuple[Plan, Rights]:
    """
    The plan on this target with the rights of this context, and which of them are missing.

    Raises:
        BadParameter: a parameter that a scenario does not have, or a value that it does not take.

    """
    plan = make_plan(asked.declarations, asked.settings, target.inventory)
    missing = missing_rights(target.cluster, all_rights(plan, target))
    return without_rights(plan, missing), missing


def all_rights(plan: Plan, target: OpenTarget) -> Rights:
    """What the plan's scenarios use, and what the bench itself uses beside them."""
    return distinct((*target.own_rights, *HEARTBEAT_RIGHTS, *rights_of(plan.steps)))


def tell(console: Console, target: OpenTarget, plan: Plan, missing: Rights) -> None:
    """The plan for a reader."""
    console.print(f"On {escape(target.target.name)}, Kubernetes {escape(target.inventory.server_version)}:\n")
    for step in plan.steps:
        _tell_step(console, step)
    running = [step for step in plan.steps if step.can_run]
    console.print(
        f"{len(running)} of {len(plan.steps)} would run: about {plan.duration_seconds / 60:.0f} min, "
        f"{plan.gpu_minutes:.0f} GPU-minutes. Namespaces are called bench-<run>-…; all is removed at the end."
    )
    if missing:
        console.print(f"[yellow]Rights that are missing:[/] {escape('; '.join(told(missing)))}.")
        console.print("`bench rbac` prints roles that give them.")


def _tell_step(console: Console, step: Step) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for reason in step.unmet:
        table.add_row("because", f"[yellow]{escape(reason)}[/]")
    if footprint := step.footprint:
        minutes = f"{footprint.duration_seconds / 60:.1f} min"
        table.add_row(
            "takes", f"about {minutes}, {footprint.accelerators} GPUs, {footprint.gpu_minutes:.0f} GPU-minutes"
        )
        table.add_row("makes", escape(", ".join(footprint.objects) or "nothing"))
        table.add_row("uses", escape("\n".join(told(footprint.all_rights)) or "no rights that are known"))
    word = "[green]would run[/]" if step.can_run else "[yellow]would not run[/]"
    console.print(f"[bold]{escape(step.scenario)}[/]: {word}. {escape(step.claim)}")
    console.print(table)
    console.print()


def _document(target: OpenTarget, plan: Plan, missing: Rights) -> dict[str, Any]:
    steps = [
        {**to_json(step), "can_run": step.can_run, "rights": [str(right) for right in rights_of([step])]}
        for step in plan.steps
    ]
    return {
        "target": target.target.name,
        "server_version": target.inventory.server_version,
        "duration_seconds": plan.duration_seconds,
        "gpu_minutes": plan.gpu_minutes,
        "missing_rights": [str(right) for right in missing],
        "scenarios": steps,
    }
