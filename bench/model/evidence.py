"""
What a run leaves behind: plan, outcomes, artifacts and the record of the run, with a schema version.

Enough to judge again without a cluster; nothing can be told later that is not in here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from bench.model.check import CheckResult
from bench.model.measurement import no_labels
from bench.model.scenario import Footprint
from bench.model.verdict import Verdict, worst

SCHEMA_VERSION: Final = 1

Parameter = str | int | float | bool | tuple[str, ...] | tuple[float, ...]


class Fidelity(StrEnum):
    """On what it ran; written into the evidence, asked by nobody."""

    EMBEDDED = "embedded"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One scenario with its parameters, and why it cannot run where it cannot."""

    scenario: str
    requirement: str
    claim: str
    parameters: Mapping[str, str]
    unmet: tuple[str, ...]
    footprint: Footprint | None = None

    @property
    def can_run(self) -> bool:
        """Whether every need is met."""
        return not self.unmet


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would run, in order, and why the rest would not."""

    steps: tuple[Step, ...]

    @property
    def gpu_minutes(self) -> float:
        """Accelerator minutes of what can run and says what it takes."""
        return sum(step.footprint.gpu_minutes for step in self.steps if step.can_run and step.footprint)

    @property
    def duration_seconds(self) -> float:
        """Time of what can run and says what it takes."""
        return sum(step.footprint.duration_seconds for step in self.steps if step.can_run and step.footprint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file beside the evidence, relative to the scenario's folder, or a warning without a file."""

    title: str
    path: str = ""
    media_type: str = "text/plain"
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one step: verdict, check results, artifacts, and why where it is not a verdict of checks."""

    scenario: str
    requirement: str
    claim: str
    verdict: Verdict
    started: datetime
    ended: datetime
    parameters: Mapping[str, str] = field(default_factory=dict)
    checks: tuple[CheckResult, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    warnings: tuple[str, ...] = ()
    reason: str = ""
    is_complete: bool = True
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One execution of one plan."""

    run_id: str
    fidelity: Fidelity
    target: str
    bench_version: str
    server_version: str
    cluster_uid: str
    started: datetime
    ended: datetime | None = None
    plan: Plan = field(default_factory=lambda: Plan(steps=()))
    environment: Mapping[str, str] = field(default_factory=no_labels)
    is_complete: bool = False
    schema_version: int = SCHEMA_VERSION


def run_verdict(outcomes: tuple[Outcome, ...]) -> Verdict:
    """The worst of the scenarios that ran; skipped ones spoil nothing, but a run of nothing proves nothing."""
    ran = [outcome.verdict for outcome in outcomes if outcome.verdict is not Verdict.SKIPPED]
    return worst(ran)
