"""What a run shows on the terminal: a line of figures while it lasts, a table when it is over."""

import contextlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from bench.load.engines import Glance
from bench.load.orders import LoadOrder, LoopKind
from bench.load.results import LoadResult

_TABLE_COLUMNS: Final = 110


class LiveView:
    """On stderr, and only where a person looks; and in a file for a program that looks. A context manager."""

    def __init__(self, order: LoadOrder, *, silent: bool = False, file: Path | None = None) -> None:
        self._order = order
        self._file = file
        self._console = Console(file=sys.stderr)
        self._live = None if silent or not self._console.is_terminal else Live(console=self._console, transient=True)
        self._before = Glance()
        self._rate = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if self._file is not None:
            for each in (self._file, self._file.with_suffix(".draft")):
                each.unlink(missing_ok=True)

    def show(self, glance: Glance) -> None:
        passed = glance.elapsed_seconds - self._before.elapsed_seconds
        if passed >= 1.0:
            self._rate = (glance.finished - self._before.finished) / passed
            self._before = glance
            self._write(glance)
        if self._live is not None:
            self._live.update(self._table(glance))

    def _write(self, glance: Glance) -> None:
        """Whole or not at all, for it is read at any time; a full disk must not end the load."""
        if self._file is None:
            return
        draft = self._file.with_suffix(".draft")
        with contextlib.suppress(OSError):
            draft.write_text(json.dumps({"rate_per_second": self._rate, **asdict(glance)}), encoding="utf-8")
            draft.replace(self._file)

    def _table(self, glance: Glance) -> Table:
        level = self._order.shape.level_at(glance.elapsed_seconds)
        wanted = f"{level:.1f} users" if self._order.loop is LoopKind.CLOSED else f"{level:.1f}/s due"
        table = Table(box=None, pad_edge=False)
        cells = {
            "time": f"{glance.elapsed_seconds:.0f} of {self._order.shape.duration_seconds:.0f} s",
            "wanted": wanted,
            "answered": f"{self._rate:.1f}/s",
            "in flight": str(glance.in_flight),
            "done": str(glance.finished),
            "failed": str(glance.failed),
            "tokens": str(glance.output_tokens),
            "TTFT p50": _seconds(glance.ttft_p50_seconds),
            "TTFT p99": _seconds(glance.ttft_p99_seconds),
            "own lateness p99": _seconds(glance.lateness_p99_seconds),
        }
        for name in cells:
            table.add_column(name, justify="right")
        table.add_row(*cells.values())
        return table


def _seconds(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value * 1e3:.2f} ms" if value < 1 else f"{value:.3f} s"


def tell_result(result: LoadResult) -> None:
    """The result for a reader, on stdout."""
    told = result.to_json(with_histograms=False)
    console = Console(soft_wrap=True)
    # A figure that is cut is none: a narrow terminal wraps the lines, and a file has no width.
    console.width = max(console.width, _TABLE_COLUMNS)
    requests = told["requests"]
    failed = sum(failure["count"] for failure in requests["failed"].values())
    counts = f"sent {requests['sent']}, ok {requests['ok']}, failed {failed}, not sent {requests['not_sent']}"
    if requests["planned"] is not None:
        counts = f"planned {requests['planned']}, {counts}"
    console.print(f"{told['target']['url']}: {told['loop']} loop, engine {told['engine']}, {counts}", highlight=False)
    console.print(_distributions(told))
    for name, failure in requests["failed"].items():
        console.print(f"{name}: {failure['count']}, for example: {failure['example']}", markup=False, highlight=False)
    if told["goodput"]:
        share, wanted = told["goodput"]["share"], told["goodput"]["share_wanted"]
        console.print(f"goodput: {share:.4f} of the requests within the objectives, wanted {wanted}", highlight=False)
    for flag in told["flags"]:
        console.print(f"cannot be judged: {flag}", markup=False, highlight=False)


def _distributions(told: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in ("count", "mean", "p50", "p90", "p99", "p99.9", "max"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = {
        "TTFT from intended": told["ttft_seconds"]["from_intended"],
        "TTFT from sent": told["ttft_seconds"]["from_sent"],
        "ITL": told["itl_seconds"],
        "TPOT": told["tpot_seconds"],
        "E2E from intended": told["e2e_seconds"]["from_intended"],
        "E2E from sent": told["e2e_seconds"]["from_sent"],
        "own lateness": told["lateness_seconds"],
    }
    for name, summary in rows.items():
        statistics = [_seconds(summary[key]) for key in ("mean", "p50", "p90", "p99", "p999", "max")]
        table.add_row(name, str(summary["count"]), *statistics)
    return table
