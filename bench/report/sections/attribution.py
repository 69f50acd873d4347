"""Whose device it was: which pod the samples name, against which pod held the device."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bench.analysis.fidelity.attribution import Holding, Key
from bench.analysis.fidelity.devices import by_device, claims_of, holdings_of
from bench.model.measurement import FloatArray
from bench.report.blocks import Block, Cell, Prose, Table
from bench.report.known import Known, short_device

_NOBODY = "nobody"
_KINDS = (
    ("missing_labels_total", "nobody is named though a pod holds it"),
    ("wrong_pods_total", "a pod is named that never had it"),
    ("ghosts_total", "a pod is named that had it and has ended"),
    ("duplicates_total", "several are named, one holds it"),
)
_ROWS = 30


def blocks(known: Known) -> Iterator[Block]:
    """The matrix of named and holding pods, and the errors by kind."""
    rows: list[tuple[Cell | str, ...]] = []
    for name, words in _KINDS:
        found = known.all(name)
        if found:
            rows.append((words, f"{sum(float(each.values[-1]) for each in found):.0f}"))
    if rows:
        yield Table(headings=("error of attribution", "samples"), rows=rows, is_named=True)
    holdings = holdings_of(known.readings)
    if holdings:
        yield from _matrix(claims_of(by_device(known.readings).values()), holdings)


def _matrix(claims: Mapping[Key, FloatArray], holdings: Sequence[Holding]) -> Iterator[Block]:
    counts = _counts(claims, holdings)
    # what is wrong first, then the most frequent
    ordered = sorted(counts.items(), key=lambda each: (each[0][1] == each[0][2], -each[1]))
    rows: list[tuple[Cell | str, ...]] = [
        (short_device(uuid), named, holder, str(count), "right" if named == holder else "WRONG")
        for (uuid, named, holder), count in ordered[:_ROWS]
    ]
    if rows:
        headings = ("device", "pod that is named", "pod that held it then", "samples", "")
        yield Table(headings=headings, rows=rows, caption="Named against held", is_named=True)
    if len(ordered) > _ROWS:
        yield Prose(text=f"{len(ordered) - _ROWS} more pairs are left out.")


def _counts(claims: Mapping[Key, FloatArray], holdings: Sequence[Holding]) -> Counter[tuple[str, str, str]]:
    """Device, named pod, holding pod → samples; of several holders the named one counts."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for (uuid, named), times in claims.items():
        left = np.ones(times.size, dtype=bool)
        mine = [each for each in holdings if each.uuid == uuid]
        for held in sorted(mine, key=lambda each: each.pod != named):
            inside = left & (times >= held.start_seconds) & (times <= held.end_seconds)
            counts[uuid, named, held.pod] += int(inside.sum())
            left &= ~inside
        counts[uuid, named, _NOBODY] += int(left.sum())
    return Counter({key: count for key, count in counts.items() if count})
