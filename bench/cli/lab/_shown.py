"""Shows how a lab comes up: a line a part that changes on a terminal, a line an event elsewhere. On standard error."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TaskID, TextColumn

from bench.lab.box.leash import PartState, Progress


class Shown:
    """A context manager; rich itself respects NO_COLOR."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._began = time.monotonic()
        self._tasks: dict[str, TaskID] = {}
        self._states: dict[str, PartState] = {}
        self._bars = Bars(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description:<24}"),
            TextColumn("{task.fields[state]}"),
            console=self._console,
            transient=True,
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def tell(self, progress: Progress) -> None:
        """A part came to a state."""
        if self._states.get(progress.part) is progress.state and not progress.detail:
            return
        self._states[progress.part] = progress.state
        seconds = time.monotonic() - self._began
        told = f"{progress.state}{', ' + progress.detail if progress.detail else ''}"
        if self._console.is_terminal:
            self._redraw(progress, f"{told:<10} {seconds:5.1f} s")
        elif progress.state is not PartState.STARTING:
            print(f"{seconds:5.1f} s  {progress.part} {told}", file=sys.stderr, flush=True)

    def _redraw(self, progress: Progress, told: str) -> None:
        if progress.part not in self._tasks:
            self._tasks[progress.part] = self._bars.add_task(progress.part, total=1, state="")
        completed = int(progress.state is PartState.READY)
        self._bars.update(self._tasks[progress.part], completed=completed, state=told)
