"""What was looked for and not found, with the reason; the same reason once."""

from collections import Counter
from collections.abc import Iterator

from bench.model.measurement import Absent
from bench.report.blocks import Block, Cell, Prose, Table, code
from bench.report.known import Known, place_of

_SHOWN = 60


def blocks(known: Known) -> Iterator[Block]:
    """One table."""
    absent = [each for each in known.readings if isinstance(each, Absent)]
    counts = Counter((each.name, each.reason) for each in absent)
    places: dict[tuple[str, str], str] = {}
    for each in absent:
        places.setdefault((each.name, each.reason), place_of(each.labels))
    rows: list[tuple[Cell | str, ...]] = []
    for (name, reason), count in list(counts.items())[:_SHOWN]:
        where = places[name, reason]
        more = f" and {count - 1} more" if count > 1 else ""
        rows.append((code(name), f"{where}{more}" if where else "-", reason))
    if rows:
        yield Table(headings=("reading", "at", "because"), rows=rows, is_named=True)
    if len(counts) > _SHOWN:
        yield Prose(text=f"{len(counts) - _SHOWN} more are in readings.jsonl.")
