"""What a run came to, in a few numbers: of the readings that a reader asks for first, those that are there."""

from collections.abc import Iterator

import numpy as np

from bench.report.blocks import Block, Cell, Table
from bench.report.known import Known, number

_UP = {"direction": "up"}
_DOWN = {"direction": "down"}

# What it is called, the reading, its labels.
_ASKED: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("what one replica answers", "replica_capacity_per_second", {}),
    ("from a load step to the autoscaler's decision", "reaction_seconds", {}),
    ("what the measured intervals predict for it, on average", "reaction_predicted_mean_seconds", {}),
    ("and at worst", "reaction_predicted_worst_seconds", {}),
    ("from a load step up to the last stage that was seen", "stages_together_seconds", _UP),
    ("most replicas asked for", "desired_replicas_total", {}),
    ("time to first token, load up", "request_ttft_seconds", _UP),
    ("time to first token, load down", "request_ttft_seconds", _DOWN),
    ("requests lost", "requests_failed_total", {}),
    ("requests later than the objective, load up", "requests_late_ratio", _UP),
    ("device-seconds held and not needed", "over_provisioned_device_seconds", {}),
    ("device-seconds needed and not held", "under_provisioned_device_seconds", {}),
    ("age of a sample when it is stored", "sample_age_seconds", {}),
    ("how old a fresh one is", "fresh_age_seconds", {}),
    ("samples with the right pod", "attribution_precision_ratio", {}),
    ("pods and samples that were named", "attribution_recall_ratio", {}),
    ("throughput of a neighbour beside its own when alone", "neighbour_throughput_ratio", {}),
)
_MANY = 8
_SUMS = frozenset({"requests_failed_total"})
_MOST = frozenset({"desired_replicas_total"})


def blocks(known: Known) -> Iterator[Block]:
    """One table; the median of many values with the middle nine tenths, else each of them."""
    rows: list[tuple[Cell | str, ...]] = []
    for called, name, labels in _ASKED:
        found = known.all(name, **labels)
        if found:
            values = np.concatenate([each.values for each in found])
            rows.append((called, _told(name, values[np.isfinite(values)])))
    if rows:
        yield Table(headings=("what", "measured"), rows=rows, is_named=True)


def _told(name: str, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    if values.size == 0:
        return "not a number"
    if name in _SUMS or name in _MOST:
        return number(float(values.sum() if name in _SUMS else values.max()), name)
    if values.size <= _MANY:
        return ", ".join(number(float(value), name) for value in values)
    low, middle, high = (number(float(each), name) for each in np.quantile(values, (0.05, 0.5, 0.95)))
    return f"median {middle}, nine tenths within {low} and {high}, of {values.size}"
