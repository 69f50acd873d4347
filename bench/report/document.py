"""
A run as one JSON object: what `bench run --json`, `bench report --as json` and `bench judge --json` print.

The schema is part of the interface: keys are added, never renamed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.model.check import CheckResult
from bench.model.codec import to_json
from bench.model.evidence import Fidelity, Outcome, RunRecord, run_verdict

EMBEDDED_STAMP = "Embedded lab: shows how the bench and its parts work; it is no evidence about any product."


def run_document(
    record: RunRecord, outcomes: Sequence[Outcome], path: Path, warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """The run with its verdict, its scenarios and what to mind about it."""
    return {
        "run_id": record.run_id,
        "path": str(path),
        "fidelity": record.fidelity.value,
        "stamp": stamp(record),
        "verdict": run_verdict(tuple(outcomes)).value,
        "is_complete": record.is_complete,
        "target": record.target,
        "server_version": record.server_version,
        "cluster_uid": record.cluster_uid,
        "bench_version": record.bench_version,
        "started": to_json(record.started),
        "ended": to_json(record.ended) if record.ended else None,
        "environment": dict(record.environment),
        "warnings": list(warnings),
        "scenarios": [scenario_document(outcome) for outcome in outcomes],
    }


def stamp(record: RunRecord) -> str:
    """What must be said before anything else about a run; empty where nothing must."""
    return EMBEDDED_STAMP if record.fidelity is Fidelity.EMBEDDED else ""


def scenario_document(outcome: Outcome) -> dict[str, Any]:
    """One scenario: its verdict, its checks, and why where no check says so."""
    return {
        "id": outcome.scenario,
        "requirement": outcome.requirement,
        "claim": outcome.claim,
        "verdict": outcome.verdict.value,
        "reason": outcome.reason,
        "is_complete": outcome.is_complete,
        "parameters": dict(outcome.parameters),
        "duration_seconds": (outcome.ended - outcome.started).total_seconds(),
        "checks": [check_document(check) for check in outcome.checks],
        "warnings": list(outcome.warnings),
        "artifacts": [to_json(artifact) for artifact in outcome.artifacts],
    }


def check_document(check: CheckResult) -> dict[str, Any]:
    """One check as judged."""
    return {
        "claim": check.claim,
        "verdict": check.verdict.value,
        "observed": to_json(check.observed),
        "bound": check.bound,
        "basis": check.basis.value,
        "kind": check.kind.value,
        "measurement": check.measurement,
        "labels": dict(check.labels),
        "because": check.because,
        "reason": check.reason,
        "beyond": to_json(check.beyond),
        "look_at": check.look_at,
    }
