"""
The lock of a lab: on its state folder itself, so that removing the folder removes the lock.

Held by the keeper and by PID 1 through one open file, so it is free exactly when both are gone.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ATTEMPTS: Final = 20


def take(folder: Path) -> int | None:
    """Create the folder and lock it; the descriptor that holds the lock, or None when another process has it."""
    for _ in range(_ATTEMPTS):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if _is(folder, descriptor):
            return descriptor
        # The holder removed the folder between our open and our lock: what we hold is a folder without a name.
        os.close(descriptor)
    return None


def is_held(folder: Path) -> bool:
    """Whether a process holds the lock. False too when there is no such folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    with _closing(descriptor):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _is(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(folder), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)
