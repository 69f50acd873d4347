"""
Whether what is asked during a run was there: when it did not answer, as those who asked it saw.

A bound that is not kept while a platform's eyes or hands were away for a moment accuses nobody.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from bench.model.measurement import Measurement, Reading, Source
from bench.model.units import Unit

LEAST_SECONDS: Final = 1.0
"""A connection that breaks and is made again is no absence."""


class Part(StrEnum):
    """What a run asks all the time."""

    API_SERVER = "the API server"
    PROMETHEUS = "Prometheus"

    @property
    def reading_name(self) -> str:
        """Of the reading that tells when it was away."""
        return f"{self.name.lower()}_away_seconds"


class Presence:
    """Hears from whoever asks, in any thread, whether there was an answer; knows from when to when there was none."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._answered_seconds = 0.0
        self._silent_seconds: float | None = None
        self._spans: list[tuple[float, float]] = []

    @property
    def is_away(self) -> bool:
        """Whether the last question got no answer."""
        return self._silent_seconds is not None

    def answered(self) -> None:
        """It answered now; a refusal is an answer."""
        with self._lock:
            self._answered_seconds = self._clock()
            if self._silent_seconds is not None:
                self._spans.append((self._silent_seconds, self._answered_seconds))
                self._silent_seconds = None

    def silent(self, asked_seconds: float) -> None:
        """A question of this time got no answer; others may have got one since."""
        with self._lock:
            if self._silent_seconds is None:
                self._silent_seconds = max(asked_seconds, self._answered_seconds)

    def away(self, part: Part, *, source: Source, since_seconds: float = 0.0) -> Iterator[Reading]:
        """How long each time, at the time when it began; nothing where it was there since then."""
        with self._lock:
            last = [] if self._silent_seconds is None else [(self._silent_seconds, self._clock())]
            spans = [(max(start, since_seconds), end) for start, end in (*self._spans, *last)]
        spans = [(start, end) for start, end in spans if end - start >= LEAST_SECONDS]
        if spans:
            yield Measurement(
                name=part.reading_name,
                unit=Unit.SECONDS,
                values=[end - start for start, end in spans],
                times_seconds=[start for start, _ in spans],
                source=source,
                statement=f"from the first question that {part} did not answer to its next answer",
            )


def told_away(readings: Iterable[Reading], parts: Iterable[Part] = tuple(Part)) -> str:
    """Which of the parts were away and from when to when, as a sentence without its end; empty where none was."""
    wanted = {part.reading_name: part for part in parts}
    return "; ".join(
        f"{wanted[each.name]} was away {_spans(each)} UTC"
        for each in readings
        if isinstance(each, Measurement) and each.name in wanted
    )


def _spans(away: Measurement) -> str:
    pairs = zip(away.times_seconds, away.times_seconds + away.values, strict=True)
    return " and ".join(f"from {_at(start)} to {_at(end)}" for start, end in pairs)


def _at(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}"
