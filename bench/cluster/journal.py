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
from typing import Final, Self, TextIO

from bench.cluster.objects import Ref
from bench.errors import RunGoesOn

INTENDED: Final = "intended"
REMOVED: Final = "removed"


class Journal:
    """
    Appends to one journal; each line is on disk when the call returns. Raises `OSError` where it cannot be.

    Whoever holds it is at work: nobody else can open it as long as that process lives (`RunGoesOn`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a+", encoding="utf-8")
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
        """To be called before the object is created."""
        self._append(INTENDED, ref)

    def removed(self, ref: Ref) -> None:
        """To be called when the object is known to be gone."""
        self._append(REMOVED, ref)

    def _drop_torn_line(self) -> None:
        """What a crash cut off would swallow the next line."""
        self._file.seek(0)
        text = self._file.read()
        self._file.truncate(len(text[: text.rfind("\n") + 1].encode()))

    def _append(self, event: str, ref: Ref) -> None:
        self._file.write(json.dumps({"event": event, **asdict(ref)}) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _lock(file: TextIO, path: Path) -> None:
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
