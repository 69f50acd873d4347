"""Line plots as SVG, drawn here: a page with them needs no library and loads nothing from elsewhere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 760, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 150, 16, 40
#: Okabe and Ito's colours: told apart by most eyes.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A named line; points without a value are left out before."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One plot: lines over a common pair of axes."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    log_x: bool = False


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers between two others."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    first = math.ceil(low / step - 1e-9)
    return [count * step for count in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten around both; what is below a millionth is drawn there."""
    low = min(max(low, 1e-6), high)
    return [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    start: float
    end: float
    logarithmic: bool

    def place(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.logarithmic:
            low, high, at = math.log10(low), math.log10(high), math.log10(max(value, low))
        share = (at - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)


def draw(plot: Plot) -> str:
    """The plot as an SVG element; one of no points says so."""
    points = [point for line in plot.lines for point in line.points if not plot.log_x or point[0] > 0]
    if not points:
        return f"<p>{escape(plot.title)}: nothing to draw</p>"
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high = (
        (_decades(min(xs), max(xs))[0], _decades(min(xs), max(xs))[-1]) if plot.log_x else (min(0.0, *xs), max(xs))
    )
    across = _Axis(low, high if high > low else low + 1, _LEFT, _WIDTH - _RIGHT, plot.log_x)
    top = max(ys) if max(ys) > 0 else 1.0
    up = _Axis(min(0.0, *ys), top, _HEIGHT - _BOTTOM, _TOP, False)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(plot.title)}">']
    parts += _grid(plot, across, up)
    for number, line in enumerate(plot.lines):
        parts += _line(line, number, across, up)
    return "\n".join([*parts, "</svg>"])


def _grid(plot: Plot, across: _Axis, up: _Axis) -> list[str]:
    parts = []
    for value in _decades(across.low, across.high) if across.logarithmic else ticks(across.low, across.high):
        x = across.place(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{up.start}" y2="{up.end}"/>')
        parts.append(f'<text x="{x:.1f}" y="{up.start + 14}" text-anchor="middle">{value:g}</text>')
    for value in ticks(up.low, up.high):
        y = up.place(value)
        parts.append(f'<line class="grid" x1="{across.start}" x2="{across.end}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{across.start - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    middle = (across.start + across.end) / 2
    parts.append(f'<text x="{middle:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(plot.x_label)}</text>')
    turned = f'transform="rotate(-90 14 {_HEIGHT / 2:.0f})"'
    parts.append(f'<text x="14" y="{_HEIGHT / 2:.0f}" text-anchor="middle" {turned}>{escape(plot.y_label)}</text>')
    return parts


def _line(line: Line, number: int, across: _Axis, up: _Axis) -> list[str]:
    colour = _COLOURS[number % len(_COLOURS)]
    places = " ".join(
        f"{across.place(x):.1f},{up.place(y):.1f}" for x, y in line.points if not across.logarithmic or x > 0
    )
    y, beside = _TOP + 12 + 16 * number, _WIDTH - _RIGHT + 10
    return [
        f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{places}"/>',
        f'<line x1="{beside}" x2="{beside + 18}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" stroke-width="3"/>',
        f'<text x="{beside + 22}" y="{y}">{escape(line.name)}</text>',
    ]
