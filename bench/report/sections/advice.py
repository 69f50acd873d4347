"""What to change: which target keeps the latency objective, and which interval is worth shortening."""

from collections.abc import Iterator

import numpy as np

from bench.analysis.advice import never_falling
from bench.drawing.curves import Plot, draw_curves
from bench.drawing.lines import Level, Line
from bench.report.blocks import Block, Cell, Picture, Prose, Table
from bench.report.known import Known, number

_LEVELS, _LATENCIES = "curve_utilisation_ratio", "curve_ttft_seconds"
_CHANGED = "reaction_mean_after_change_seconds"


def blocks(known: Known) -> Iterator[Block]:
    """The curve of latency over utilisation with the advised target, and the intervals."""
    yield from _curve(known)
    yield from _target(known)
    yield from _intervals(known)
    yield from _notes(known)


def _curve(known: Known) -> Iterator[Block]:
    levels, latencies = known.all(_LEVELS), known.all(_LATENCIES)
    if not levels or not latencies or levels[0].values.size != latencies[0].values.size:
        return
    order = np.argsort(levels[0].values, kind="stable")
    busy, waits = levels[0].values[order], latencies[0].values[order]
    fitted = never_falling(waits, np.ones(waits.size))
    lines = [
        Line(name="each window of the run", xs=busy, ys=waits, is_marks=True),
        Line(name="fit that never falls", xs=busy, ys=fitted, is_stepped=True),
    ]
    advised, slo = known.value("advised_target_ratio"), known.parameter("ttft_slo_seconds")
    words = "Mean time to first token over the mean utilisation of the devices in use, window by window"
    drawn = draw_curves(
        Plot(
            title="Latency over utilisation",
            words=words,
            x_label="utilisation, ratio",
            y_label="seconds",
            lines=lines,
            at_x=(Level(name="advised target", value=advised),) if advised is not None else (),
            at_y=(Level(name="SLO", value=slo),) if slo else (),
        )
    )
    yield Picture(svg=drawn, words=words)


def _target(known: Known) -> Iterator[Block]:
    for each in known.all("advised_target_ratio"):
        because = each.labels.get("because", "")
        yield Prose(text=f"Target to give the HPA: {float(each.values[-1]):.0%} of a device. {because}", is_strong=True)
    yield from (Prose(text=f"No target is advised: {each.reason}.") for each in known.absent("advised_target_ratio"))


def _intervals(known: Known) -> Iterator[Block]:
    rows: list[tuple[Cell | str, ...]] = []
    now = known.value("reaction_predicted_mean_seconds")
    for each in known.all(_CHANGED):
        after = float(each.values[-1])
        gain = f"{number(now - after, _CHANGED)} less" if now is not None else "-"
        rows.append((each.labels.get("change", "-"), number(after, _CHANGED), gain))
    if rows:
        headings = ("change", "mean reaction after it", "against now")
        yield Table(headings=headings, rows=rows, is_named=True)


def _notes(known: Known) -> Iterator[Block]:
    """Facts of the exporter and of its scraping that queries and rules must know."""
    rows: list[tuple[Cell | str, ...]] = [
        (each.labels["note"], number(float(each.values[-1])))
        for each in known.all("noted_total")
        if "note" in each.labels
    ]
    if rows:
        yield Table(headings=("to know for queries and rules", "seen in series"), rows=rows, is_named=True)
