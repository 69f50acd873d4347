"""What a report is made of before it has a form, HTML or Markdown: sections of tables, pictures and text."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.model.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell with a note below it in small, or with a verdict as its words."""

    text: str
    note: str = ""
    verdict: Verdict | None = None
    is_code: bool = False
    href: str = ""


def verdict_cell(verdict: Verdict) -> Cell:
    """A verdict as a cell."""
    return Cell(text=verdict.value, verdict=verdict)


def code(text: str) -> Cell:
    """A name as the program spells it."""
    return Cell(text=text, is_code=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under headings; the first cell of a row names it where `is_named`."""

    headings: tuple[str, ...]
    rows: Sequence[tuple[Cell | str, ...]]
    caption: str = ""
    is_named: bool = False

    def cells(self) -> list[tuple[Cell, ...]]:
        """The rows with every cell as one."""
        return [tuple(each if isinstance(each, Cell) else Cell(text=each) for each in row) for row in self.rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure as SVG, what it shows in words for who cannot see it, and how to read it."""

    svg: str
    words: str
    caption: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prose:
    """A paragraph."""

    text: str
    is_strong: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A command or a file, as it is typed."""

    text: str


Block = Table | Picture | Prose | Code


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and what stands below it; short forms begin with what `is_first` and leave out what `is_long`."""

    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)
    is_first: bool = False
    is_long: bool = False
