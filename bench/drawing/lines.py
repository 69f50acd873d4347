"""Lines and marks between two axes, and the legend that names them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from bench.drawing.axes import Axis
from bench.drawing.ink import LEFT, LETTER, RIGHT, WIDTH, mark, rule, stroke, text
from bench.model.measurement import FloatArray

# Twice a plot's width in pixels: more points than that cannot be seen.
POINTS = 1200
_SAMPLE = 22.0
LEGEND_ROW = 14.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Line:
    """
    Named values over something that rises, time mostly; broken where a value is not a number.

    A stepped one holds its value until the next; of one that `is_marks` each value is a mark of its own.
    """

    name: str
    xs: FloatArray
    ys: FloatArray
    is_stepped: bool = False
    is_marks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A value that matters, across the whole plot: a bound, a mean."""

    name: str
    value: float


def thinned(line: Line) -> Line:
    """The line with at most some points: of each stretch the lowest and the highest, so that no peak is lost."""
    size = line.ys.size
    if size <= POINTS:
        return line
    edges = np.linspace(0, size, POINTS // 2 + 1).astype(int)
    kept: list[int] = []
    for start, end in pairwise(edges):
        part = line.ys[start:end]
        if np.isnan(part).all():
            kept.append(int(start))
        else:
            kept += sorted({start + int(np.nanargmin(part)), start + int(np.nanargmax(part))})
    return replace(line, xs=line.xs[kept], ys=line.ys[kept])


def within(line: Line, start: float, end: float) -> Line:
    """The part of the line between two places, with the values that it has there."""
    inside = (line.xs >= start) & (line.xs <= end)
    xs, ys = line.xs[inside], line.ys[inside]
    if line.is_marks or not line.xs.size:
        return replace(line, xs=xs, ys=ys)
    edges = [edge for edge in (start, end) if line.xs[0] <= edge <= line.xs[-1]]
    before = np.searchsorted(line.xs, edges, side="right") - 1
    at_edges = line.ys[before] if line.is_stepped else np.interp(edges, line.xs, line.ys)
    xs, ys = np.concatenate([xs, edges]), np.concatenate([ys, at_edges])
    order = np.argsort(xs, kind="stable")
    return replace(line, xs=xs[order], ys=ys[order])


def drawn(line: Line, place: int, across: Axis, up: Axis) -> str:
    """The line or its marks; empty where nothing of it is a number."""
    thin = thinned(line)
    if line.is_marks:
        known = np.isfinite(thin.ys) & np.isfinite(thin.xs)
        pairs = zip(thin.xs[known], thin.ys[known], strict=True)
        return "".join(mark(place, across.place(float(x)), up.place(float(y))) for x, y in pairs)
    path = "".join(_path(thin, across, up))
    return f'<path d="{path}" {stroke(place)}/>' if path else ""


def _path(line: Line, across: Axis, up: Axis) -> Iterator[str]:
    before: float | None = None
    for x, y in zip(line.xs, line.ys, strict=True):
        if not (np.isfinite(x) and np.isfinite(y)):
            before = None
            continue
        at, height = across.place(float(x)), up.place(float(y))
        if before is None:
            yield f"M{at:.1f},{height:.1f}"
        elif line.is_stepped:
            yield f"H{at:.1f}V{height:.1f}"
        else:
            yield f"L{at:.1f},{height:.1f}"
        before = height


def legend(lines: Sequence[Line], top: float) -> list[str]:
    """A sample and a name for each line, in rows from the left."""
    if len(lines) == 1:
        return []
    parts = []
    for place, (line, (x, row)) in enumerate(zip(lines, _places(lines), strict=True)):
        y = top + row * LEGEND_ROW
        if line.is_marks:
            parts.append(mark(place, x + _SAMPLE / 2, y))
        else:
            parts.append(rule((x, y), (x + _SAMPLE, y), stroke(place)))
        parts.append(text(x + _SAMPLE + 4, y + 4, line.name))
    return parts


def legend_rows(lines: Sequence[Line]) -> int:
    """How many rows the legend takes; what is alone is named by the title."""
    if len(lines) == 1:
        return 0
    return max((row for _, row in _places(lines)), default=-1) + 1


def _places(lines: Sequence[Line]) -> list[tuple[float, int]]:
    places, x, row = [], LEFT, 0
    for line in lines:
        width = _SAMPLE + 4 + LETTER * len(line.name) + 14
        if x > LEFT and x + width > WIDTH - RIGHT:
            x, row = LEFT, row + 1
        places.append((x, row))
        x += width
    return places
