"""Whose device it was: which pod the samples name, against which pod held the device."""

from collections.abc import Iterator

from bench.report.blocks import Block, Cell, Prose, Table
from bench.report.known import Known, short_device

_SAMPLES = "attribution_samples_total"
_KINDS = (
    ("missing_labels_total", "nobody is named though a pod holds it"),
    ("wrong_pods_total", "a pod is named that never had it"),
    ("ghosts_total", "a pod is named that had it and has ended"),
    ("duplicates_total", "several are named, one holds it"),
)
_ROWS = 30


def blocks(known: Known) -> Iterator[Block]:
    """The errors by kind, added up over the devices, and the matrix of named and holding pods."""
    rows: list[tuple[Cell | str, ...]] = []
    for name, words in _KINDS:
        found = known.all(name)
        if found:
            rows.append((words, f"{sum(float(each.values[-1]) for each in found):.0f}"))
    if rows:
        yield Table(headings=("error of attribution", "samples"), rows=rows, is_named=True)
    yield from _matrix(known)


def _matrix(known: Known) -> Iterator[Block]:
    """What is wrong first, then the most frequent."""
    pairs = [
        (each.labels.get("claimed", ""), each.labels.get("held", ""), int(each.values[-1]), each.labels.get("uuid", ""))
        for each in known.all(_SAMPLES)
    ]
    ordered = sorted(pairs, key=lambda pair: (pair[0] == pair[1], -pair[2]))
    rows: list[tuple[Cell | str, ...]] = [
        (
            short_device(uuid),
            claimed or "nobody",
            held or "nobody",
            str(count),
            "right" if claimed == held else "not the holder",
        )
        for claimed, held, count, uuid in ordered[:_ROWS]
    ]
    if rows:
        headings = ("device", "named by the sample", "held the device", "samples", "")
        yield Table(headings=headings, rows=rows, caption="Named against held", is_named=True)
        yield Prose(
            text="Around the start and the end of a holding the labels follow late; the errors above leave it out."
        )
    if len(ordered) > _ROWS:
        yield Prose(text=f"{len(ordered) - _ROWS} more pairs are left out.")
