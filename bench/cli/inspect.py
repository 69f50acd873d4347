"""
Show what a target was seen to have.

Reads only. Nodes, devices, API groups, Gateways, schedulers, autoscalers, and the metrics that Prometheus holds.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from bench.model.codec import to_json
from bench.model.inventory import Device, Inventory
from bench.targets.opening import opened
from bench.targets.options import add_target_arguments, target_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    add_target_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Look, and tell."""
    with opened(target_of(arguments)) as target:
        inventory = target.inventory
    if arguments.json:
        json.dump(to_json(inventory), sys.stdout, indent=1)
        print()
        return 0
    console = Console()
    console.print(f"[bold]{target.target.name}[/bold]  Kubernetes {inventory.server_version}")
    for title, rows in _tables(inventory):
        table = Table("", "", title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
        for name, value in rows:
            table.add_row(name, value)
        console.print(table)
    return 0


def _tables(inventory: Inventory) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    yield "nodes", [(node.name, _state(node.is_ready, node.is_schedulable)) for node in inventory.nodes]
    counted = Counter((device.node, _device(device)) for device in inventory.devices)
    yield "devices", [(node, f"{count} x {device}") for (node, device), count in sorted(counted.items())]
    yield (
        "found",
        [
            ("Gateway classes", _or_none(inventory.gateway_classes)),
            ("device classes", _or_none(inventory.device_classes)),
            ("gang schedulers", _or_none(inventory.gang_schedulers)),
            ("node autoscalers", _or_none(inventory.autoscalers)),
            ("Prometheus", inventory.prometheus_url or "none"),
            ("metrics", f"{len(inventory.metric_names)} names{_of_devices(inventory)}"),
            ("controllers", "\n".join(inventory.controllers) or "none"),
        ],
    )
    if inventory.warnings:
        yield "could not be looked at", [("", warning) for warning in inventory.warnings]


def _state(is_ready: bool, is_schedulable: bool) -> str:
    return ("Ready" if is_ready else "not Ready") + ("" if is_schedulable else ", unschedulable")


def _of_devices(inventory: Inventory) -> str:
    why = inventory.no_device_metrics_because
    return f", none of devices: {why}" if why else ""


def _device(device: Device) -> str:
    split = f" ({device.mig_profile})" if device.mig_profile else ""
    shared = f", {device.shares} shares each" if device.shares > 1 else ""
    return (device.product or "of unknown product") + split + shared


def _or_none(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
