"""What pods saw and tried that was not given to them: a matrix of parts and routes, each with its outcome."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping

from bench.model.measurement import Measurement
from bench.report.blocks import Block, Cell, Table
from bench.report.known import Known

_SEEN = "devices_seen_total"
_TRIED = "attempts_total"
_REACHED = "reached"
_ADMITTED = ("host_path_admitted_total", "plain_pod_admitted_total")
# Labels that make a row of their own beside the part.
_WAYS = ("way", "attempted")


def blocks(known: Known) -> Iterator[Block]:
    """What each part saw by each route, what became of each attempt, and what was admitted."""
    yield from _matrix(known.all(_SEEN), "Devices seen, by part and by route", _seen)
    yield from _matrix(known.all(_TRIED), "Attempts, by part and by route", _outcomes)
    rows: list[tuple[Cell | str, ...]] = [
        (
            each.labels.get("attempted", "-"),
            "admitted" if each.values[-1] else "refused",
            each.labels.get("outcome", "-"),
        )
        for name in _ADMITTED
        for each in known.all(name)
    ]
    if rows:
        headings = ("a Pod with", "outcome", "the API server says")
        yield Table(headings=headings, rows=rows, caption="Asked of admission", is_named=True)


def _seen(cell: list[Measurement]) -> Cell:
    """How many devices the pods of one cell saw, and why some could not look."""
    counts = Counter(int(each.values[-1]) for each in cell)
    told = ", ".join(f"{devices} in {pods} pod{'s' if pods > 1 else ''}" for devices, pods in sorted(counts.items()))
    return Cell(
        text=told, note="; ".join(sorted({each.labels["reason"] for each in cell if each.labels.get("reason")}))
    )


def _outcomes(cell: list[Measurement]) -> Cell:
    counts: Counter[str] = Counter()
    for each in cell:
        outcome, is_own = each.labels.get("outcome", "tried"), each.labels.get("whose") == "own"
        whose = "its own" if is_own else "another's"
        told = outcome if is_own or outcome != _REACHED else outcome.upper()
        counts[f"{whose}: {told}"] += int(each.values.sum())
    return Cell(text="; ".join(f"{told} (times {count})" for told, count in sorted(counts.items()) if count) or "-")


def _matrix(found: list[Measurement], caption: str, told: Callable[[list[Measurement]], Cell]) -> Iterator[Block]:
    routes = list(dict.fromkeys(each.labels["route"] for each in found if each.labels.get("route")))
    cells: dict[str, dict[str, list[Measurement]]] = defaultdict(lambda: defaultdict(list))
    for each in found:
        if each.labels.get("route"):
            cells[_row(each.labels)][each.labels["route"]].append(each)
    if not routes:
        return
    rows: list[tuple[Cell | str, ...]] = [
        (row, *(told(by_route[route]) if by_route[route] else "-" for route in routes))
        for row, by_route in cells.items()
    ]
    yield Table(headings=("part", *routes), rows=rows, caption=caption, is_named=True)


def _row(labels: Mapping[str, str]) -> str:
    beside = [labels[key] for key in _WAYS if labels.get(key) and labels[key] != "none"]
    beside += ["second container"] if labels.get("container") == "other" else []
    return ", ".join([labels.get("part", "-"), *beside])
