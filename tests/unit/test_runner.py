from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.errors import LabFailed, Unreachable
from bench.evidence.reader import load_run
from bench.evidence.store import RunStore, ScenarioStore
from bench.model.check import Check, Relation, Statistic
from bench.model.evidence import Fidelity, Outcome, Plan, RunRecord, Step
from bench.model.measurement import Measurement, Reading, Source
from bench.model.units import Unit
from bench.model.verdict import Verdict
from bench.registry import Registry, scenario
from bench.runner import Runner, exit_code

Trial = Callable[[Any], Iterator[Reading]]


@dataclass
class FakeRig:
    """A rig that can do nothing, and says what it could not remove."""

    leftovers: tuple[str, ...] = ()


@dataclass
class Listener:
    """Hears what the runner tells."""

    heard: list[str] = field(default_factory=list)

    def step_started(self, step: Step, number: int, count: int) -> None:
        self.heard.append(f"{number}/{count} {step.scenario}")

    def reading_kept(self, _: Step, reading: Reading) -> None:
        self.heard.append(reading.name)

    def step_ended(self, outcome: Outcome) -> None:
        self.heard.append(outcome.verdict)


def wait_of(seconds: float) -> Measurement:
    return Measurement(
        name="wait_seconds", unit=Unit.SECONDS, values=[seconds], source=Source.WORKLOAD, statement="a stopwatch"
    )


def registry_of(scenario_id: str, trial: Trial) -> Registry:
    registry = Registry()

    class Waits:
        """Nobody waits for more than a second."""

        def needs(self) -> Iterator[Any]:
            return iter(())

        def run(self, rig: Any) -> Iterator[Reading]:
            return trial(rig)

        def checks(self) -> Iterator[Check]:
            yield Check(
                claim="short",
                measurement="wait_seconds",
                statistic=Statistic.MAX,
                relation=Relation.AT_MOST,
                bound=1.0,
                because="somebody waits",
            )

    scenario(scenario_id, registry=registry)(Waits)
    return registry


def step(scenario_id: str = "waits", unmet: tuple[str, ...] = ()) -> Step:
    return Step(scenario=scenario_id, requirement="", claim="c", parameters={}, unmet=unmet)


def run(
    folder: Path, trial: Trial, *, steps: tuple[Step, ...] = (), rig: FakeRig | None = None
) -> tuple[tuple[Outcome, ...], Listener, Path]:
    record = RunRecord(
        run_id="r1",
        fidelity=Fidelity.EMBEDDED,
        target="t",
        bench_version="0",
        server_version="v1.37.1",
        cluster_uid="u",
        started=datetime.now(UTC),
    )
    store = RunStore.create(folder, record)
    listener = Listener()

    def open_rig(_: Step, __: ScenarioStore) -> AbstractContextManager[FakeRig]:
        @contextmanager
        def opened() -> Iterator[FakeRig]:
            yield rig or FakeRig()

        return opened()

    runner = Runner(registry=registry_of("waits", trial), store=store, rig_of=open_rig, narrator=listener)
    return tuple(runner.execute(Plan(steps=steps or (step(),)))), listener, store.folder


def test_readings_are_kept_and_judged(tmp_path: Path) -> None:
    (outcome,), listener, folder = run(tmp_path, lambda _: iter([wait_of(0.5)]))

    assert outcome.verdict is Verdict.PASS
    assert listener.heard == ["1/1 waits", "wait_seconds", "pass"]
    assert load_run(folder).readings("waits", []) == (wait_of(0.5),)


def test_a_broken_bound_is_a_failure_of_the_cluster(tmp_path: Path) -> None:
    (outcome,), _, _ = run(tmp_path, lambda _: iter([wait_of(5.0)]))

    assert outcome.verdict is Verdict.FAIL
    assert exit_code((outcome,)) == 1


def test_an_unmet_need_skips_with_its_reason(tmp_path: Path) -> None:
    (outcome,), _, _ = run(tmp_path, lambda _: iter(()), steps=(step(unmet=("no GPU was seen",)),))

    assert (outcome.verdict, outcome.reason) == (Verdict.SKIPPED, "no GPU was seen")
    assert exit_code((outcome,)) == 3


@pytest.mark.parametrize("error", [LabFailed("the lab is gone"), ZeroDivisionError("oops")])
def test_a_bench_that_breaks_accuses_nobody_and_keeps_what_it_measured(tmp_path: Path, error: Exception) -> None:
    def breaks(_: Any) -> Iterator[Reading]:
        yield wait_of(5.0)
        raise error

    (outcome,), _, folder = run(tmp_path, breaks)

    assert outcome.verdict is Verdict.ERROR
    assert str(error) in outcome.reason
    assert not outcome.is_complete
    assert load_run(folder).readings("waits", []) == (wait_of(5.0),)
    assert exit_code((outcome,)) == 4


def test_what_does_not_come_back_leaves_the_claim_unknown(tmp_path: Path) -> None:
    def breaks(_: Any) -> Iterator[Reading]:
        yield wait_of(5.0)
        raise Unreachable("Prometheus at http://a does not answer.")

    (outcome,), _, _ = run(tmp_path, breaks)

    assert (outcome.verdict, outcome.is_complete) == (Verdict.INCONCLUSIVE, False)
    assert outcome.reason == "Prometheus at http://a does not answer."
    assert exit_code((outcome,)) == 3


def test_an_interruption_keeps_what_was_measured_and_ends_the_run(tmp_path: Path) -> None:
    def interrupted(_: Any) -> Iterator[Reading]:
        yield wait_of(0.5)
        raise KeyboardInterrupt

    (outcome,), _, folder = run(tmp_path, interrupted, steps=(step(), step()))

    assert (outcome.is_complete, outcome.reason) == (False, "the run was interrupted")
    assert load_run(folder).outcomes == (outcome,)
    assert load_run(folder).readings("waits", []) == (wait_of(0.5),)


def test_what_was_left_behind_makes_the_run_exit_with_4(tmp_path: Path) -> None:
    rig = FakeRig(leftovers=("Namespace b: held by a finalizer",))

    (outcome,), _, _ = run(tmp_path, lambda _: iter([wait_of(0.5)]), rig=rig)

    assert outcome.warnings == ("left behind: Namespace b: held by a finalizer",)
    assert exit_code((outcome,)) == 4


def test_a_run_of_nothing_proves_nothing() -> None:
    assert exit_code(()) == 3
