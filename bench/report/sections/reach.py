"""Which replica counts the HPA can reach by its own arithmetic, said before the run and held against it."""

from collections.abc import Iterator

from bench.report.blocks import Block, Cell, Prose, Table
from bench.report.known import Known, number

_SEEN = "reach_usage_most_metric_value"
_UP = "reach_up_above_metric_value"
_DOWN = "reach_down_at_most_metric_value"


def blocks(known: Known) -> Iterator[Block]:
    """The table of replica counts, and what each load step was expected to lead to."""
    counts = sorted(known.labels(_SEEN, "replicas"), key=int)
    if counts:
        rule = "; ".join(known.labels(_SEEN, "aggregation"))
        yield Prose(text=f"The metric is the {rule} over the devices of the pods." if rule else "")
        headings = ("replicas", "can go up", "can go down", "the metric can show at most")
        yield Table(headings=headings, rows=[_row(known, count) for count in counts], is_named=True)
        most = known.value("reachable_replicas_total")
        if most is not None:
            yield Prose(text=f"Reached one by one from the least: at most {most:.0f} replicas.", is_strong=True)
    steps = list(_steps(known))
    if steps:
        headings = ("load step", "replicas' worth of load", "replicas predicted", "changes of direction predicted")
        yield Table(headings=headings, rows=steps, is_named=True)


def _row(known: Known, count: str) -> tuple[Cell | str, ...]:
    seen, up, down = (known.value(name, replicas=count) for name in (_SEEN, _UP, _DOWN))
    rises = "no: it is the maximum"
    if up is not None and seen is not None:
        rises = f"above {number(up)}" if seen > up else f"never: only above {number(up)}"
    falls = "no: it is the minimum"
    if down is not None:
        falls = f"at {number(down)} or less" if down >= 0 else f"never: only at {number(down)} or less"
    return (count, rises, falls, "-" if seen is None else number(seen))


def _steps(known: Known) -> Iterator[tuple[Cell | str, ...]]:
    for step in known.labels("demand_devices_total", "step"):
        fewest, most = (known.value("predicted_replicas_total", step=step, bound=bound) for bound in ("fewest", "most"))
        if fewest is None or most is None:
            continue
        told = f"{fewest:.0f}" if fewest == most else f"{fewest:.0f} to {most:.0f}"
        demand, turns = known.value("demand_devices_total", step=step), known.value("predicted_turns_total", step=step)
        yield (step, number(demand or 0.0), told, "-" if turns is None else number(turns))
