"""Follows several collections at once, each in a thread of its own, and keeps every event with its receipt time."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from bench import interruption
from bench.cluster.client import Cluster
from bench.cluster.objects import Object
from bench.cluster.watch import Change, Event, Watch
from bench.errors import BenchError, DeadlineExceeded

JOIN_SECONDS = 10.0

Present = dict[str, Object]
"""What is there, by name (``namespace/name``)."""


@dataclass(slots=True)
class Followed:
    """One collection: all its events so far, and what is there now."""

    path: str
    _events: list[Event] = field(default_factory=list)
    _present: Present = field(default_factory=dict)
    _failure: BenchError | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def events(self) -> tuple[Event, ...]:
        """Everything that was seen, in the order of receipt. Raises what ended the watch, if anything did."""
        with self._changed:
            self._raise_failure()
            return tuple(self._events)

    def present(self) -> Present:
        """What is there now."""
        with self._changed:
            self._raise_failure()
            return dict(self._present)

    def wait_until(self, claim: Callable[[Present], bool], *, within_seconds: float) -> Present:
        """What is there as soon as the claim is true of it. Raises `DeadlineExceeded`."""
        with self._changed:
            told = any(
                self._changed.wait_for(lambda: self._failure is not None or claim(self._present), timeout=seconds)
                for seconds in interruption.slices(within_seconds)
            )
            self._raise_failure()
            if not told:
                names = ", ".join(sorted(self._present)) or "nothing"
                what = getattr(claim, "__name__", "the condition").replace("_", " ")
                raise DeadlineExceeded(f"{self.path}: not {what} after {within_seconds:g} s; there is {names}.")
            return dict(self._present)

    def _take(self, event: Event) -> None:
        metadata = event.object["metadata"]
        name = f"{metadata.get('namespace', '')}/{metadata['name']}"
        with self._changed:
            self._events.append(event)
            if event.change is Change.DELETED:
                self._present.pop(name, None)
            else:
                self._present[name] = event.object
            self._changed.notify_all()

    def _fail(self, failure: BenchError) -> None:
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


class Recorder:
    """The followed collections of one scenario; closing ends all watches."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def follow(self, path: str, *, label_selector: str = "", field_selector: str = "") -> Followed:
        """Begin to follow a collection; what is there already comes as the first events."""
        followed = Followed(path)
        watch = Watch(
            self._cluster, path, label_selector=label_selector, field_selector=field_selector, stop=self._stop
        )
        thread = threading.Thread(target=_follow, args=(watch, followed), name=f"follow {path}", daemon=True)
        self._threads.append(thread)
        thread.start()
        return followed

    def close(self) -> None:
        """Returns when no watch is left."""
        self._stop.set()
        for thread in self._threads:
            thread.join(JOIN_SECONDS)


def _follow(watch: Watch, followed: Followed) -> None:
    try:
        for event in watch:
            followed._take(event)  # noqa: SLF001 (the other half of this module)
    except BenchError as failure:
        followed._fail(failure)  # noqa: SLF001
