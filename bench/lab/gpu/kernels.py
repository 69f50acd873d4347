"""
Which share of its multiprocessors a device's kernels are on, as the holder's program tells by a file.

Programs compute on the CPU, which cannot show it: a kernel on a quarter of the device uses as much CPU time as one on
all of it. A device that pods share has one file for all of them, and the last one's word counts.
"""

from pathlib import Path
from typing import Final

WHOLE: Final = 1.0
_LONGEST: Final = 32
"""Bytes of a number that means something."""


class Kernels:
    """The file of one device or MIG instance; holders write it, the agent reads it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.forget()
        path.chmod(0o666)  # any user of a pod may compute

    def read_ratio(self) -> float:
        """What was told last; the whole device where nothing was, or nothing that means a share."""
        try:
            with self._path.open("rb") as file:
                ratio = float(file.read(_LONGEST))
        except (FileNotFoundError, ValueError):
            return WHOLE
        return ratio if 0.0 <= ratio <= 1.0 else WHOLE

    def forget(self) -> None:
        """What a holder told that is gone; the file stays the same one, since containers may have it."""
        self._path.write_bytes(b"")

    def remove(self) -> None:
        """The device is gone; programs that have it open keep what they have."""
        self._path.unlink(missing_ok=True)
