"""How far a build is and when it will end: the arithmetic, and the two ways to show it. Builds nothing itself."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One look at a build."""

    what: str
    """What is going on, for instance ``prometheus: compiling``."""
    done: int = 0
    total: int = 0
    """Go packages over all parts asked for; 0 while that is not known yet."""
    seconds_left: float | None = None


class Reporter(Protocol):
    """Where a build tells how it goes. `update` may be called often, `say` is for what should stay readable."""

    def update(self, progress: Progress) -> None: ...

    def say(self, line: str) -> None: ...


class Quiet:
    """Tells nothing."""

    def update(self, progress: Progress) -> None: ...

    def say(self, line: str) -> None: ...


def spoken_duration(seconds: float | None) -> str:
    """``about 12 min left``; rounded to what the estimate is worth."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(1, round(seconds / 5)) * 5} s left"
    return f"about {round(seconds / 60)} min left"


class Lines:
    """For a log or a pipe: a line when something new begins, and one every few seconds while it lasts."""

    INTERVAL_SECONDS: Final = 5.0

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._told_at = -self.INTERVAL_SECONDS
        self._told_what = ""

    def update(self, progress: Progress) -> None:
        now = self._clock()
        if progress.what == self._told_what and now - self._told_at < self.INTERVAL_SECONDS:
            return
        self._told_at, self._told_what = now, progress.what
        counted = f" {progress.done}/{progress.total} packages" if progress.total else ""
        left = spoken_duration(progress.seconds_left)
        self.say(f"{progress.what}{counted}{', ' + left if left else ''}")

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)  # noqa: T201 - this is the port to the terminal


class Terminal:
    """A rich progress bar, redrawn in place. A context manager: the bar goes when the build is over."""

    def __init__(self, stream: TextIO) -> None:
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(),
            console=Console(file=stream),
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task("looking", total=None, left="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def update(self, progress: Progress) -> None:
        left = spoken_duration(progress.seconds_left)
        if progress.total:
            self._bar.update(self._task, completed=progress.done, total=progress.total)
        self._bar.update(self._task, description=progress.what, left=left)

    def say(self, line: str) -> None:
        self._bar.console.print(line, markup=False, highlight=False)


@contextmanager
def reporter_for(stream: TextIO | None = None) -> Iterator[Reporter]:
    """The reporter that suits a stream (standard error if none is given): a bar on a terminal, lines elsewhere."""
    stream = stream or sys.stderr
    if stream.isatty():
        with Terminal(stream) as terminal:
            yield terminal
    else:
        yield Lines(stream)


@dataclass(frozen=True, slots=True)
class PackageKey:
    """A Go package as the build cache sees it, near enough: the same path in two versions is compiled twice."""

    path: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageWork:
    """What one package costs, in bytes of source, and whether Go's build cache holds it already."""

    source_bytes: int
    cached: bool


LINK_SOURCE_BYTES: Final = 1_500_000
"""Linking one program takes as long as compiling this much source."""
SOURCE_BYTES_PER_CPU_SECOND: Final = 190_000.0
"""Measured over the control plane: what one core compiles in a second, before this machine has shown its own speed."""
PRIOR_SECONDS: Final = 20.0
"""The assumed speed counts for as much as this many seconds of watching."""


class Tally:
    """
    Counts packages and foretells the end.

    The work left is weighed by source bytes: packages differ by a factor of a thousand in size, and their number says
    little about time. The speed is this machine's own as soon as it has been watched for some seconds.
    """

    def __init__(
        self,
        parts: Mapping[str, Mapping[PackageKey, PackageWork]],
        *,
        cores: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = {key: work for packages in parts.values() for key, work in packages.items()}
        self._keys = {name: {key.path: key for key in packages} for name, packages in parts.items()}
        self._links_left = {name for name, packages in parts.items() if any(not w.cached for w in packages.values())}
        self._done = {key for key, work in self._work.items() if work.cached}
        self._bytes_left = sum(work.source_bytes for work in self._work.values() if not work.cached)
        self._bytes_seen = 0
        self._prior_rate = SOURCE_BYTES_PER_CPU_SECOND * (cores or os.cpu_count() or 1)
        self._clock = clock
        self._busy_seconds = 0.0
        self._part_began: float | None = None

    @property
    def done(self) -> int:
        return len(self._done)

    @property
    def total(self) -> int:
        return len(self._work)

    @property
    def is_complete(self) -> bool:
        """Nothing is left to compile or to link."""
        return not self._links_left and self.done == self.total

    def begin_part(self) -> None:
        self._part_began = self._clock()

    def package_compiled(self, part: str, path: str) -> None:
        """`go build` named a package of this part; one that was counted already (or is unknown) changes nothing."""
        key = self._keys[part].get(path)
        if key is not None and key not in self._done:
            self._done.add(key)
            self._bytes_left -= self._work[key].source_bytes
            self._bytes_seen += self._work[key].source_bytes

    def end_part(self, part: str) -> None:
        """All packages of the part are compiled, whether they were named or not, and its program is linked."""
        for path in self._keys[part]:
            self.package_compiled(part, path)
        self._busy_seconds += self._elapsed_seconds()
        self._part_began = None
        if part in self._links_left:
            self._links_left.discard(part)
            self._bytes_seen += LINK_SOURCE_BYTES

    def seconds_left(self) -> float:
        watched_seconds = self._busy_seconds + self._elapsed_seconds()
        rate = (self._bytes_seen + self._prior_rate * PRIOR_SECONDS) / (watched_seconds + PRIOR_SECONDS)
        return (self._bytes_left + LINK_SOURCE_BYTES * len(self._links_left)) / rate

    def _elapsed_seconds(self) -> float:
        return 0.0 if self._part_began is None else self._clock() - self._part_began
