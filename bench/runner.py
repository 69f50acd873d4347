"""
Carries out a plan: scenario by scenario, every reading kept as it comes, judged when the scenario is over.

A scenario that breaks ends with the verdict `error`, and the next one runs: a bench that broke may not accuse the
cluster, nor keep others from being tried. What was measured until then is kept and marked incomplete.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from bench import interruption
from bench.errors import BenchError, NoSpace, Unreachable, is_disk_full
from bench.evidence.judging import Judgement, judge
from bench.evidence.store import RunStore, ScenarioStore
from bench.model.evidence import Outcome, Plan, Step, run_verdict
from bench.model.measurement import Reading
from bench.model.scenario import Scenario
from bench.model.verdict import Verdict
from bench.registry import Registry

log = logging.getLogger(__name__)


class Narrator(Protocol):
    """Is told how far a run is; tells the user."""

    def step_started(self, step: Step, number: int, count: int) -> None:
        """A scenario begins: the `number`th of `count`."""

    def reading_kept(self, step: Step, reading: Reading) -> None:
        """A reading came and is on disk."""

    def step_ended(self, outcome: Outcome) -> None:
        """A scenario is over and judged."""


class RunRig(Protocol):
    """What the runner must know of a rig beside handing it on."""

    @property
    def leftovers(self) -> tuple[str, ...]:
        """What could not be removed when the rig was closed, a sentence each."""


RigFactory = Callable[[Step, ScenarioStore], AbstractContextManager[Any]]
_Opening = Callable[[], AbstractContextManager[Any]]


@dataclass(slots=True)
class Runner:
    """One run: the plan's steps in order, into one store."""

    registry: Registry
    store: RunStore
    rig_of: RigFactory
    narrator: Narrator
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _was_broken_off: bool = False

    @property
    def is_interrupted(self) -> bool:
        """Whether the user asked for the end."""
        return self._was_broken_off or interruption.is_asked()

    def execute(self, plan: Plan) -> Iterator[Outcome]:
        """
        The outcome of each step as it ends. An interruption or a full disk ends the run with the step under way, whose
        outcome is incomplete: what was measured is kept by then, and what was created is removed or told.

        Raises:
            NoSpace: the disk is so full that not even the outcome can be written; those so far are kept.

        """
        for number, step in enumerate(plan.steps, start=1):
            self.narrator.step_started(step, number, len(plan.steps))
            outcome = self._run(step) if step.can_run else self._skip(step)
            self.narrator.step_ended(outcome)
            yield outcome
            if self.is_interrupted or self.store.is_cut_short:
                return

    def _skip(self, step: Step) -> Outcome:
        now = self.now()
        reason = "; ".join(step.unmet)
        outcome = _outcome(step, Judgement(verdict=Verdict.SKIPPED, checks=(), reason=reason), now, now)
        with self.store.scenario(step.scenario) as kept:
            return kept.conclude(outcome)

    def _run(self, step: Step) -> Outcome:
        started = self.now()
        scenario = self.registry.get(step.scenario).make(step.parameters)
        attempt = _Attempt(step, self.narrator)
        with self.store.scenario(step.scenario) as kept:
            try:
                attempt.make(scenario, lambda: self.rig_of(step, kept), kept)
            except KeyboardInterrupt:
                self._was_broken_off = True
                attempt.break_off()
            judgement = attempt.judgement(scenario)
            with contextlib.suppress(NoSpace):  # the store knows, and marks the outcome incomplete
                for reading in judgement.derived:
                    kept.append(reading)
            outcome = _outcome(step, judgement, started, self.now())
            told = replace(outcome, warnings=attempt.leftovers, is_complete=attempt.is_whole)
            return kept.conclude(told)


class _Attempt:
    """One scenario being tried: its readings, what broke, and what was left behind."""

    def __init__(self, step: Step, narrator: Narrator) -> None:
        self.readings: list[Reading] = []
        self.failure: Judgement | None = None
        self.leftovers: tuple[str, ...] = ()
        self._step = step
        self._narrator = narrator

    def make(self, scenario: Scenario, opening: _Opening, kept: ScenarioStore) -> None:
        try:
            self._make(scenario, opening, kept)
        except Unreachable as error:
            self.failure = Judgement(verdict=Verdict.INCONCLUSIVE, checks=(), reason=str(error))
        except BenchError as error:
            self._fail(str(error))
        except Exception as error:  # the one place: whatever a scenario raises must not take the run down
            log.debug("%s broke", self._step.scenario, exc_info=True)
            broke = f"the bench broke: {type(error).__name__}: {error}"
            self._fail(kept.no_room(error) if is_disk_full(error) else broke)

    def _make(self, scenario: Scenario, opening: _Opening, kept: ScenarioStore) -> None:
        rig: RunRig | None = None
        try:
            with opening() as rig:
                for reading in scenario.run(rig):
                    kept.append(reading)
                    self.readings.append(reading)
                    self._narrator.reading_kept(self._step, reading)
        finally:
            if rig is not None:
                self.leftovers = tuple(f"left behind: {each}" for each in rig.leftovers)

    def _fail(self, reason: str) -> None:
        self.failure = Judgement(verdict=Verdict.ERROR, checks=(), reason=reason)

    def break_off(self) -> None:
        """The user did: that says nothing about anybody."""
        self.failure = Judgement(verdict=Verdict.INCONCLUSIVE, checks=(), reason="the run was interrupted")

    @property
    def is_whole(self) -> bool:
        return self.failure is None

    def judgement(self, scenario: Scenario) -> Judgement:
        return self.failure or judge(scenario, self.readings)


def _outcome(step: Step, judgement: Judgement, started: datetime, ended: datetime) -> Outcome:
    return Outcome(
        scenario=step.scenario,
        requirement=step.requirement,
        claim=step.claim,
        verdict=judgement.verdict,
        started=started,
        ended=ended,
        parameters=step.parameters,
        checks=judgement.checks,
        reason=judgement.reason,
    )


def exit_code(outcomes: tuple[Outcome, ...]) -> int:
    """What the command line exits with: an object left behind is worse than any verdict of the cluster's."""
    if any(warning.startswith("left behind") for outcome in outcomes for warning in outcome.warnings):
        return Verdict.ERROR.exit_code
    return run_verdict(outcomes).exit_code
