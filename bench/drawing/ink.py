"""What lines and marks look like, and the elements of SVG that every figure is made of."""

from collections.abc import Sequence
from html import escape

WIDTH = 900.0
LEFT = 64.0
RIGHT = 14.0
INKS = ("#1b4f9c", "#b3400a", "#2a7d2e", "#6a2d91", "#333333", "#0b7a8a")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "1 2", "13 4")
GRID = "#d8d8d8"
SHADES = ("#ffffff", "#d9d9d9", "#9a9a9a")
BAD = 'fill="#8c8c8c" stroke="#000" stroke-width="2"'
# Of sans-serif at 11 units; what matters is that labels do not run into each other.
LETTER = 6.1


def svg(title: str, words: str, height: float, body: Sequence[str]) -> str:
    """A figure with a title and its content in words, for who cannot see it."""
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {height:g}" role="img" xmlns="http://www.w3.org/2000/svg" '
        f'font-family="sans-serif" font-size="11" fill="#111"><title>{escape(title)}</title>'
        f"<desc>{escape(words)}</desc>{''.join(body)}</svg>"
    )


def text(x: float, y: float, words: str, *, anchor: str = "start", is_bold: bool = False) -> str:
    """Words at a place."""
    weight = ' font-weight="bold"' if is_bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'


def rule(start: tuple[float, float], end: tuple[float, float], style: str) -> str:
    """A straight line."""
    return f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" {style}/>'


def box(x: float, y: float, size: tuple[float, float], style: str) -> str:
    """A rectangle."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{size[0]:.1f}" height="{size[1]:.1f}" {style}/>'


def stroke(place: int) -> str:
    """The look of the line at that place among its neighbours."""
    dash = DASHES[place % len(DASHES)]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'stroke="{INKS[place % len(INKS)]}" fill="none" stroke-width="1.4"{dashed}'


def mark(place: int, x: float, y: float) -> str:
    """A mark of its own shape for each place: disc, ring, square, triangle, cross, diamond."""
    ink = INKS[place % len(INKS)]
    shapes = (
        f"M{x - 2:.1f},{y:.1f}a2,2 0 1,0 4,0a2,2 0 1,0 -4,0",
        f"M{x - 2.5:.1f},{y:.1f}a2.5,2.5 0 1,0 5,0a2.5,2.5 0 1,0 -5,0",
        f"M{x - 2:.1f},{y - 2:.1f}h4v4h-4z",
        f"M{x:.1f},{y - 3:.1f}l3,5h-6z",
        f"M{x - 2.5:.1f},{y - 2.5:.1f}l5,5m0,-5l-5,5",
        f"M{x:.1f},{y - 3:.1f}l3,3l-3,3l-3,-3z",
    )
    is_filled = place % len(shapes) in (0, 2)
    return f'<path d="{shapes[place % len(shapes)]}" stroke="{ink}" fill="{ink if is_filled else "none"}"/>'
