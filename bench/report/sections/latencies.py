"""How long answers took, from the record of every request, by the phase of the load."""

from collections.abc import Iterator

import numpy as np

from bench.drawing.curves import Plot, distribution, draw_curves
from bench.drawing.lines import Level
from bench.model.measurement import FloatArray
from bench.report.blocks import Block, Cell, Picture, Prose, Table
from bench.report.known import Known, number

_KINDS = (
    ("request_ttft_seconds", "time to first token"),
    ("request_e2e_seconds", "time to the whole answer"),
)
_QUANTILES = (0.5, 0.9, 0.99)


def blocks(known: Known) -> Iterator[Block]:
    """A plot of each kind of latency, and the quantiles of all."""
    rows: list[tuple[Cell | str, ...]] = []
    pictures = []
    for name, called in _KINDS:
        phases = _phases(known, name)
        rows += [_row(called, phase, values, name) for phase, values in phases.items()]
        words = f"Share of requests at or below a {called}, by phase of the load"
        drawn = draw_curves(
            Plot(
                title=words,
                words=words,
                x_label=f"{called}, seconds",
                y_label="share of requests",
                lines=[distribution(f"load {phase}", values) for phase, values in phases.items()],
                at_x=_slo(known, name),
                is_log=True,
            )
        )
        if drawn:
            pictures.append(Picture(svg=drawn, words=words))
    if rows:
        yield Prose(text="Counted from when a request was due, not from when it was sent: waiting is part of it.")
        yield from pictures
        headings = ("latency", "load", "requests", *(f"p{100 * share:g}" for share in _QUANTILES), "worst")
        yield Table(headings=headings, rows=rows, is_named=True)


def _phases(known: Known, name: str) -> dict[str, FloatArray]:
    phases = {}
    for phase in known.labels(name, "direction"):
        phases[phase] = np.concatenate([each.values for each in known.all(name, direction=phase)])
    if not phases and known.all(name):
        phases["all"] = np.concatenate([each.values for each in known.all(name)])
    return phases


def _slo(known: Known, name: str) -> tuple[Level, ...]:
    slo = known.parameter("ttft_slo_seconds") if "ttft" in name else None
    return (Level(name="SLO", value=slo),) if slo else ()


def _row(called: str, phase: str, values: FloatArray, name: str) -> tuple[Cell | str, ...]:
    quantiles = np.quantile(values, _QUANTILES, method="inverted_cdf")
    numbers = [number(float(each), name) for each in (*quantiles, values.max())]
    return (called, phase, str(values.size), *numbers)
