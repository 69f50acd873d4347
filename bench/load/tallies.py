"""What an engine counted: over a run, for each second and each backend; merged over workers by addition."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.load.histograms import COARSE_BITS, FINE_BITS, Histogram

#: Series over the whole run, on the fine grid.
SERIES = (
    "lateness",
    "connect",
    "ttft_from_intended",
    "ttft_from_sent",
    "e2e_from_intended",
    "e2e_from_sent",
    "itl",
    "tpot",
    "server_prefill",
    "server_total",
)
#: Series kept for each second, on the coarse grid.
SECOND_SERIES = (
    "lateness",
    "ttft_from_intended",
    "ttft_from_sent",
    "e2e_from_intended",
    "e2e_from_sent",
    "itl",
    "tpot",
)
SECOND_COUNTS = ("due", "sent", "answered", "failed", "good", "output_tokens")
BACKEND_SERIES = ("ttft_from_sent", "e2e_from_sent", "itl")
_BACKEND_BITS = 10
_SUMS = (
    "started",
    "sent",
    "ok",
    "good",
    "connections_opened",
    "prompt_tokens",
    "output_tokens_usage",
    "output_tokens_counted",
    "body_bytes",
    "records_dropped",
)


@dataclass(slots=True, kw_only=True)
class Second:
    """One second of a run, counted from its origin."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SECOND_COUNTS, 0))
    series: dict[str, Histogram] = field(
        default_factory=lambda: {name: Histogram(bits=COARSE_BITS) for name in SECOND_SERIES}
    )


@dataclass(slots=True, kw_only=True)
class Failures:
    """Failed requests of one class, with the first message seen."""

    count: int = 0
    example: str = ""
    by_status: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Backend:
    """What one backend answered."""

    counts: dict[str, int] = field(default_factory=lambda: {"answered": 0, "failed": 0, "output_tokens": 0})
    series: dict[str, Histogram] = field(
        default_factory=lambda: {name: Histogram(bits=_BACKEND_BITS) for name in BACKEND_SERIES}
    )


@dataclass(slots=True, kw_only=True)
class Tally:
    """Everything that one engine, or several together, counted."""

    sums: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_SUMS, 0))
    series: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram(bits=FINE_BITS) for name in SERIES})
    seconds: list[Second] = field(default_factory=list)
    failures: dict[str, Failures] = field(default_factory=dict)
    backends: dict[str, Backend] = field(default_factory=dict)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Tally":
        tally = cls()
        tally.take_in(told)
        return tally

    def take_in(self, told: Mapping[str, Any]) -> None:
        """Adds what an engine told."""
        for name in _SUMS:
            self.sums[name] += told[name]
        for name in SERIES:
            self.series[name].add(Histogram.from_json(told["series"][name]))
        for at, second in enumerate(told["seconds"]):
            self._take_second(at, second)
        for name, failures in told["failed"].items():
            self._take_failures(name, failures)
        for name, backend in told["backends"].items():
            mine = self.backends.setdefault(name, Backend())
            for key in mine.counts:
                mine.counts[key] += backend[key]
            for key, histogram in mine.series.items():
                histogram.add(Histogram.from_json(backend[key]))

    def second(self, at: int) -> Second:
        """The second of this number; those before it exist then too."""
        while len(self.seconds) <= at:
            self.seconds.append(Second())
        return self.seconds[at]

    def _take_second(self, at: int, told: Mapping[str, Any]) -> None:
        mine = self.second(at)
        for key in SECOND_COUNTS:
            mine.counts[key] += told[key]
        for key in SECOND_SERIES:
            mine.series[key].add(Histogram.from_json(told[key]))

    def _take_failures(self, name: str, told: Mapping[str, Any]) -> None:
        mine = self.failures.setdefault(name, Failures())
        mine.count += told["count"]
        mine.example = mine.example or told["example"]
        for status, count in told["by_status"].items():
            mine.by_status[int(status)] = mine.by_status.get(int(status), 0) + count

    def to_json(self) -> dict[str, Any]:
        """The engine's own form."""
        return {
            **self.sums,
            "series": {name: histogram.to_json() for name, histogram in self.series.items()},
            "seconds": [
                second.counts | {name: histogram.to_json() for name, histogram in second.series.items()}
                for second in self.seconds
            ],
            "failed": {
                name: {"count": failures.count, "example": failures.example, "by_status": failures.by_status}
                for name, failures in self.failures.items()
            },
            "backends": {
                name: backend.counts | {key: histogram.to_json() for key, histogram in backend.series.items()}
                for name, backend in self.backends.items()
            },
        }

    @property
    def failed(self) -> int:
        return sum(failures.count for failures in self.failures.values())

    def window(self, name: str, seconds: Sequence[Second]) -> Histogram:
        """A series over some of the seconds only."""
        total = Histogram(bits=COARSE_BITS)
        for second in seconds:
            total.add(second.series[name])
        return total


def merged(told: Iterable[Mapping[str, Any]]) -> Tally:
    """The tallies of all workers as one."""
    tally = Tally()
    for one in told:
        tally.take_in(one)
    return tally
