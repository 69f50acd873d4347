"""
How far Prometheus' clock is ahead of each probe's, put together from the comparisons that were made.

A probe compares its clock with the API server's, the bench its own with both, each within a bound; the bounds add up.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bench.model.measurement import Measurement, Reading

OFFSET, BOUND = "clock_offset_seconds", "clock_bound_seconds"
PROMETHEUS, API_SERVER, BENCH = "prometheus", "api-server", "bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """What to add to a probe's times to have Prometheus'; the truth lies within the bound."""

    seconds: float
    bound_seconds: float


UNKNOWN = Shift(seconds=0.0, bound_seconds=math.nan)


def node_shifts(readings: Iterable[Reading]) -> dict[str, Shift]:
    """By node; a node whose comparison is missing, or a run without the bench's own, has none."""
    found: dict[tuple[str, str, str], float] = {}
    for each in readings:
        if isinstance(each, Measurement) and each.name in (OFFSET, BOUND):
            key = (each.name, each.labels.get("of", ""), each.labels.get("against", ""))
            found[key] = float(each.values[-1])
    nodes = {against for _, of, against in found if of == API_SERVER and against != BENCH}
    shifts = {}
    for node in nodes:
        parts = ((1.0, PROMETHEUS, BENCH), (-1.0, API_SERVER, BENCH), (1.0, API_SERVER, node))
        if all((OFFSET, of, against) in found for _, of, against in parts):
            shifts[node] = Shift(
                seconds=sum(sign * found[OFFSET, of, against] for sign, of, against in parts),
                bound_seconds=sum(found.get((BOUND, of, against), 0.0) for _, of, against in parts),
            )
    return shifts
