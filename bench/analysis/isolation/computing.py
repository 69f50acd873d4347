"""What pods that compute told, as readings: a rate a window of the burning ones, results of the nbody ones."""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final

from bench.model.measurement import Absent, Measurement, Reading, Source
from bench.model.units import Unit

_SPOKEN: Final = re.compile(r"GFLOP/s|error", re.IGNORECASE)
_RATE: Final = re.compile(r"= ([\d.]+) [\w-]+ GFLOP/s")


def read_burn(log: str, role: str, failure: str = "") -> Iterator[Reading]:
    """Of the measured device its rate in each window, at the window's middle; of its neighbour when it worked."""
    name, unit = ("burn_rate_flops", Unit.FLOPS) if role == "measured" else ("neighbour_duty_ratio", Unit.RATIO)
    statement, labels = f"workloads/gpu_burn.py in pod burn-{role}", {"role": role}
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    told = [line for line in lines if "operations" in line]
    pairs = list(pairwise(told))
    if not pairs:
        yield _absent(name, statement, failure or "the program told no two windows", labels)
        return
    work = [
        (after["operations"] - before["operations"]) / (after["utc_seconds"] - before["utc_seconds"])
        for before, after in pairs
    ]
    measured = role == "measured"
    yield Measurement(
        name=name,
        unit=unit,
        values=work if measured else [before["duty_ratio"] for before, _ in pairs],
        times_seconds=[(a["utc_seconds"] + b["utc_seconds"]) / 2 if measured else a["utc_seconds"] for a, b in pairs],
        source=Source.WORKLOAD,
        statement=statement,
        labels=labels,
    )


def read_nbody(texts: Mapping[str, str], pending: str, resource: str = "nvidia.com/gpu") -> Iterator[Reading]:
    """Results of the first and the third pod, and what the scheduler said of the second; the first two asked for it."""
    asked = {"part": "seed", "resource": resource}
    for pod, text in texts.items():
        labels, rates = {"pod": pod, **asked}, [float(found) * 1e9 for found in _RATE.findall(text)]
        if not _SPOKEN.search(text):
            yield _absent("nbody_results_total", "the pod's log", "it told neither a result nor an error", labels)
            continue
        yield _counted("nbody_results_total", float(len(rates)), "GFLOP/s in the pod's log", labels)
        if rates:
            yield Measurement(
                name="nbody_flops",
                unit=Unit.FLOPS,
                values=rates,
                source=Source.WORKLOAD,
                statement="GFLOP/s in the pod's log",
                labels=labels,
            )
    labels = {"pod": "second", **asked, **({"reason": pending} if pending else {})}
    yield _counted("nbody_kept_pending_total", 1.0 if pending else 0.0, "condition PodScheduled of the Pod", labels)


def _counted(name: str, value: float, statement: str, labels: Mapping[str, str]) -> Measurement:
    values, source = [value], Source.WORKLOAD
    return Measurement(name=name, unit=Unit.TOTAL, values=values, source=source, statement=statement, labels=labels)


def _absent(name: str, statement: str, reason: str, labels: Mapping[str, str]) -> Absent:
    return Absent(name=name, source=Source.WORKLOAD, statement=statement, reason=reason, labels=labels)
