"""
What a run is about to create, on disk before it is created: after any crash the list of what may be left is complete.

One JSON object a line. A line names an object and says `intended` or `removed`; the file is only ever appended to.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from bench.cluster.objects import Ref
from bench.errors import RunGoesOn, is_disk_full

INTENDED: Final = "intended"
REMOVED: Final = "removed"


class Journal:
    """
    Appends to one journal; each line is on disk when the call returns.

    Whoever holds it is at work: nobody else can open it as long as that process lives (`RunGoesOn`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a+b", buffering=0)
        try:
            _lock(self._file, path)
        except RunGoesOn:
            self._file.close()
            raise
        self._drop_torn_line()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def intend(self, ref: Ref) -> None:
        """
        To be called before the object is created.

        Raises:
            OSError: it cannot be written, so that the object must not be created.

        """
        self._append(INTENDED, ref)

    def removed(self, ref: Ref) -> None:
        """
        To be called when the object is known to be gone.

        On a full disk nothing is noted: the journal names too much then, and whoever reads it looks for each object.
        """
        try:
            self._append(REMOVED, ref)
        except OSError as error:
            if not is_disk_full(error):
                raise

    def _drop_torn_line(self) -> None:
        """What a crash cut off would swallow the next line."""
        self._file.seek(0)
        text = self._file.read()
        self._file.truncate(text.rfind(b"\n") + 1)

    def _append(self, event: str, ref: Ref) -> None:
        line = (json.dumps({"event": event, **asdict(ref)}) + "\n").encode()
        before = os.fstat(self._file.fileno()).st_size
        try:
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(before)  # half a line would swallow the next
            raise


def _lock(file: IO[Any], path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunGoesOn(f"The run of {path} goes on in another process. Wait for its end, or end it.") from None


def is_held(path: Path) -> bool:
    """Whether a process that lives holds this journal."""
    with path.open(encoding="utf-8") as file:
        try:
            _lock(file, path)
        except RunGoesOn:
            return True
    return False


def leftovers(path: Path) -> tuple[Ref, ...]:
    """
    What was intended and not seen to go, the last first: the order in which it is to be removed.

    A last line cut off by a crash is passed over: its object was not created, the line comes before.
    """
    left: dict[Ref, None] = {}
    for event, ref in _lines(path):
        if event == INTENDED:
            left[ref] = None
        else:
            left.pop(ref, None)
    return tuple(reversed(left))


def _lines(path: Path) -> Iterator[tuple[str, Ref]]:
    *whole, _ = path.read_text(encoding="utf-8").split("\n")
    for line in whole:
        fields = json.loads(line)
        yield fields.pop("event"), Ref(**fields)
