"""
The load generator's gates as ratios in one run: ``python -m tests.bench.gates``.

The client is pinned to one core and the C server to another; truth is the server's log. Needs two cores, a C compiler,
and for one row uvloop. Writes results/bench-load/<time>.json and .md.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.measures import Bench, fidelity, growth, merging, paced, secured, short_requests, stall
from tests.bench.programs import build, may_go_first, say
from tests.bench.rows import Row

ROOT = Path(__file__).parents[2]


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "",
    )
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit,
        "load_average": os.getloadavg(),
        "nice": -15 if may_go_first() else 0,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def markdown(rows: Sequence[Row], around: dict[str, Any]) -> str:
    lines = [
        "# Load generator: gates",
        "",
        (
            f"{around['processor']}, {around['cores']} cores, Linux {around['kernel']}, Python {around['python']}, "
            f"commit {around['commit'][:12]}, {around['at']}; load average before {around['load_average'][0]:.2f}, "
            f"clients and servers at nice {around['nice']}."
        ),
        "",
        "| gate | measured | must | stretch | verdict | detail |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        must = "" if row.must is None else f"{row.relation} {row.must:g}"
        stretch = "" if row.stretch is None else f"{row.relation} {row.stretch:g}"
        lines.append(f"| {row.gate} | {row.value:.4g} {row.unit} | {must} | {stretch} | {row.verdict} | {row.detail} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="interleaved rounds of the paced runs")
    parser.add_argument("--window", type=float, default=6.0, help="seconds of each paced window")
    parser.add_argument("--only", help="gates whose name begins so")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench-load")
    arguments = parser.parse_args()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpu-bench" / "bench-load"
    build(cache)
    bench = Bench(programs=cache, window_seconds=arguments.window)
    gates: dict[str, Callable[[], list[Row]]] = {
        "paced-100": partial(paced, bench, 100, arguments.rounds),
        "paced-1000": partial(paced, bench, 1000, arguments.rounds),
        "short": partial(short_requests, bench),
        "fidelity": partial(fidelity, bench),
        "stall": partial(stall, bench),
        "merging": partial(merging, bench),
        "growth": partial(growth, bench),
        "secured": partial(secured, bench),
    }
    around, began = machine(), time.monotonic()
    rows: list[Row] = []
    for name, gate in gates.items():
        if not name.startswith(arguments.only or ""):
            continue
        say(f"{name} …")
        rows += gate()
    text = markdown(rows, around)
    say(f"\n{text}\n{time.monotonic() - began:.0f} s")
    if not arguments.only:
        arguments.out.mkdir(parents=True, exist_ok=True)
        stem = arguments.out / f"{around['at'][:19].replace(':', '')}"
        stem.with_suffix(".md").write_text(text)
        stem.with_suffix(".json").write_text(
            json.dumps({"machine": around, "rows": [row.to_json() for row in rows]}, indent=1) + "\n"
        )
    return 1 if any(row.verdict == "FAIL" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
