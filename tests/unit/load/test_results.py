"""Flags, exit codes and goodput: what a run may claim."""

from dataclasses import replace

import pytest

from bench.load.arrivals import Shape
from bench.load.endpoints import Endpoint, Protocol
from bench.load.orders import LoadOrder, LoopKind, Objectives
from bench.load.pages import page
from bench.load.results import Circumstances, Exit, LoadResult
from bench.load.tallies import Failures, Tally

AROUND = Circumstances(
    engine="native", workers=1, planned=100, started_at="2026-01-01T00:00:00+00:00", wall_seconds=10.0
)


def result(
    *, lateness_seconds: float = 0.0001, good: int = 100, failed: int = 0, objectives: str = "ttft=1"
) -> LoadResult:
    tally = Tally()
    for _ in range(100):
        tally.series["lateness"].record(round(lateness_seconds * 1e9))
        tally.second(0).series["ttft_from_intended"].record(10**7)
    tally.sums.update(started=100, sent=100, ok=100 - failed, good=good)
    if failed:
        tally.failures["status"] = Failures(count=failed, example="500 <b>oops</b>", by_status={500: failed})
    order = LoadOrder(
        endpoint=Endpoint.parse("http://127.0.0.1", Protocol.PLAIN),
        protocol=Protocol.PLAIN,
        loop=LoopKind.OPEN,
        shape=Shape.constant(10.0, 10.0),
        objectives=Objectives.parse(objectives) if objectives else Objectives(),
    )
    return LoadResult(order=order, tally=tally, circumstances=AROUND)


def test_a_run_within_its_objectives_passes() -> None:
    assert result().exit_code is Exit.PASSED


def test_a_run_beyond_its_objectives_fails() -> None:
    assert result(good=98).exit_code is Exit.FAILED
    assert result(good=98, objectives="ttft=1,share=0.9").exit_code is Exit.PASSED


def test_a_late_generator_judges_nobody() -> None:
    late = result(lateness_seconds=0.006, good=0)

    assert late.exit_code is Exit.NOT_JUDGED
    assert "late" in late.flags[0]


def test_a_busy_worker_judges_nobody() -> None:
    busy = result(good=0)

    assert replace(busy, circumstances=replace(AROUND, busiest_second_ratio=0.95)).exit_code is Exit.NOT_JUDGED


def test_failed_requests_fail_the_run_even_without_objectives() -> None:
    assert result(failed=1, objectives="").exit_code is Exit.FAILED


def test_nothing_sent_judges_nothing() -> None:
    nothing = replace(result(objectives=""), tally=Tally())

    assert nothing.exit_code is Exit.NOT_JUDGED


def test_what_was_not_sent_is_counted() -> None:
    assert replace(result(), circumstances=replace(AROUND, planned=130)).to_json()["requests"]["not_sent"] == 30


def test_an_interrupted_run_says_so() -> None:
    assert replace(result(), circumstances=replace(AROUND, interrupted=True)).exit_code is Exit.INTERRUPTED


def test_without_objectives_there_is_no_goodput() -> None:
    assert result(objectives="").to_json()["goodput"] is None
    assert result(good=50).to_json()["goodput"]["share"] == pytest.approx(0.5)


def test_the_page_holds_the_plots_and_escapes_what_a_server_said() -> None:
    text = page(result(failed=1))

    assert text.count("<svg") >= 2
    assert "&lt;b&gt;oops" in text
    assert "<b>oops" not in text
