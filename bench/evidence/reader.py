"""
Reads the folder of a run, and tells whether it is what was written.

Everything that tells of a run (report, judge, compare) comes through here.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import BadEvidence
from bench.evidence.lines import read_lines
from bench.evidence.store import OUTCOME_FILE, RUN_FILE, SUMS_FILE, checksums
from bench.model.codec import BadDocument, from_json
from bench.model.evidence import SCHEMA_VERSION, Outcome, RunRecord
from bench.model.measurement import Reading

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run as it lies on disk; readings are read when asked for."""

    folder: Path
    record: RunRecord
    outcomes: tuple[Outcome, ...]
    warnings: tuple[str, ...]

    def readings(self, scenario_id: str, warnings: list[str]) -> tuple[Reading, ...]:
        """
        The readings of one scenario; what is missing of them is added to `warnings`.

        Raises:
            BadEvidence: a line that is no reading.

        """
        return tuple(read_lines(self.folder / scenario_id, warnings))


def find_run(text: str, root: Path) -> Path:
    """
    The folder of a run named by id or by path.

    Raises:
        BadEvidence: neither is a run.

    """
    for folder in (Path(text), root / text):
        if (folder / RUN_FILE).is_file():
            return folder
    raise BadEvidence(f"There is no run {text!r}: neither {Path(text)} nor {root / text} has a {RUN_FILE}.")


def read_record(folder: Path) -> RunRecord:
    """
    What ran, and on what; of a run that goes on as well.

    Raises:
        BadEvidence: the folder holds no run.

    """
    return _document(RunRecord, folder / RUN_FILE)


def load_run(folder: Path) -> StoredRun:
    """
    The run in `folder`, with a warning for each thing that is not as it was written.

    Raises:
        BadEvidence: a document that does not fit its schema.

    """
    record = read_record(folder)
    warnings = list(tampered(folder))
    outcomes = [_document(Outcome, path) for path in sorted(folder.glob(f"*/{OUTCOME_FILE}"))]
    told = {outcome.scenario for outcome in outcomes}
    cut_off = sorted(path.parent.name for path in folder.glob("*/readings.jsonl") if path.parent.name not in told)
    warnings += [f"{name} was cut off: it has readings and no outcome" for name in cut_off]
    if not record.is_complete:
        warnings.append("the run is incomplete")
    return StoredRun(folder=folder, record=record, outcomes=tuple(outcomes), warnings=tuple(warnings))


def tampered(folder: Path) -> list[str]:
    """What differs from the checksums of the run: changed, missing and added files; empty where all is as written."""
    sums = folder / SUMS_FILE
    if not sums.is_file():
        return [f"no {SUMS_FILE}: the run did not finish"]
    expected = {}
    for line in sums.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        expected[name] = digest
    found = dict(checksums(folder))
    changed = [f"{name} was changed after the run" for name in expected if found.get(name, "") != expected[name]]
    added = [f"{name} was added after the run" for name in found if name not in expected]
    return sorted(changed + added)


def _document(kind: type[T], path: Path) -> T:
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and data.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
            raise BadEvidence(
                f"{path} has schema version {data['schema_version']}; this bench reads {SCHEMA_VERSION}. "
                "Read it with the bench that wrote it (see bench_version in run.json)."
            )
        return from_json(kind, data, path.name)
    except (OSError, ValueError, BadDocument) as error:
        raise BadEvidence(f"{path} is not a document of a run: {error}") from error
