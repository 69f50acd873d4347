"""
Show one scenario: claim, needs, parameters, checks with their bounds and reasons.

What it would do with the parameters given by --set, without a cluster.
"""

import argparse
import dataclasses
import json
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.model.codec import to_json
from bench.model.scenario import Scenario, Weighed
from bench.plan import parse_settings
from bench.registry import Declaration, discover, parameter_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("scenario", metavar="SCENARIO", help="an id that `bench list` shows")
    parser.add_argument("--set", action="append", default=[], metavar="SCENARIO.KEY=VALUE", help="may be given again")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Tell."""
    declaration = discover().get(arguments.scenario)
    settings = parse_settings(arguments.set, [declaration])
    scenario = declaration.make(settings.get(declaration.id, {}))
    document = describe(declaration, scenario)
    if arguments.json:
        print(json.dumps(document, indent=1))
    else:
        _print(Console(), document)
    return 0


def describe(declaration: Declaration, scenario: Scenario) -> dict[str, Any]:
    """The scenario as plain data."""
    values = {each.name: parameter_text(getattr(scenario, each.name)) for each in declaration.parameters}
    return {
        "id": declaration.id,
        "requirement": declaration.requirement,
        "claim": declaration.claim,
        "description": declaration.description,
        "place": declaration.place,
        "needs": [_need_text(need) for need in scenario.needs()],
        "parameters": [
            {"name": each.name, "type": each.kind, "default": each.default, "value": values[each.name]}
            for each in declaration.parameters
        ],
        "checks": [
            {
                "claim": check.claim,
                "measurement": check.measurement,
                "bound": check.bound_text,
                "because": check.because,
                "basis": check.basis.value,
                "kind": check.kind.value,
            }
            for check in scenario.checks()
        ],
        "footprint": to_json(scenario.footprint()) if isinstance(scenario, Weighed) else None,
    }


def _need_text(need: object) -> str:
    """A need as words, such as ``accelerators: at least 2``."""
    name = "".join(f" {each.lower()}" if each.isupper() else each for each in type(need).__name__).strip()
    if not dataclasses.is_dataclass(need):
        return name
    values = [(field.name.replace("_", " "), getattr(need, field.name)) for field in dataclasses.fields(need)]
    told = ", ".join(f"{key} {parameter_text(value)}" for key, value in values if value is not False)
    return f"{name}: {told}" if told else name


def _print(console: Console, document: dict[str, Any]) -> None:
    console.print(f"[bold]{escape(document['id'])}[/]  {escape(document['requirement'])}")
    console.print(escape(document["description"]))
    console.print("\n[bold]needs[/]")
    for need in document["needs"] or ["nothing"]:
        console.print(f"  {escape(need)}")
    if document["parameters"]:
        table = Table("parameter", "type", "default", "value", box=None, pad_edge=False, title="", title_justify="left")
        for each in document["parameters"]:
            table.add_row(*(escape(each[key]) for key in ("name", "type", "default", "value")))
        console.print(table)
    console.print("\n[bold]checks[/]")
    for check in document["checks"]:
        console.print(f"  {escape(check['claim'])}")
        console.print(f"    [dim]{escape(check['measurement'])}: {escape(check['bound'])} ({check['basis']})[/]")
        console.print(f"    [dim]because: {escape(check['because'])}[/]")
