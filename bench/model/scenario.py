"""
What a scenario, a workload and a rig promise to each other.

A scenario yields readings and declares checks; it never judges, prints or writes. A rig is all that it may touch.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from bench.model.check import Check
from bench.model.load import LoadResult, LoadShape
from bench.model.measurement import Reading
from bench.model.needs import Need


class Clock(Protocol):
    """Two readings of time: UTC for the evidence, monotonic for durations."""

    def utc_seconds(self) -> float:
        """Seconds since the epoch."""

    def monotonic_seconds(self) -> float:
        """Seconds of a clock that never goes back."""


@runtime_checkable
class Workload(Protocol):
    """What runs on accelerators, as Kubernetes objects."""

    @property
    def name(self) -> str:
        """Name of its objects."""

    def manifests(self) -> Iterable[Mapping[str, Any]]:
        """The objects, in the order in which they are made."""


class Rig(Protocol):
    """All that a scenario may touch during one run."""

    @property
    def run_id(self) -> str:
        """Label value of every object of this run."""

    @property
    def clock(self) -> Clock:
        """The one clock that durations come from."""

    def namespace(self) -> AbstractContextManager[Any]:
        """A namespace of the run's own, removed with all in it when the block ends, whatever happened."""

    def apply_load(self, shape: LoadShape, url: str) -> LoadResult:
        """Make requests as `shape` says and wait until they are done."""

    def query(self, name: str) -> Reading:
        """The present value of a metric that the bench knows by this name."""

    def probe(self, *, node: str, seconds: float) -> Iterator[Reading]:
        """What NVML on `node` says for `seconds`, device by device."""


class Scenario(Protocol):
    """One claim: what it needs, how it is tried, and what must hold."""

    def needs(self) -> Iterable[Need]:
        """Conditions without which the run proves nothing."""

    def run(self, rig: Any) -> Iterable[Reading]:
        """Try it; yield what was measured as it comes."""

    def checks(self) -> Iterable[Check]:
        """What must hold of the readings."""


@runtime_checkable
class Analysed(Protocol):
    """A scenario that derives readings from its readings, purely, so that it can be done again from disk."""

    def analyse(self, readings: tuple[Reading, ...]) -> Iterable[Reading]:
        """Readings that follow from the readings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One verb on one resource that a scenario uses."""

    verb: str
    group: str
    resource: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What a scenario takes: time, accelerators, objects and rights; shown before anything is done."""

    duration_seconds: float
    accelerators: int = 0
    objects: tuple[str, ...] = ()
    rights: tuple[Right, ...] = ()

    @property
    def gpu_minutes(self) -> float:
        """Accelerators held times minutes."""
        return self.accelerators * self.duration_seconds / 60.0


@runtime_checkable
class Weighed(Protocol):
    """A scenario that says what it takes."""

    def footprint(self) -> Footprint:
        """What it takes with its present parameters."""
