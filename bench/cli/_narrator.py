"""Says how far a run is: a live view where a person looks at a terminal, a line a phase where a program does."""

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.text import Text

from bench.model.evidence import Outcome, Step
from bench.model.measurement import Reading
from bench.model.scenario import Progress

REFRESH_HERTZ: Final = 2.0

Look = Callable[[], Mapping[str, float]]
Clock = Callable[[], float]

_WORDS: Final[Mapping[str, str]] = {
    "rate_per_second": "answered",
    "ttft_seconds": "TTFT",
    "replicas_total": "replicas",
    "gpu_busy_time_ratio": "GPU busy",
    "metric_value": "metric",
}
"""What the figures that every rig knows are called; any other goes by its name without the unit."""
_UNITS: Final[Mapping[str, Callable[[float], str]]] = {
    "_per_second": lambda value: f"{value:.3g}/s",
    "_seconds": lambda value: f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.2f} s",
    "_ratio": lambda value: f"{value * 100:.0f} %",
    "_bytes": lambda value: f"{value / 2**20:.4g} MiB",
    "_total": lambda value: f"{value:.0f}",
    "_value": lambda value: f"{value:.4g}",
}


class Narrator:
    """Told by the runner and the rig; a context manager, for the live view has to leave the terminal as it was."""

    def __init__(self, talk: Console, *, clock: Clock = time.monotonic) -> None:
        self._talk = talk
        self._clock = clock
        self._live: Live | None = None
        self._view: _View | None = None
        self._look: Look = dict
        self._kept = 0

    def __enter__(self) -> Self:
        if self._talk.is_terminal:
            self._live = Live(
                console=self._talk,
                get_renderable=self._render,
                refresh_per_second=REFRESH_HERTZ,
                transient=True,
                redirect_stdout=False,  # data goes where it was sent
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def look_at(self, look: Look) -> None:
        """Where the figures of the scenario that runs now come from."""
        self._look = look

    def step_started(self, step: Step, number: int, count: int) -> None:
        """A scenario begins."""
        self._kept = 0
        self._look = dict
        self._view = _View(step, self._clock)
        self._talk.print(f"[bold]{number}/{count} {escape(step.scenario)}[/bold]  {escape(step.claim)}")

    def progressed(self, progress: Progress) -> None:
        """A phase of it begins."""
        if self._view is None:
            return
        before, self._view.progress = self._view.progress, progress
        self._view.told_at = self._clock()
        if before.phase != progress.phase:
            line = f"{self._view.step.scenario}: {progress.phase} ({self._view.time()})"
            figures = figures_text({**self._look(), **progress.figures})
            self._talk.print(line + (f"; {figures}" if figures else ""), markup=False, highlight=False)

    def reading_kept(self, step: Step, reading: Reading) -> None:  # noqa: ARG002 (counted only)
        """A reading is on disk."""
        self._kept += 1

    def step_ended(self, outcome: Outcome) -> None:
        """A scenario is over."""
        self._view = None
        line = f"{outcome.scenario}: {outcome.verdict}, {self._kept} readings. {outcome.reason}"
        self._talk.print(line.rstrip(), markup=False, highlight=False)

    def _render(self) -> RenderableType:
        return self._view.render(self._look()) if self._view is not None else ""


class _View:
    """One scenario under way."""

    def __init__(self, step: Step, clock: Clock) -> None:
        self.step = step
        self.progress = Progress(phase="starting")
        self._clock = clock
        self._started = self.told_at = clock()

    def render(self, seen: Mapping[str, float]) -> RenderableType:
        total = self._elapsed() + self._left()
        bar = ProgressBar(total=max(1.0, total), completed=self._elapsed(), width=30)
        head = Text.assemble((self.step.scenario, "bold"), "  ", self.progress.phase, "  ", (self.time(), "dim"))
        figures = figures_text({**seen, **self.progress.figures})
        return Group(head, bar, Text(figures or "nothing to be seen yet"))

    def time(self) -> str:
        """Time passed and left; of what takes longer than it was said to, only the first."""
        left = self._left()
        passed = _minutes(self._elapsed())
        return f"{passed}, about {_minutes(left)} left" if left > 0 else f"{passed}, longer than planned"

    def _elapsed(self) -> float:
        return self._clock() - self._started

    def _left(self) -> float:
        if self.progress.left_seconds is not None:
            return max(0.0, self.progress.left_seconds - (self._clock() - self.told_at))
        planned = self.step.footprint.duration_seconds if self.step.footprint else 0.0
        return max(0.0, planned - self._elapsed())


def figures_text(figures: Mapping[str, float]) -> str:
    """``answered 3.1/s · TTFT 420 ms · replicas 2 (1 ready) · GPU busy 93 % · metric 96.2``."""
    told = dict(figures)
    ready = told.pop("ready_replicas_total", None)
    parts = []
    for name, value in told.items():
        unit = next((each for each in _UNITS if name.endswith(each)), "")
        word = _WORDS.get(name) or name.removesuffix(unit).replace("_", " ")
        shown = _UNITS[unit](value) if unit else f"{value:g}"
        beside = f" ({ready:.0f} ready)" if name == "replicas_total" and ready is not None else ""
        parts.append(f"{word} {shown}{beside}")
    return " · ".join(parts)


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
