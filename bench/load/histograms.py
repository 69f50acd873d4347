"""Log-linear histograms of nanoseconds on the engine's grid: merging is addition, quantiles exact to a cell."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Precision of a whole run's histograms: a cell is 0.024 % wide.
FINE_BITS = 12
#: Precision of those kept for each second: 0.4 %.
COARSE_BITS = 8

_NANOSECONDS = 1_000_000_000


def cell_of(bits: int, nanoseconds: int) -> int:
    """The cell that a value falls into."""
    if nanoseconds >> bits == 0:
        return nanoseconds
    power = nanoseconds.bit_length() - 1
    return ((power - bits + 1) << bits) + ((nanoseconds >> (power - bits)) & ((1 << bits) - 1))


def edges_of(bits: int, cell: int) -> tuple[int, int]:
    """First value of a cell, and the first after it."""
    if cell >> bits == 0:
        return cell, cell + 1
    power = (cell >> bits) - 1
    floor = ((cell & ((1 << bits) - 1)) + (1 << bits)) << power
    return floor, floor + (1 << power)


@dataclass(slots=True, kw_only=True)
class Histogram:
    """Counts of values in cells; grows by `record` and `add`, otherwise only read."""

    bits: int = FINE_BITS
    count: int = 0
    sum_nanoseconds: int = 0
    min_nanoseconds: int = 0
    max_nanoseconds: int = 0
    cells: dict[int, int] = field(default_factory=dict)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Histogram":
        """As the engine tells it: sum, min and max in nanoseconds, cells and their counts as two lists."""
        return cls(
            bits=told["bits"],
            count=told["count"],
            sum_nanoseconds=told["sum"],
            min_nanoseconds=told["min"],
            max_nanoseconds=told["max"],
            cells=dict(zip(told["cells"], told["counts"], strict=True)),
        )

    def to_json(self) -> dict[str, Any]:
        """The engine's own form, so that histograms of any origin merge."""
        ordered = sorted(self.cells.items())
        return {
            "bits": self.bits,
            "count": self.count,
            "sum": self.sum_nanoseconds,
            "min": self.min_nanoseconds,
            "max": self.max_nanoseconds,
            "cells": [cell for cell, _ in ordered],
            "counts": [count for _, count in ordered],
        }

    def record(self, nanoseconds: int) -> None:
        value = max(nanoseconds, 0)
        cell = cell_of(self.bits, value)
        self.cells[cell] = self.cells.get(cell, 0) + 1
        self.min_nanoseconds = min(self.min_nanoseconds, value) if self.count else value
        self.max_nanoseconds = max(self.max_nanoseconds, value)
        self.count += 1
        self.sum_nanoseconds += value

    def add(self, other: "Histogram") -> None:
        """Takes another's counts in; a finer grid folds into this one, a coarser one cannot."""
        if other.bits < self.bits:
            raise ValueError(f"a histogram of {other.bits} bits has lost what one of {self.bits} bits needs")
        if other.count == 0:
            return
        for cell, count in other.cells.items():
            mine = cell if other.bits == self.bits else cell_of(self.bits, edges_of(other.bits, cell)[0])
            self.cells[mine] = self.cells.get(mine, 0) + count
        self.min_nanoseconds = min(self.min_nanoseconds, other.min_nanoseconds) if self.count else other.min_nanoseconds
        self.max_nanoseconds = max(self.max_nanoseconds, other.max_nanoseconds)
        self.count += other.count
        self.sum_nanoseconds += other.sum_nanoseconds

    def mean_seconds(self) -> float | None:
        return self.sum_nanoseconds / self.count / _NANOSECONDS if self.count else None

    def quantile_seconds(self, share: float) -> float | None:
        """The value below which this share of the samples lies; those of one cell are taken as evenly spread in it."""
        if self.count == 0:
            return None
        rank = int(share * (self.count - 1))
        seen = 0
        for cell, count in sorted(self.cells.items()):
            if seen + count > rank:
                floor, ceiling = edges_of(self.bits, cell)
                value = floor + (ceiling - floor) * (rank - seen + 0.5) / count
                return min(max(value, self.min_nanoseconds), self.max_nanoseconds) / _NANOSECONDS
            seen += count
        return self.max_nanoseconds / _NANOSECONDS

    def summary(self) -> dict[str, float | int | None]:
        """Count, mean, p50, p90, p99, p999, max; of no samples every statistic is null, for absent is not zero."""
        return {
            "count": self.count,
            "mean": self.mean_seconds(),
            "p50": self.quantile_seconds(0.5),
            "p90": self.quantile_seconds(0.9),
            "p99": self.quantile_seconds(0.99),
            "p999": self.quantile_seconds(0.999),
            "max": self.max_nanoseconds / _NANOSECONDS if self.count else None,
        }

    def cumulative(self) -> list[tuple[float, float]]:
        """Points (seconds, share at or below) for a plot."""
        points, seen = [], 0
        for cell, count in sorted(self.cells.items()):
            seen += count
            points.append((edges_of(self.bits, cell)[1] / _NANOSECONDS, seen / self.count))
        return points


def merged(histograms: Iterable[Histogram], bits: int = FINE_BITS) -> Histogram:
    """One histogram of all samples."""
    total = Histogram(bits=bits)
    for histogram in histograms:
        total.add(histogram)
    return total
