"""
The cache of made parts: one folder a part and recipe, with a record of what lies in it.

A file that is not what was put there is never used: size and time of change are compared at every look, and the SHA-256
as soon as one of them differs (or when asked for). A folder is complete or absent: it is renamed into place at the end.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.errors import BrokenCache

RECORD: Final = "record.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What one file or folder was when it was put into the cache."""

    path: str
    sha256: str
    size_bytes: int
    changed_ns: int


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path]


def _size_and_change(path: Path) -> tuple[int, int]:
    stats = [os.stat(file) for file in _files(path)]
    return sum(stat.st_size for stat in stats), max((stat.st_mtime_ns for stat in stats), default=0)


def content_hash(path: Path) -> str:
    """SHA-256 of a file; of a folder: over the names and the hashes of its files."""
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    total = hashlib.sha256()
    for inner in _files(path):
        total.update(f"{inner.relative_to(path)}\0{content_hash(inner)}\n".encode())
    return total.hexdigest()


def _stamp(path: Path, told: str) -> dict[str, Any]:
    size_bytes, changed_ns = _size_and_change(path)
    return dataclasses.asdict(Stamp(path=told, sha256=content_hash(path), size_bytes=size_bytes, changed_ns=changed_ns))


class Store:
    """The cache folder below `root`; entries are named by part and key."""

    def __init__(self, root: Path) -> None:
        self._root = root / "parts"

    def folder(self, part: str, key: str) -> Path:
        return self._root / f"{part}-{key[:16]}"

    def find(self, part: str, key: str, *, thorough: bool = False) -> Mapping[str, Path] | None:
        """
        Programs of an entry by name, or `None` if there is no entry.

        Raises `BrokenCache` if a program of the cache's own is damaged. One that was found elsewhere on the machine and
        has changed since (an upgrade) only makes the entry void.
        """
        folder = self.folder(part, key)
        record = self._read_record(folder)
        if record is None:
            return None
        programs: dict[str, Path] = {}
        verified: set[str] = set()
        for program, raw in record["programs"].items():
            stamp = Stamp(**raw)
            path = Path(stamp.path) if record["elsewhere"] else folder / stamp.path
            real = str(path.resolve())
            if real not in verified and not _is_unchanged(path, stamp, thorough=thorough):
                if record["elsewhere"]:
                    return None
                raise BrokenCache(
                    f"{path} is not what was built: its content has changed since, or it is gone. "
                    f"Remove {folder} and run `bench lab build {part}`."
                )
            verified.add(real)
            programs[program] = path
        return programs

    @staticmethod
    def _read_record(folder: Path) -> dict[str, Any] | None:
        try:
            text = (folder / RECORD).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            record: dict[str, Any] = json.loads(text)
        except json.JSONDecodeError as error:
            raise BrokenCache(f"{folder / RECORD} is damaged ({error}). Remove {folder}, then build again.") from error
        return record

    @contextmanager
    def place(self, part: str, key: str) -> Iterator[Path]:
        """A new folder to put files into; gone afterwards unless `commit` was called on it."""
        self._root.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{part}-{key[:8]}-", dir=self._root))
        place.chmod(0o755)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def commit(self, place: Path, part: str, key: str, programs: Mapping[str, str]) -> Mapping[str, Path]:
        """Make a filled place the entry of a part, in one rename; `programs` are paths relative to it, by name."""
        folder = self.folder(part, key)
        stamps = {name: _stamp(place / relative, relative) for name, relative in programs.items()}
        _write_record(place, {"part": part, "elsewhere": False, "programs": stamps})
        if folder.exists():
            shutil.rmtree(folder)
        place.rename(folder)
        return {name: folder / relative for name, relative in programs.items()}

    def note_elsewhere(self, part: str, key: str, programs: Mapping[str, Path]) -> None:
        """Remember programs that lie elsewhere on this machine, so that they are not asked for a version each time."""
        folder = self.folder(part, key)
        folder.mkdir(parents=True, exist_ok=True)
        stamps = {name: _stamp(path, str(path)) for name, path in programs.items()}
        _write_record(folder, {"part": part, "elsewhere": True, "programs": stamps})


def _write_record(folder: Path, record: Mapping[str, Any]) -> None:
    new = folder / f"{RECORD}.new"
    new.write_text(json.dumps(record, indent=1), encoding="utf-8")
    new.rename(folder / RECORD)


def _is_unchanged(path: Path, stamp: Stamp, *, thorough: bool) -> bool:
    try:
        size_bytes, changed_ns = _size_and_change(path)
    except OSError:
        return False
    if size_bytes != stamp.size_bytes:
        return False
    if changed_ns == stamp.changed_ns and not thorough:
        return True
    return content_hash(path) == stamp.sha256
