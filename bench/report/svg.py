"""
Plots as SVG text: panels over one time, and bars of stages. Readable without colour: lines differ in dashes, and every
line carries its name.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np

from bench.model.measurement import FloatArray

_WIDTH, _LEFT, _RIGHT = 900.0, 70.0, 12.0
_PANEL, _GAP = 110.0, 44.0
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 2", "12 4")
_INKS = ("#1b4f9c", "#b3400a", "#2a7d2e", "#6a2d91", "#555555", "#0b7a8a")
# Twice the plot's width in pixels: more points than that cannot be seen.
_POINTS = 1200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Line:
    """A named line of a panel; a stepped one holds its value until the next."""

    name: str
    times_seconds: FloatArray
    values: FloatArray
    is_stepped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """Lines of one quantity; its unit is part of the title."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A stage: the median over repetitions with the least and the most, all in seconds."""

    name: str
    median_seconds: float
    least_seconds: float
    most_seconds: float
    note: str = ""


def thinned(line: Line) -> Line:
    """The line with at most some points: of each stretch the lowest and the highest, so that no peak is lost."""
    size = line.values.size
    if size <= _POINTS:
        return line
    edges = np.linspace(0, size, _POINTS // 2 + 1).astype(int)
    kept: list[int] = []
    for start, end in pairwise(edges):
        part = line.values[start:end]
        kept += sorted({start + int(part.argmin()), start + int(part.argmax())})
    return Line(
        name=line.name,
        times_seconds=line.times_seconds[kept],
        values=line.values[kept],
        is_stepped=line.is_stepped,
    )


def panels(given: Sequence[Panel], *, title: str) -> str:
    """The panels above each other over one axis of seconds since the first sample; empty without any line."""
    shown = [panel for panel in given if any(line.values.size for line in panel.lines)]
    if not shown:
        return ""
    every = np.concatenate([line.times_seconds for panel in shown for line in panel.lines])
    start, end = float(every.min()), float(every.max())
    height = len(shown) * (_PANEL + _GAP) + 50
    body = [text for number, panel in enumerate(shown) for text in _panel(panel, number, start, end)]
    body += _time_axis(start, end, height - 22)
    return _svg(title, height, body)


def _svg(title: str, height: float, body: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH:g} {height:g}" role="img" xmlns="http://www.w3.org/2000/svg" '
        f'font-family="sans-serif" font-size="11"><title>{escape(title)}</title>{"".join(body)}</svg>'
    )


def _x(time: float, start: float, end: float) -> float:
    return _LEFT + (time - start) / ((end - start) or 1.0) * (_WIDTH - _LEFT - _RIGHT)


def _panel(panel: Panel, number: int, start: float, end: float) -> Iterator[str]:
    top = number * (_PANEL + _GAP) + 34
    finite = np.concatenate([line.values[np.isfinite(line.values)] for line in panel.lines])
    low, high = min(0.0, float(finite.min(initial=0.0))), float(finite.max(initial=0.0))
    high = high if high > low else low + 1.0
    yield f'<text x="{_LEFT:g}" y="{top - 20:g}" font-weight="bold">{escape(panel.title)}</text>'
    for share in (0.0, 0.5, 1.0):
        y = top + _PANEL * (1 - share)
        yield f'<line x1="{_LEFT:g}" x2="{_WIDTH - _RIGHT:g}" y1="{y:g}" y2="{y:g}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 5:g}" y="{y + 4:g}" text-anchor="end">{low + share * (high - low):.4g}</text>'
    legend = _WIDTH - _RIGHT
    for place, line in reversed(list(enumerate(panel.lines))):
        style = f'stroke="{_INKS[place % len(_INKS)]}" stroke-dasharray="{_DASHES[place % len(_DASHES)]}"'
        points = " ".join(
            f"{_x(x, start, end):.1f},{top + _PANEL * (1 - (y - low) / (high - low)):.1f}" for x, y in _points(line)
        )
        yield f'<polyline points="{points}" fill="none" stroke-width="1.4" {style}/>'
        yield f'<text x="{legend:g}" y="{top - 5:g}" text-anchor="end">{escape(line.name)}</text>'
        legend -= 6.2 * len(line.name) + 8
        yield f'<line x1="{legend - 18:g}" x2="{legend:g}" y1="{top - 9:g}" y2="{top - 9:g}" stroke-width="2" {style}/>'
        legend -= 30


def _points(line: Line) -> Iterator[tuple[float, float]]:
    thin = thinned(line)
    before = None
    for x, y in zip(thin.times_seconds, thin.values, strict=True):
        if not np.isfinite(y):
            continue
        if line.is_stepped and before is not None:
            yield float(x), before
        yield float(x), float(y)
        before = float(y)


def _time_axis(start: float, end: float, y: float) -> list[str]:
    step = _round_step((end - start) / 8 or 1.0)
    ticks = np.arange(0.0, end - start + step / 2, step)
    texts = [
        f'<text x="{_x(start + tick, start, end):.1f}" y="{y:g}" text-anchor="middle">{tick:g}</text>' for tick in ticks
    ]
    return [
        *texts,
        f'<text x="{_WIDTH - _RIGHT:g}" y="{y + 15:g}" text-anchor="end">seconds since the first sample</text>',
    ]


def _round_step(raw: float) -> float:
    power = 10.0 ** np.floor(np.log10(raw))
    return float(next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= raw))


def bars(given: Sequence[Bar], *, title: str) -> str:
    """A bar a stage, in their order, with a line from the least to the most; empty without stages."""
    if not given:
        return ""
    most = max(1e-9, *(bar.most_seconds for bar in given))
    room = _WIDTH - 150 - 190
    body = []
    for number, bar in enumerate(given):
        y = number * 24 + 8
        ends = [
            150 + max(0.0, value) / most * room for value in (bar.median_seconds, bar.least_seconds, bar.most_seconds)
        ]
        middle = y + 8
        body.append(f'<text x="142" y="{y + 12}" text-anchor="end">{escape(bar.name)}</text>')
        body.append(
            f'<rect x="150" y="{y}" width="{max(1.0, ends[0] - 150):.1f}" height="16" fill="#9db7dd" stroke="#333"/>'
        )
        body.append(f'<line x1="{ends[1]:.1f}" x2="{ends[2]:.1f}" y1="{middle}" y2="{middle}" stroke="#000"/>')
        told = f"{bar.median_seconds:.2f} s ({bar.least_seconds:.2f} to {bar.most_seconds:.2f}) {bar.note}"
        body.append(f'<text x="{max(ends) + 8:.1f}" y="{y + 12}">{escape(told.strip())}</text>')
    return _svg(title, len(given) * 24 + 16, body)
