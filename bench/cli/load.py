"""`bench load URL`: load on any OpenAI, ollama or plain HTTP endpoint, and what each answer took."""

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from bench.errors import WrongUsage
from bench.load.arguments import add_arguments, order_of
from bench.load.endpoints import inside_cluster, require_consent
from bench.load.engines import EngineKind
from bench.load.knee import Knee, Search, Trial, find_knee, judge, order_at
from bench.load.live import LiveView, tell_result
from bench.load.orders import LoadOrder
from bench.load.pages import knee_page, page
from bench.load.results import Exit, LoadResult
from bench.load.workers import Means, Stop
from bench.load.workers import run as run_order

__all__ = ["add_arguments", "run"]


@contextlib.contextmanager
def _hearing_interrupts() -> Iterator[Stop]:
    """The first Ctrl-C drains and reports; the second ends at once."""
    stop = Stop()

    def hear(_number: int, _frame: object) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.ask()

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb; gives the exit code."""
    order = order_of(arguments)
    require_consent(order.endpoint, consent=arguments.yes_really, inside=inside_cluster())
    if arguments.find_knee:
        return _run_knee(arguments, order)
    if arguments.leash:
        threading.Thread(target=_end_with_input, name="leash", daemon=True).start()
    means = Means(
        processes=arguments.processes,
        kind=EngineKind(arguments.engine) if arguments.engine else None,
        records_file=arguments.records,
    )
    with (
        _hearing_interrupts() as stop,
        LiveView(order, silent=arguments.quiet, file=arguments.now) as view,
    ):
        result = run_order(order, means, watcher=view.show, stop=stop)
    _write(arguments, result)
    return int(result.exit_code)


def _end_with_input() -> None:
    """Whoever holds the other end has died or wants no more."""
    while os.read(sys.stdin.fileno(), 1 << 10):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _write(arguments: argparse.Namespace, result: LoadResult) -> None:
    told = result.to_json()
    if arguments.html:
        arguments.html.write_text(page(result))
    if arguments.json == "-":
        sys.stdout.write(json.dumps(told) + "\n")
    elif arguments.json:
        Path(arguments.json).write_text(json.dumps(told) + "\n")
    if arguments.json != "-":
        tell_result(result)


def _run_knee(arguments: argparse.Namespace, order: LoadOrder) -> int:
    if not order.objectives.bounds:
        raise WrongUsage("--find-knee needs --slo: without an objective nothing breaks")
    if arguments.records:
        raise WrongUsage("--records tells of one run, and --find-knee makes many; leave it out")
    first, highest, repeats = arguments.rate or 1.0, arguments.knee_max_rate, arguments.knee_repeats
    if highest < first or repeats < 1:
        raise WrongUsage(
            f"--knee-max-rate {highest:g} must be at least the first rate, {first:g}, and --knee-repeats at least 1"
        )
    search = Search(first_rate=first, highest_rate=highest, repeats=repeats)
    means = Means(processes=arguments.processes, kind=EngineKind(arguments.engine) if arguments.engine else None)
    with _hearing_interrupts() as stop:

        def trial_at(rate: float, repeat: int) -> Trial:
            if stop.asked:
                return Trial(rate=rate, good_ratio=None, held=None, reason="interrupted")
            with LiveView(order, silent=arguments.quiet) as view:
                return judge(rate, run_order(order_at(order, rate, repeat), means, watcher=view.show, stop=stop))

        knee = find_knee(search, trial_at, told=_tell_trial)
    _write_knee(arguments, knee, order)
    if stop.asked:
        return int(Exit.INTERRUPTED)
    return int(Exit.PASSED if knee.found else Exit.NOT_JUDGED)


def _write_knee(arguments: argparse.Namespace, knee: Knee, order: LoadOrder) -> None:
    told = json.dumps(knee.to_json(), indent=None if arguments.json else 2) + "\n"
    if arguments.json in (None, "-"):
        sys.stdout.write(told)
    else:
        Path(arguments.json).write_text(told)
    if arguments.html:
        Path(arguments.html).write_text(knee_page(knee, order), encoding="utf-8")


def _tell_trial(trial: Trial) -> None:
    word = {True: "holds", False: "breaks", None: "cannot be judged"}[trial.held]
    sys.stderr.write(f"{trial.rate:10.2f}/s {word}: {trial.reason}\n")
