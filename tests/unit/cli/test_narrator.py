from io import StringIO

from rich.console import Console

from bench.cli._narrator import Narrator, figures_text
from bench.model.evidence import Step
from bench.model.scenario import Footprint, Progress

STEP = Step(
    scenario="waits",
    requirement="",
    claim="Nobody waits.",
    parameters={},
    unmet=(),
    footprint=Footprint(duration_seconds=100.0),
)


class Told:
    """A narrator whose words and clock are in hand."""

    def __init__(self, *, terminal: bool, width: int = 100) -> None:
        self.page = StringIO()
        self.now = 0.0
        console = Console(file=self.page, force_terminal=terminal, width=width, no_color=True, _environ={})
        self.narrator = Narrator(console, clock=lambda: self.now)

    @property
    def lines(self) -> list[str]:
        return self.page.getvalue().splitlines()


def test_without_a_terminal_each_phase_is_one_plain_line_with_what_is_seen() -> None:
    told = Told(terminal=False)

    with told.narrator as narrator:
        narrator.step_started(STEP, 1, 2)
        narrator.look_at(lambda: {"replicas_total": 2.0, "ready_replicas_total": 1.0})
        told.now = 40.0
        narrator.progressed(Progress(phase="step up 1 of 2", figures={"ttft_seconds": 0.42}))
        narrator.progressed(Progress(phase="step up 1 of 2", figures={"ttft_seconds": 0.43}))

    assert told.lines == [
        "1/2 waits  Nobody waits.",
        "waits: step up 1 of 2 (0:40, about 1:00 left); replicas 2 (1 ready) · TTFT 420 ms",
    ]


def test_a_phase_that_knows_better_than_the_footprint_is_believed() -> None:
    told = Told(terminal=False)

    told.narrator.step_started(STEP, 1, 1)
    told.now = 150.0
    told.narrator.progressed(Progress(phase="a"))
    told.narrator.progressed(Progress(phase="b", left_seconds=30.0))

    assert "longer than planned" in told.lines[1]
    assert "about 0:30 left" in told.lines[2]


def test_on_a_terminal_the_newest_figures_are_in_view_and_gone_at_the_end() -> None:
    told = Told(terminal=True, width=60)

    with told.narrator as narrator:
        narrator.step_started(STEP, 1, 1)
        narrator.progressed(Progress(phase="calibration"))
        narrator.look_at(lambda: {"gpu_busy_time_ratio": 0.93, "rate_per_second": 3.14159})
        assert narrator._live is not None
        narrator._live.refresh()

    shown = told.page.getvalue()
    assert "GPU busy 93 % · answered 3.14/s" in shown
    assert shown.rstrip("\n").endswith("\x1b[2K")  # the last that was done was to wipe the view


def test_a_figure_that_nobody_knows_goes_by_its_name_and_unit() -> None:
    assert figures_text({"queue_length_total": 4.0, "gpu_memory_used_bytes": 2**20}) == (
        "queue length 4 · gpu memory used 1 MiB"
    )
