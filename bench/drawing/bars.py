"""A bar for each of some durations in their order, with every repetition as a mark."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.drawing.axes import Axis, short, upright
from bench.drawing.ink import BAD, GRID, box, rule, svg, text
from bench.model.measurement import FloatArray

_NAMES, _END, _ROW = 110.0, 640.0, 24.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bar:
    """Repetitions of one duration: the estimate with its interval, the worst that is allowed, and words beside it."""

    name: str
    values: FloatArray
    estimate: float
    low: float
    high: float
    worst: float | None = None
    is_bad: bool = False
    words: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the most that is drawn."""
        every = [0.0, *self.values, self.estimate, self.low, self.high, *([] if self.worst is None else [self.worst])]
        return min(every), max(every)


def draw_bars(bars: Sequence[Bar], *, title: str, words: str) -> str:
    """The bars over one axis of seconds; empty without any."""
    if not bars:
        return ""
    low, high = min(bar.ends[0] for bar in bars), max(bar.ends[1] for bar in bars)
    across = upright(low, high, bottom=_NAMES, top=_END, about=6)
    bottom = 6 + len(bars) * _ROW
    body = []
    for value in across.ticks(6):
        x = across.place(value)
        body.append(rule((x, 4), (x, bottom), f'stroke="{GRID if value else "#555"}"'))
        body.append(text(x, bottom + 13, short(value), anchor="middle"))
    body.append(text(_END + 12, bottom + 13, "seconds"))
    for number, bar in enumerate(bars):
        body += _bar(bar, across, 8 + number * _ROW)
    return svg(title, words, bottom + 20, body)


def _bar(bar: Bar, across: Axis, y: float) -> Iterator[str]:
    middle, zero, at = y + 8, across.place(0.0), across.place(bar.estimate)
    start, width = min(zero, at), max(1.0, abs(at - zero))
    yield text(_NAMES - 8, y + 12, bar.name, anchor="end", is_bold=bar.is_bad)
    yield box(start, y + 1, (width, 14), BAD if bar.is_bad else 'fill="#c9d6ea" stroke="#333"')
    if bar.worst is not None:
        x = across.place(bar.worst)
        yield rule((x, y - 2), (x, y + 18), 'stroke="#111" stroke-width="1.6" stroke-dasharray="3 2"')
    yield rule((across.place(bar.low), middle), (across.place(bar.high), middle), 'stroke="#000"')
    for value in bar.values:
        yield f'<circle cx="{across.place(float(value)):.1f}" cy="{middle:.1f}" r="2.4" fill="#fff" stroke="#000"/>'
    yield text(_END + 12, y + 12, bar.words, is_bold=bar.is_bad)
