"""Show the faults that a lab knows: what each does, what it takes, and which checks must find it."""

import argparse
import dataclasses
import json
import sys

from rich.console import Console

from bench.lab.faults.catalogue import CATALOGUE
from bench.lab.faults.declaration import Argument, Fault


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The form."""
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """Needs no lab."""
    if arguments.json:
        print(json.dumps([dataclasses.asdict(fault) for fault in CATALOGUE], indent=2))
        return 0
    # Rich takes 80 columns for what is no terminal.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120)
    for fault in CATALOGUE:
        _show(console, fault)
    return 0


def _show(console: Console, fault: Fault) -> None:
    console.print(f"{fault.name}\n  {fault.does}")
    for argument in fault.arguments:
        console.print(f"  {argument.name}={_default(argument)}  {argument.help}")
    for scenario, measurement in fault.must_fail:
        console.print(f"  found by {scenario}: {measurement}")


def _default(argument: Argument) -> str:
    if argument.default is None:
        return "…"
    return f"{argument.default:g}" if isinstance(argument.default, float) else str(argument.default)
