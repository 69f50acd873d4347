"""Panels above each other over one time: lines of one quantity each, and rows of bars for what lasted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bench.drawing.axes import Axis, short, upright
from bench.drawing.ink import BAD, GRID, LEFT, LETTER, RIGHT, SHADES, WIDTH, box, rule, svg, text
from bench.drawing.lines import LEGEND_ROW, Level, Line, drawn, legend, legend_rows

_HEIGHT = 96.0
_GAP = 16.0
_TITLE = 16.0
_ROW = 17.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Lines of one quantity; its unit is part of the title."""

    title: str
    lines: tuple[Line, ...]
    levels: tuple[Level, ...] = ()

    @property
    def head(self) -> float:
        """What title and legend take."""
        return _TITLE + 5 + LEGEND_ROW * legend_rows(self.lines)

    @property
    def height(self) -> float:
        """What the panel takes."""
        return self.head + _HEIGHT + _GAP

    def draw(self, across: Axis, top: float) -> Iterator[str]:
        """The panel from `top` on."""
        yield text(LEFT, top + 11, self.title, is_bold=True)
        yield from legend(self.lines, top + _TITLE + 6)
        up = self._axis(top + self.head, top + self.head + _HEIGHT)
        for value in up.ticks(3):
            y = up.place(value)
            yield rule((LEFT, y), (WIDTH - RIGHT, y), f'stroke="{GRID}"')
            yield text(LEFT - 5, y + 4, short(value), anchor="end")
        for level in self.levels:
            y = up.place(level.value)
            yield rule((LEFT, y), (WIDTH - RIGHT, y), 'stroke="#111" stroke-dasharray="3 2" stroke-width=".8"')
            yield text(WIDTH - RIGHT, y - 3, level.name, anchor="end")
        for place, line in enumerate(self.lines):
            yield drawn(line, place, across, up)

    def _axis(self, top: float, bottom: float) -> Axis:
        every = np.concatenate([line.ys for line in self.lines] + [[level.value for level in self.levels]])
        finite = every[np.isfinite(every)]
        return upright(float(finite.min(initial=0.0)), float(finite.max(initial=0.0)), top=top, bottom=bottom)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Something that lasted; what is bad is dark."""

    name: str
    start: float
    end: float
    is_bad: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What lasted, a row each, as bars on the same time; the bars of one row follow each other in their order."""

    title: str
    rows: tuple[tuple[str, tuple[Span, ...]], ...]

    @property
    def height(self) -> float:
        """What the rows take."""
        return _TITLE + 6 + _ROW * len(self.rows) + _GAP

    def draw(self, across: Axis, top: float) -> Iterator[str]:
        """The rows from `top` on."""
        yield text(LEFT, top + 11, self.title, is_bold=True)
        for number, (name, spans) in enumerate(self.rows):
            y = top + _TITLE + 6 + number * _ROW
            if name:
                yield text(LEFT - 5, y + 10, name, anchor="end")
            for place, span in enumerate(spans):
                yield from _span(span, place, across, y)


def _span(span: Span, place: int, across: Axis, y: float) -> Iterator[str]:
    ends = sorted((across.place(span.start), across.place(span.end)))
    plain = f'fill="{SHADES[place % len(SHADES)]}" stroke="#333" stroke-width=".6"'
    yield box(ends[0], y, (max(0.8, ends[1] - ends[0]), 13), BAD if span.is_bad else plain)
    if not span.name:
        return
    if ends[1] + LETTER * len(span.name) + 8 < WIDTH:
        yield text(ends[1] + 4, y + 10, span.name)
    else:
        yield text(ends[0] - 4, y + 10, span.name, anchor="end")


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A stretch of time with a name, behind all panels."""

    name: str
    start: float
    end: float
    is_shaded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Panels and rows over one time, with what happened when behind them."""

    title: str
    words: str
    parts: Sequence[Panel | Rows]
    start: float
    end: float
    bands: tuple[Band, ...] = ()
    time_label: str = "seconds since the start"


def draw_over_time(figure: Figure) -> str:
    """The figure; empty without any part."""
    if not figure.parts:
        return ""
    end = figure.end if figure.end > figure.start else figure.start + 1.0
    across = Axis(low=figure.start, high=end, start=LEFT, end=WIDTH - RIGHT)
    top = 18.0 if figure.bands else 4.0
    bottom = top + sum(part.height for part in figure.parts)
    body = [part for band in figure.bands for part in _band(band, across, top, bottom)]
    for value in across.ticks(9):
        x = across.place(value)
        body.append(rule((x, top), (x, bottom), f'stroke="{GRID}" stroke-width=".6"'))
        body.append(text(x, bottom + 14, short(value), anchor="middle"))
    body.append(text(WIDTH - RIGHT, bottom + 28, figure.time_label, anchor="end"))
    y = top
    for part in figure.parts:
        body += part.draw(across, y)
        y += part.height
    return svg(figure.title, figure.words, bottom + 34, body)


def _band(band: Band, across: Axis, top: float, bottom: float) -> Iterator[str]:
    start, end = across.place(band.start), across.place(band.end)
    if band.is_shaded:
        yield box(start, top, (max(0.0, end - start), bottom - top), 'fill="#f0f0f0"')
    yield rule((start, top - 12), (start, bottom), 'stroke="#888" stroke-width=".8"')
    if end - start > LETTER * len(band.name):
        yield text(start + 3, top - 3, band.name)
