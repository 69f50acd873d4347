"""
List the scenarios.

Each with its claim, and the requirement of the AI conformance programme that it shows, with its level. No cluster.
"""

import argparse
import json

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.registry import Declaration, discover
from bench.requirements import load_catalogue, releases


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("--kubernetes", metavar="X.Y", default=releases()[-1], help="levels of this version")
    parser.add_argument("--json", action="store_true", help="print one JSON list")


def run(arguments: argparse.Namespace) -> int:
    """Tell."""
    catalogue = load_catalogue(arguments.kubernetes)
    levels = {each.id: each.level.value for each in catalogue.requirements}
    declarations = list(discover())
    if arguments.json:
        print(json.dumps([_document(each, levels) for each in declarations], indent=1))
        return 0
    table = Table("scenario", "requirement", f"level in {arguments.kubernetes}", "claim", box=None, pad_edge=False)
    for each in declarations:
        table.add_row(escape(each.id), each.requirement or "-", levels.get(each.requirement, "-"), escape(each.claim))
    Console().print(table if declarations else "There are no scenarios.")
    return 0


def _document(declaration: Declaration, levels: dict[str, str]) -> dict[str, object]:
    return {
        "id": declaration.id,
        "requirement": declaration.requirement,
        "level": levels.get(declaration.requirement),
        "claim": declaration.claim,
        "parameters": {each.name: each.default for each in declaration.parameters},
    }
