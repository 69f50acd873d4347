"""A plot of curves and marks between two numbers, such as a distribution or latency over utilisation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.drawing.axes import Axis, logarithmic, short, upright
from bench.drawing.ink import GRID, LEFT, LETTER, RIGHT, WIDTH, rule, svg, text
from bench.drawing.lines import LEGEND_ROW, Level, Line, drawn, legend, legend_rows
from bench.model.measurement import FloatArray

_HEIGHT = 230.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Curves over a common pair of axes, with values that matter on either."""

    title: str
    words: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    at_x: tuple[Level, ...] = ()
    at_y: tuple[Level, ...] = ()
    is_log: bool = False


def draw_curves(plot: Plot) -> str:
    """The plot; empty where there is nothing to draw."""
    lines = [_positive(line) for line in plot.lines] if plot.is_log else list(plot.lines)
    lines = [line for line in lines if np.isfinite(line.ys).any()]
    if not lines:
        return ""
    head = LEGEND_ROW * legend_rows(lines) + 10 + (12 if plot.at_x else 0)
    top, bottom = head, head + _HEIGHT
    across = _across(plot, lines)
    ys = np.concatenate([line.ys for line in lines] + [[level.value for level in plot.at_y]])
    ys = ys[np.isfinite(ys)]
    up = upright(float(ys.min()), float(ys.max()), top=top, bottom=bottom, about=5)
    body = [*legend(lines, 8), *_grid(plot, across, up), *_levels(plot, across, up)]
    body += [drawn(line, place, across, up) for place, line in enumerate(lines)]
    return svg(plot.title, plot.words, bottom + 36, body)


def distribution(name: str, values: FloatArray) -> Line:
    """The share of the values at or below each of them, as a stepped line."""
    ordered = np.sort(values[np.isfinite(values)])
    if not ordered.size:
        return Line(name=name, xs=ordered, ys=ordered)
    shares = np.arange(ordered.size + 1) / ordered.size
    return Line(name=name, xs=np.concatenate([ordered[:1], ordered]), ys=shares, is_stepped=True)


def _positive(line: Line) -> Line:
    keep = line.xs > 0
    return Line(name=line.name, xs=line.xs[keep], ys=line.ys[keep], is_stepped=line.is_stepped, is_marks=line.is_marks)


def _across(plot: Plot, lines: Sequence[Line]) -> Axis:
    xs = np.concatenate([line.xs for line in lines] + [[level.value for level in plot.at_x]])
    xs = xs[np.isfinite(xs) & ((xs > 0) | (not plot.is_log))]
    low, high = float(xs.min()), float(xs.max())
    if plot.is_log:
        return logarithmic(low, high, start=LEFT, end=WIDTH - RIGHT)
    return upright(low, high, bottom=LEFT, top=WIDTH - RIGHT, about=8)


def _grid(plot: Plot, across: Axis, up: Axis) -> list[str]:
    parts = []
    for value in across.ticks(8):
        x = across.place(value)
        parts.append(rule((x, up.start), (x, up.end), f'stroke="{GRID}"'))
        parts.append(text(x, up.start + 14, short(value), anchor="middle"))
    for value in up.ticks(5):
        y = up.place(value)
        parts.append(rule((LEFT, y), (WIDTH - RIGHT, y), f'stroke="{GRID}"'))
        parts.append(text(LEFT - 5, y + 4, short(value), anchor="end"))
    parts.append(text(WIDTH - RIGHT, up.start + 30, plot.x_label, anchor="end"))
    middle = (up.start + up.end) / 2
    label = text(14, middle, plot.y_label, anchor="middle")
    return [*parts, f'<g transform="rotate(-90 14 {middle:.0f})">{label}</g>']


def _levels(plot: Plot, across: Axis, up: Axis) -> list[str]:
    style = 'stroke="#111" stroke-dasharray="3 2" stroke-width=".9"'
    parts = []
    for level in plot.at_x:
        x = across.place(level.value)
        anchor = "end" if x + LETTER * len(level.name) > WIDTH - RIGHT else "start"
        parts.append(rule((x, up.start), (x, up.end - 4), style))
        parts.append(text(x + (2 if anchor == "start" else -2), up.end - 6, level.name, anchor=anchor))
    for level in plot.at_y:
        y = up.place(level.value)
        parts.append(rule((LEFT, y), (WIDTH - RIGHT, y), style))
        parts.append(text(WIDTH - RIGHT - 2, y - 3, level.name, anchor="end"))
    return parts
