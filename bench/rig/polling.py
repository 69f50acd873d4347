"""Asks for a number at a rate, in a thread of its own, and keeps each answer with the time that lies in its middle."""

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

from bench import interruption
from bench.errors import BenchError
from bench.model.measurement import NO_LABELS, Absent, Measurement, Reading, Source
from bench.model.units import Unit

JOIN_SECONDS: Final = 35.0
"""A request under way may take its whole time-out."""
LOOK_SECONDS: Final = 1.0
"""Between two looks at what a silence comes from."""


class Poller:
    """
    One signal that nothing announces. Closing ends it; what it saw is a reading.

    While there is no value, `look` is called, so that what the value comes from is known to be there or away.
    """

    def __init__(
        self, ask: Callable[[], float | None], *, hertz: float, look: Callable[[], None] = lambda: None
    ) -> None:
        self._ask = ask
        self._look = look
        self._period_seconds = 1.0 / hertz
        self._times: list[float] = []
        self._values: list[float] = []
        self._asked: list[tuple[float, bool]] = []
        self._looked_seconds = 0.0
        self._failures: dict[str, int] = {}
        self._stop = threading.Event()
        self._told = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="poll", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """No more is asked."""
        self._stop.set()
        self._thread.join(JOIN_SECONDS)

    @property
    def last(self) -> float | None:
        """The newest answer; None where there is none yet."""
        return self._values[-1] if self._values else None

    def wait_until(self, claim: Callable[[float], bool], *, within_seconds: float) -> bool:
        """Whether the claim became true of an answer within the time."""
        with self._told:
            return any(
                self._told.wait_for(lambda: bool(self._values) and claim(self._values[-1]), seconds)
                for seconds in interruption.slices(within_seconds)
            )

    def answered(self, name: str, statement: str) -> Reading:
        """Of every question whether it was answered by a value: 1 or 0."""
        with self._told:
            asked = tuple(self._asked)
        if not asked:
            return Absent(name=name, source=Source.KUBERNETES, statement=statement, reason="nothing was asked")
        return Measurement(
            name=name,
            unit=Unit.RATIO,
            values=[float(is_answered) for _, is_answered in asked],
            times_seconds=[at for at, _ in asked],
            source=Source.KUBERNETES,
            statement=statement,
        )

    def reading(self, name: str, unit: Unit, statement: str, labels: Mapping[str, str] = NO_LABELS) -> Reading:
        """What was seen; absent with the commonest failure where nothing was."""
        if self._values:
            return Measurement(
                name=name,
                unit=unit,
                values=tuple(self._values),
                times_seconds=tuple(self._times),
                source=Source.KUBERNETES,
                statement=statement,
                labels=labels,
            )
        reason = max(self._failures, key=lambda each: self._failures[each], default="nothing was asked")
        return Absent(name=name, source=Source.KUBERNETES, statement=statement, reason=reason, labels=labels)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            self._look_after(is_answered=self._ask_once())
            due = max(due + self._period_seconds, time.monotonic())

    def _look_after(self, *, is_answered: bool) -> None:
        """What is behind a silence is looked at while it lasts, once a second, and when it is over."""
        is_over = is_answered and self._looked_seconds > 0.0
        is_due = not is_answered and time.monotonic() - self._looked_seconds >= LOOK_SECONDS
        if is_over or is_due:
            self._look()
            self._looked_seconds = 0.0 if is_answered else time.monotonic()

    def _ask_once(self) -> bool:
        before = time.time()
        reason, value = "no value", None
        try:
            value = self._ask()
        except BenchError as error:
            reason = str(error)[:200]
        at = (before + time.time()) / 2
        with self._told:
            self._asked.append((at, value is not None))
            if value is None:
                self._failures[reason] = self._failures.get(reason, 0) + 1
                return False
            self._times.append(at)
            self._values.append(value)
            self._told.notify_all()
        return True
