"""
The folder of a run: ``results/<run-id>/``, written once and never changed afterwards.

::

    run.json                     what ran, on what, with which plan; `is_complete` is false until the very end
    SHA256SUMS                   of every other file, as sha256sum -c reads it; written last
    <scenario>/readings.jsonl    one reading a line, long series in series.f64
    <scenario>/evidence.json     the outcome: checks with what was observed
    <scenario>/objects/          Kubernetes objects and logs as they were

A run counts as incomplete from its first byte to its last, so that nothing has to be written for a crash to be told.
Some room is kept aside at the start: on a full disk it is given up, and what was measured still gets its outcome.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self

from bench.errors import BadEvidence, NoSpace, WrongUsage, is_disk_full
from bench.evidence.lines import LineWriter
from bench.model.codec import to_json
from bench.model.evidence import Artifact, Outcome, RunRecord
from bench.model.measurement import Reading

RUN_FILE: Final = "run.json"
OUTCOME_FILE: Final = "evidence.json"
SUMS_FILE: Final = "SHA256SUMS"
PAGE_FILE: Final = "report.html"
OBJECTS_FOLDER: Final = "objects"
_RESERVE_FILE: Final = ".reserve"

# Room for run.json, SHA256SUMS and the outcomes of every scenario, each some tens of kilobytes.
_RESERVE_BYTES: Final = 1 << 20
_RUN_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class ScenarioStore:
    """The folder of one scenario of a run; a context manager that closes its files."""

    def __init__(self, run: "RunStore", scenario_id: str) -> None:
        self._run = run
        self.folder = run.folder / scenario_id
        self.folder.mkdir()
        self._lines = LineWriter(self.folder)
        self._artifacts: list[Artifact] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()

    def append(self, reading: Reading) -> None:
        """
        Keep one reading.

        Raises:
            NoSpace: the disk is full; all earlier readings are sound, and the outcome can still be written.

        """
        try:
            self._lines.append(reading)
        except OSError as error:
            self._run.give_up_reserve(error)

    def no_room(self, error: OSError) -> str:
        """
        What a full disk means for the run, in a sentence, whatever it was that could not be written.

        Raises:
            OSError: `error`, where it is something else.

        """
        try:
            self._run.give_up_reserve(error)
        except NoSpace as told:
            return str(told)

    def keep_object(self, name: str, text: str, title: str) -> Artifact:
        """
        Keep a Kubernetes object or a log as a file of its own.

        Raises:
            NoSpace: the disk is full.

        """
        if not _FILE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of a file of evidence")
        folder = self.folder / OBJECTS_FOLDER
        data = text.encode()
        try:
            folder.mkdir(exist_ok=True)
            _write_new(folder / name, data)
        except OSError as error:
            (folder / name).unlink(missing_ok=True)
            self._run.give_up_reserve(error)
        media_type = "application/json" if name.endswith(".json") else "text/plain"
        artifact = Artifact(
            title=title,
            path=f"{OBJECTS_FOLDER}/{name}",
            media_type=media_type,
            sha256=hashlib.sha256(data).hexdigest(),
        )
        self._artifacts.append(artifact)
        return artifact

    def conclude(self, outcome: Outcome) -> Outcome:
        """Write the outcome, marked incomplete where the disk cut the readings short; what was written."""
        told = replace(outcome, artifacts=outcome.artifacts + tuple(self._artifacts))
        if self._run.is_cut_short:
            told = replace(told, is_complete=False, warnings=(*told.warnings, self._run.cut_short_by))
        self._run.write_document(self.folder / OUTCOME_FILE, to_json(told))
        return told


class RunStore:
    """Writes the folder of one run."""

    def __init__(self, folder: Path, record: RunRecord) -> None:
        self.folder = folder
        self.cut_short_by = ""
        self._record = record

    @classmethod
    def create(cls, root: Path, record: RunRecord) -> "RunStore":
        """
        Make the folder of a new run under `root` and write its record, incomplete.

        Raises:
            WrongUsage: the id is none, a run of that id is there already, or `root` cannot be written.
            NoSpace: there is no room to begin.

        """
        if not _RUN_ID.fullmatch(record.run_id):
            raise WrongUsage(f"{record.run_id!r} cannot be the id of a run: small letters, digits and hyphens only.")
        store = cls(root / record.run_id, replace(record, is_complete=False))
        try:
            root.mkdir(parents=True, exist_ok=True)
            store.folder.mkdir()
            _reserve(store.folder / _RESERVE_FILE)
            store.write_document(store.folder / RUN_FILE, to_json(store._record))
        except FileExistsError as error:
            if root.is_file():
                raise WrongUsage(f"{root} is a file. Name a folder with --results.") from error
            raise WrongUsage(f"{store.folder} is there already; a run is never written over.") from error
        except (PermissionError, NotADirectoryError) as error:
            raise WrongUsage(
                f"No run can be kept in {root}: {error.strerror}. Name another folder with --results."
            ) from error
        except OSError as error:
            store.give_up_reserve(error)
        return store

    @property
    def is_cut_short(self) -> bool:
        """Whether a full disk kept something from being written."""
        return bool(self.cut_short_by)

    def scenario(self, scenario_id: str) -> ScenarioStore:
        """
        The folder of one scenario, new.

        Raises:
            NoSpace: the disk is full.

        """
        try:
            return ScenarioStore(self, scenario_id)
        except OSError as error:
            self.give_up_reserve(error)

    def finish(self, record: RunRecord, *, is_whole: bool = True) -> RunRecord:
        """Write the final record and the checksums; the record, incomplete where something is missing of the run."""
        ended = record.ended or datetime.now(UTC)
        final = replace(record, ended=ended, is_complete=is_whole and not self.is_cut_short)
        (self.folder / _RESERVE_FILE).unlink(missing_ok=True)
        self.write_document(self.folder / RUN_FILE, to_json(final))
        lines = [f"{digest}  {name}\n" for name, digest in checksums(self.folder)]
        self._write_without_reserve(self.folder / SUMS_FILE, "".join(lines).encode())
        return final

    def give_up_reserve(self, error: OSError) -> NoReturn:
        """
        Free the room that was kept aside; always raises.

        Raises:
            NoSpace: the disk is full.
            OSError: `error`, where it is something else.

        """
        if not is_disk_full(error):
            raise error
        (self.folder / _RESERVE_FILE).unlink(missing_ok=True)
        self.cut_short_by = f"the disk was full ({error.strerror}): what follows was not kept"
        raise NoSpace(
            f"The disk under {self.folder} is full. What was measured so far is kept there and marked incomplete; "
            "make room and run again, or name another folder with --results."
        ) from error

    def write_document(self, path: Path, document: Any) -> None:
        """
        Write JSON so that the file is whole or not there; gives the reserve up if that makes the room.

        Raises:
            NoSpace: it does not.

        """
        data = (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()
        try:
            _write_atomically(path, data)
        except OSError as error:
            if not is_disk_full(error) or not (self.folder / _RESERVE_FILE).exists():
                self.give_up_reserve(error)
            (self.folder / _RESERVE_FILE).unlink()
            self._write_without_reserve(path, data)

    def _write_without_reserve(self, path: Path, data: bytes) -> None:
        try:
            _write_atomically(path, data)
        except OSError as error:
            self.give_up_reserve(error)


def checksums(folder: Path) -> Iterator[tuple[str, str]]:
    """
    Name and SHA-256 of every file of a run, sorted, but the sums themselves and the page that is made of the rest.

    Raises:
        BadEvidence: a link; evidence consists of files.

    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise BadEvidence(f"{path} is a link; a run consists of its own files.")
        if path.is_file() and name not in (SUMS_FILE, _RESERVE_FILE, PAGE_FILE):
            with path.open("rb") as file:
                yield name, hashlib.file_digest(file, "sha256").hexdigest()


def _reserve(path: Path) -> None:
    with path.open("xb") as file:
        os.posix_fallocate(file.fileno(), 0, _RESERVE_BYTES)


def _write_new(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)


def _write_atomically(path: Path, data: bytes) -> None:
    draft = path.with_name(path.name + ".draft")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
