"""
Measure the lab against its budgets: the table that `make bench-lab` prints and keeps under results/bench-lab.

Exit status: 0 all bounds are met, 1 one is missed, 4 a measurement broke.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.lab import measuring
from tests.lab.running import ROOT, running_lab, unique_name

ROUNDS = 5
PODS = 40
CROWD_PODS = 200
CROWD_NODES = 20
GIB = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: what was measured, and what it is held against."""

    what: str
    unit: str
    values: tuple[float, ...]
    judged_by: str
    """max, or p95 where there are many values."""
    bound: float

    @property
    def judged(self) -> float:
        return max(self.values) if self.judged_by == "max" else percentile(self.values, 0.95)

    @property
    def is_met(self) -> bool:
        return self.judged <= self.bound


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not below this share of them."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]


def measure(say: Callable[[str], None]) -> tuple[list[Row], dict[str, Any]]:
    """All rows, and what belongs to them without being a bound."""
    lives = measuring.lifetimes(ROUNDS, say)
    with tempfile.TemporaryDirectory() as scratch:
        with running_lab(unique_name("bench")) as lab, measuring.connected(lab, Path(scratch)) as target:
            say("idle")
            idle = measuring.idle(lab)
            say(f"{PODS} pods, one after another")
            pods = measuring.pod_times(lab, target, PODS)
        size = ("--nodes", str(CROWD_NODES), "--gpus", "1")
        with running_lab(unique_name("bench"), *size) as lab, measuring.connected(lab, Path(scratch)) as target:
            say(f"{CROWD_PODS} pods on {CROWD_NODES} nodes")
            crowd = measuring.crowd_seconds(target, CROWD_PODS)
    rows = [
        row("`bench lab up` to every service Ready", "s", lives.up_seconds, 15.0),
        row("idle CPU of control plane, agent and services", "cores", [idle.cores], 0.25),
        row("idle memory of the same (resident)", "GiB", [idle.resident_bytes / GIB], 1.6e9 / GIB),
        row("pod: bound to Running", "s", pods.running_seconds, 0.150, judged_by="p95"),
        row("pod: deleted to gone", "s", pods.gone_seconds, 0.300, judged_by="p95"),
        row(f"{CROWD_PODS} pods on {CROWD_NODES} nodes, all Running", "s", [crowd], 30.0),
        row("`bench lab down`, nothing left", "s", lives.down_seconds, 2.0),
        row("`kill -9` of the supervisor, nothing left", "s", lives.killed_seconds, 2.0),
    ]
    beside = {
        "idle_proportional_gibibytes": idle.proportional_bytes / GIB,
        "idle_by_program": {
            name: {"cores": cores, "resident_bytes": size_bytes}
            for name, (cores, size_bytes) in sorted(idle.by_program.items())
        },
        "pod_bound_to_program_started_seconds": pods.started_seconds,
    }
    return rows, beside


def row(what: str, unit: str, values: Sequence[float], bound: float, *, judged_by: str = "max") -> Row:
    assert values, f"{what}: nothing was measured"
    return Row(what=what, unit=unit, values=tuple(values), judged_by=judged_by, bound=bound)


def machine() -> dict[str, Any]:
    """What the numbers depend on; nothing that names the machine."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    memory = next(int(line.split()[1]) * 1024 for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gibibytes": round(memory / GIB, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "as_root": os.geteuid() == 0,
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()


def table(rows: Sequence[Row], on: dict[str, Any], at: str) -> str:
    """For people."""
    who = "root" if on["as_root"] else "an unprivileged user"
    where = (
        f"{on['cpu']}, {on['cores']} cores, {on['memory_gibibytes']} GiB, Linux {on['kernel']}, Python {on['python']}"
    )
    lines = [
        "# The lab against its budgets",
        "",
        "Fidelity: embedded. Every figure is of the lab on the machine below; none is of a cluster.",
        "",
        f"{at}, {where}, as {who}.",
        "",
        "| what | n | min | median | max | judged by | bound | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in rows:
        low, middle, high = min(each.values), statistics.median(each.values), max(each.values)
        lines.append(
            f"| {each.what} ({each.unit}) | {len(each.values)} | {low:.3f} | {middle:.3f} | {high:.3f} "
            f"| {each.judged_by} {each.judged:.3f} | ≤ {each.bound:.3g} | {'met' if each.is_met else '**not met**'} |"
        )
    return "\n".join([*lines, ""])


def write(folder: Path, rows: Sequence[Row], beside: dict[str, Any], at: str) -> str:
    """report.json for programs, table.md for people; gives the latter."""
    on = machine()
    folder.mkdir(parents=True, exist_ok=True)
    report = {
        "schema": 1,
        "fidelity": "embedded",
        "measured_at": at,
        "machine": on,
        "rows": [{**asdict(each), "judged": each.judged, "is_met": each.is_met} for each in rows],
        "beside": beside,
    }
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    text = table(rows, on, at)
    (folder / "table.md").write_text(text, encoding="utf-8")
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench-lab", help="folder of all dates")
    arguments = parser.parse_args()
    at = datetime.now(UTC)
    rows, beside = measure(_say)
    sys.stdout.write(write(arguments.out / f"{at:%Y-%m-%d}", rows, beside, f"{at:%Y-%m-%d %H:%M} UTC"))
    return 0 if all(each.is_met for each in rows) else 1


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
