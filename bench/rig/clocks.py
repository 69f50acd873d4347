"""Whose clock is ahead of whose: this machine's against the API server's and against Prometheus'."""

import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from bench.cluster.client import Cluster
from bench.errors import BenchError, Unreachable
from bench.metrics.prometheus import Prometheus
from bench.model.measurement import Absent, Measurement, Reading, Source
from bench.model.units import Unit
from bench.probes.second_hand import SecondHand

PATH: Final = "/version"
QUESTIONS: Final = 16
"""About a second apart; ten of them reach the length of a round trip."""
LEAST_WAIT_SECONDS: Final = 0.5
READ_SECONDS: Final = 5.0
BENCH: Final = "bench"
OFFSET, BOUND = "clock_offset_seconds", "clock_bound_seconds"
"""Labels `of` and `against`: how far the first one's clock is ahead of the second's, and how sure that is."""


class Clocks:
    """Asks in the background until it knows; `readings` may be had at any time."""

    def __init__(self, cluster: Cluster, prometheus: Prometheus | None) -> None:
        self._cluster = cluster
        self._prometheus = prometheus
        self._second_hand = SecondHand()
        self._failure = "nothing was asked yet"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clocks", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(READ_SECONDS + 1.0)

    def readings(self) -> Iterator[Reading]:
        """The API server's clock, and that of Prometheus."""
        hand = self._second_hand
        if hand.is_known:
            yield from _told("api-server", f"dates of answers to GET {PATH}", hand.middle_seconds, hand.bound_seconds)
        else:
            yield _absent("api-server", f"GET {PATH}", self._failure)
        if self._prometheus is not None:
            try:
                found = self._prometheus.clock_offset()
            except Unreachable as error:
                yield _absent("prometheus", "vector(time())", str(error))
            else:
                yield from _told("prometheus", "vector(time())", found.offset_seconds, found.bound_seconds)

    def _run(self) -> None:
        wait = 0.0
        for _ in range(QUESTIONS):
            if self._stop.wait(wait):
                return
            try:
                self._ask()
            except BenchError as error:
                self._failure = str(error)
            now = time.time()
            wait = max(0.0, self._second_hand.next_question_seconds(now, LEAST_WAIT_SECONDS) - now)

    def _ask(self) -> None:
        before = time.time()
        answer = self._cluster.stream(PATH, query={}, read_timeout_seconds=READ_SECONDS)
        self._second_hand.hear(before, time.time(), answer.headers.get("Date", ""))
        answer.close()


def _told(of: str, statement: str, offset: float, bound: float) -> Iterator[Reading]:
    for name, value in ((OFFSET, offset), (BOUND, bound)):
        yield Measurement(
            name=name,
            unit=Unit.SECONDS,
            values=[value],
            source=Source.KUBERNETES,
            statement=statement,
            labels={"of": of, "against": BENCH},
        )


def _absent(of: str, statement: str, reason: str) -> Absent:
    labels = {"of": of, "against": BENCH}
    return Absent(name=OFFSET, source=Source.KUBERNETES, statement=statement, reason=reason, labels=labels)
