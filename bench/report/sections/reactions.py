"""How long the autoscaler took to react, against what the intervals on the way predict."""

from collections.abc import Iterator

import numpy as np

from bench.drawing.curves import Plot, distribution, draw_curves
from bench.drawing.lines import Level, Line
from bench.report.blocks import Block, Cell, Picture, Prose, Table
from bench.report.known import Known, number

_INTERVALS = (
    ("collect_interval_seconds", "the exporter reads the device every"),
    ("scrape_interval_seconds", "Prometheus scrapes every"),
    ("sync_interval_seconds", "the autoscaler looks every"),
)


def blocks(known: Known) -> Iterator[Block]:
    """The measured clocks, and the reactions as a distribution."""
    clocks: list[tuple[Cell | str, ...]] = []
    for name, called in _INTERVALS:
        value = known.value(name)
        if value is not None:
            clocks.append((called, number(value, name)))
    if clocks and known.all("reaction_seconds"):
        yield Table(headings=("clock, as it was measured", "seconds"), rows=clocks, is_named=True)
    yield from _distribution(known)


def _distribution(known: Known) -> Iterator[Block]:
    predicted = known.all("reaction_predicted_quantile_seconds")
    # The distribution is told from the busy device on; without one, mean and worst count from the load step.
    name = "reaction_after_device_seconds" if predicted else "reaction_seconds"
    measured = np.array([float(each.values[0]) for each in known.all(name)])
    if not measured.size:
        return
    lines = [distribution(f"measured, {measured.size} steps", measured)]
    levels = []
    if predicted:
        quantiles = predicted[0].values
        lines.append(Line(name="predicted", xs=quantiles, ys=np.linspace(0.0, 1.0, quantiles.size)))
    else:
        for each, called in (("mean", "predicted mean"), ("worst", "predicted worst")):
            value = known.value(f"reaction_predicted_{each}_seconds")
            levels += [Level(name=called, value=value)] if value is not None else []
    since = "the device is busy" if predicted else "the load step"
    words = f"Share of load steps up that the autoscaler had decided on, by seconds since {since}"
    drawn = draw_curves(
        Plot(
            title="Reaction times",
            words=words,
            x_label=f"seconds since {since}",
            y_label="share of steps",
            lines=lines,
            at_x=tuple(levels),
        )
    )
    yield Picture(svg=drawn, words=words)
    chance = known.value("reaction_ks_p_value_ratio")
    if chance is not None:
        yield Prose(
            text=f"If the prediction is right, a distance as large as the measured one has a chance of {chance:.2g} "
            "(Kolmogorov-Smirnov)."
        )
    yield from (Prose(text=f"Not told: {each.reason}.") for each in known.absent("reaction_ks_p_value_ratio"))
