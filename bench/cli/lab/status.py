"""Show a running lab: its addresses, its parts and what they use, what it cannot enforce here, planted faults."""

import argparse
import dataclasses
import json
import sys

from rich.console import Console
from rich.table import Table

from bench.lab import names, status
from bench.lab.status import LabStatus


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The lab, and the form."""
    parser.add_argument("--name", default="default")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 2 when there is no such lab."""
    lab = status.read(names.checked(arguments.name))
    if arguments.json:
        print(json.dumps(dataclasses.asdict(lab), indent=2, default=str))
    else:
        _show(lab)
    return 0


def _show(lab: LabStatus) -> None:
    # Rich takes 80 columns for what is no terminal, and would break lines that a program reads.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    state = "serves" if lab.is_ready else "is coming up"
    console.print(f"lab {lab.name} {state}; its first process is {lab.pid}")
    for label, value in (
        ("kubeconfig", lab.kubeconfig),
        ("Prometheus", lab.prometheus_url or "none"),
        ("Gateway", lab.gateway_url or "none"),
    ):
        console.print(f"  {label:<11}{value}", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for heading in ("PART", "VERSION", "STATE"):
        table.add_column(heading, no_wrap=True)
    table.add_column("ADDRESS", overflow="fold")
    for heading in ("RESTARTS", "MEMORY", "CPU"):
        table.add_column(heading, justify="right")
    for part in lab.parts:
        memory = f"{part.memory_bytes / 2**20:.0f} MiB"
        table.add_row(
            part.name, part.version, part.state, part.address, str(part.restarts), memory, f"{part.cpu_cores:.2f}"
        )
    total_bytes = sum(part.memory_bytes for part in lab.parts)
    total_cores = sum(part.cpu_cores for part in lab.parts)
    table.add_row("together", "", "", "", "", f"{total_bytes / 2**20:.0f} MiB", f"{total_cores:.2f}")
    console.print(table)
    for each in lab.not_enforced:
        console.print(f"not enforced: {each}", soft_wrap=True)
    for each in lab.faults:
        console.print(f"fault planted: {each}", soft_wrap=True)
