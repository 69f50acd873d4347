"""
Readings: what was measured, or that it was absent and why.

A measurement carries all that is needed to judge it again: values with their times, unit, source, and the statement
(PromQL, API path, NVML call) that brought it. An absence is a value of its own; it is never a zero.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from bench.model.units import Unit

FloatArray = npt.NDArray[np.float64]
Floats = Sequence[float] | FloatArray

NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})


def no_labels() -> Mapping[str, str]:
    """The labels of what has none; a factory, since a default of a dataclass must be hashable."""
    return NO_LABELS


class Source(StrEnum):
    """Where a reading comes from."""

    KUBERNETES = "kubernetes"
    PROMETHEUS = "prometheus"
    EXPORTER = "exporter"
    NVML = "nvml"
    LOAD = "load"
    WORKLOAD = "workload"
    ANALYSIS = "analysis"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The time that a measurement speaks about, both ends aware UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.utcoffset() is None or self.end.utcoffset() is None:
            raise ValueError(f"window {self.start} to {self.end}: a time without an offset cannot be compared")
        if self.end < self.start:
            raise ValueError(f"window ends at {self.end.isoformat()} before it starts at {self.start.isoformat()}")

    @classmethod
    def of_seconds(cls, start_seconds: float, end_seconds: float) -> "Window":
        """The window between two times given as UTC seconds since the epoch."""
        return cls(start=datetime.fromtimestamp(start_seconds, UTC), end=datetime.fromtimestamp(end_seconds, UTC))

    @property
    def duration_seconds(self) -> float:
        """Length of the window."""
        return (self.end - self.start).total_seconds()


def _frozen_floats(values: Floats) -> FloatArray:
    array = np.ascontiguousarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"values form one series, not an array of {array.ndim} dimensions")
    if not array.flags.writeable:
        return array
    if array is values:
        array = array.copy()
    array.setflags(write=False)
    return array


@dataclass(frozen=True, slots=True, kw_only=True, init=False, eq=False)
class Measurement:
    """
    Values in the order of their times, with unit, source and statement; never empty.

    Times are UTC seconds since the epoch, one a value, or none where all values belong to the window as a whole.
    """

    name: str
    unit: Unit
    values: FloatArray
    times_seconds: FloatArray
    source: Source
    statement: str
    window: Window | None
    labels: Mapping[str, str]

    def __init__(  # noqa: PLR0913  (a measurement without one of these cannot be judged again)
        self,
        *,
        name: str,
        unit: Unit,
        values: Floats,
        source: Source,
        statement: str,
        times_seconds: Floats = (),
        window: Window | None = None,
        labels: Mapping[str, str] = NO_LABELS,
    ) -> None:
        put = object.__setattr__
        put(self, "name", name)
        put(self, "unit", unit)
        put(self, "values", _frozen_floats(values))
        put(self, "times_seconds", _frozen_floats(times_seconds))
        put(self, "source", source)
        put(self, "statement", statement)
        put(self, "window", window)
        put(self, "labels", MappingProxyType(dict(labels)))
        self._refuse_nonsense()

    def _refuse_nonsense(self) -> None:
        if not self.unit.ends(self.name):
            raise ValueError(f"{self.name!r} is in {self.unit}: its name must end in _{self.unit}")
        if self.values.size == 0:
            raise ValueError(f"{self.name!r} has no values: that is Absent with a reason, not a measurement")
        if not self.statement:
            raise ValueError(f"{self.name!r} does not say by which statement it was measured")
        if self.times_seconds.size not in (0, self.values.size):
            raise ValueError(f"{self.name!r} has {self.values.size} values and {self.times_seconds.size} times")
        if np.any(np.diff(self.times_seconds) < 0):
            raise ValueError(f"{self.name!r}: its times go backwards")

    def _identity(self) -> tuple[object, ...]:
        return (self.name, self.unit, self.source, self.statement, self.window, tuple(sorted(self.labels.items())))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Measurement):
            return NotImplemented
        return (
            self._identity() == other._identity()
            and np.array_equal(self.values, other.values, equal_nan=True)
            and np.array_equal(self.times_seconds, other.times_seconds)
        )

    def __hash__(self) -> int:
        return hash(self._identity())


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """Something that was looked for and not found; the reason says what was seen instead."""

    name: str
    source: Source
    statement: str
    reason: str
    labels: Mapping[str, str] = field(default_factory=no_labels)

    def __post_init__(self) -> None:
        if not self.reason:
            raise ValueError(f"{self.name!r} is absent without a reason")
        object.__setattr__(self, "labels", MappingProxyType(dict(self.labels)))

    def __hash__(self) -> int:
        return hash((self.name, self.source, self.statement, self.reason, tuple(sorted(self.labels.items()))))


Reading = Measurement | Absent


def find_readings(readings: Iterable[Reading], name: str, labels: Mapping[str, str] = NO_LABELS) -> list[Reading]:
    """The readings of that name that carry all of `labels`."""
    return [
        each
        for each in readings
        if each.name == name and all(each.labels.get(key) == value for key, value in labels.items())
    ]
