"""
Probe every NVIDIA device of this machine through NVML. No cluster.

Asks all that the driver answers, watches the devices for some seconds, and judges what must hold of each. With --burn a
load is put on them meanwhile, which links and clocks need to show what they can.
"""

import argparse
import json
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.model.codec import to_json
from bench.model.measurement import Measurement, Reading
from bench.model.verdict import Verdict
from bench.probes.nvml import Answer
from bench.probes.probe import WATCH_SECONDS, DeviceReport, ProbeReport, probe
from bench.report.document import check_document
from bench.report.text import checks_table, verdict_text

_LONGEST_SECONDS = 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("--burn", type=_seconds, default=0.0, metavar="SECONDS", help="load the devices meanwhile")
    parser.add_argument("--watch", type=_seconds, default=WATCH_SECONDS, metavar="SECONDS", help="without a load")
    parser.add_argument("--all", action="store_true", help="print every answer, those that are absent too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {_LONGEST_SECONDS:g} seconds")
    return seconds


def run(arguments: argparse.Namespace) -> int:
    """Probe, and tell."""
    report = probe(burn_seconds=arguments.burn, watch_seconds=arguments.watch)
    if arguments.json:
        print(json.dumps(document(report), indent=1))
    else:
        _print(Console(), report, every=arguments.all)
    return report.verdict.exit_code


def document(report: ProbeReport) -> dict[str, Any]:
    """The report as plain data; signals as their statistics, since their samples are evidence for nobody here."""
    return {
        "verdict": report.verdict.value,
        "machine": report.machine,
        "system": [_answer(each) for each in report.system.values()],
        "devices": [
            {
                "index": device.index,
                "uuid": device.uuid,
                "lost": device.lost or None,
                "answers": [_answer(each) for each in device.answers.values()],
            }
            for device in report.devices
        ],
        "peers": [_answer(each) for each in report.peers],
        "readings": [_reading(each) for each in report.readings],
        "checks": [check_document(each) for each in report.checks],
        "burn": list(report.burn),
    }


def _answer(answer: Answer) -> dict[str, Any]:
    if answer.is_there:
        return {"statement": answer.statement, "value": answer.value}
    return {"statement": answer.statement, "absent": answer.reason}


def _reading(reading: Reading) -> dict[str, Any]:
    head = {"name": reading.name, "labels": dict(reading.labels), "statement": reading.statement}
    if not isinstance(reading, Measurement):
        return head | {"absent": reading.reason}
    values = reading.values
    statistics = {"samples_total": values.size, "min": values.min(), "mean": values.mean(), "max": values.max()}
    return head | {"unit": reading.unit.value} | {key: to_json(float(value)) for key, value in statistics.items()}


def _print(console: Console, report: ProbeReport, *, every: bool) -> None:
    driver = report.system.get("nvmlSystemGetDriverVersion")
    console.print(f"driver {driver.value if driver and driver.is_there else 'unknown'}, {report.machine}")
    for device in report.devices:
        console.print(_heading(device))
        if not device.lost:
            console.print(_signals(device, report.readings))
        if every:
            console.print(_answers(device))
    for told in report.burn:
        console.print(f"load: {escape(told.splitlines()[-1]) if told else 'said nothing'}")
    shown = [check for check in report.checks if every or check.verdict is not Verdict.PASS]
    if shown:
        console.print(checks_table(shown))
    counts = {verdict: sum(check.verdict is verdict for check in report.checks) for verdict in Verdict}
    told = ", ".join(f"{count} {verdict_text(verdict)}" for verdict, count in counts.items() if count)
    console.print(f"{told}; the machine: {verdict_text(report.verdict)}")


def _heading(device: DeviceReport) -> str:
    if device.lost:
        return f"[bold]{device.index}[/]  [bold red]{escape(device.lost)}[/]"
    name = device.answers["nvmlDeviceGetName"].value
    absent = sum(not answer.is_there for answer in device.answers.values())
    told = f"{len(device.answers) - absent} answers, {absent} absent"
    return f"[bold]{device.index}[/]  {escape(str(name))}  {escape(device.uuid)}  [dim]{told}[/]"


def _signals(device: DeviceReport, readings: tuple[Reading, ...]) -> Table:
    table = Table("signal", "least", "mean", "most", box=None, padding=(0, 2), header_style="dim")
    for cells in _signal_rows(device, readings):
        table.add_row(*cells)
    return table


def _signal_rows(device: DeviceReport, readings: tuple[Reading, ...]) -> Iterator[tuple[str, ...]]:
    for reading in readings:
        if reading.labels.get("uuid") != device.uuid or not reading.name.startswith("gpu_"):
            continue
        if isinstance(reading, Measurement):
            values = reading.values
            yield (reading.name, *(f"{each:.6g}" for each in (values.min(), values.mean(), values.max())))
        else:
            yield (reading.name, f"[dim]{escape(reading.reason)}[/]", "", "")


def _answers(device: DeviceReport) -> Table:
    table = Table("call", "answer", box=None, padding=(0, 2), header_style="dim")
    for answer in device.answers.values():
        told = escape(str(answer.value)) if answer.is_there else f"[dim]{escape(answer.reason)}[/]"
        table.add_row(escape(answer.statement), told)
    return table
