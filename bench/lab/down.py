"""Takes a lab down, however it is, and removes what one that was killed left behind."""

import os
import threading
import time
from enum import Enum, auto
from pathlib import Path
from typing import Final

from bench.errors import DeadlineExceeded
from bench.lab.box import control_socket, lock, outermost, remains
from bench.lab.paths import LabPaths

_ANSWER_SECONDS: Final = 3.0
_END_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.01


class Outcome(Enum):
    """What there was to take down."""

    WENT_DOWN = auto()
    WAS_DEAD = auto()
    """Its processes were gone already; its remains were removed now."""
    WAS_NOT_THERE = auto()


def take_down(name: str) -> Outcome:
    """Returns when nothing of the lab is left."""
    paths = LabPaths.of(name)
    if not lock.is_held(paths.root):
        return clear(paths)
    if not (_was_told(paths) and _is_free(paths.root, within_seconds=_END_SECONDS)):
        outermost.kill(paths.root)
        if not _is_free(paths.root, within_seconds=_END_SECONDS):
            raise DeadlineExceeded(
                f"lab {name} is still there, although its first process was ended: see {paths.logs / 'keeper.log'}."
            )
    clear(paths)
    return Outcome.WENT_DOWN


def clear(paths: LabPaths) -> Outcome:
    """Remove what a lab left that was killed together with its keeper; nothing if the lab runs."""
    if not paths.root.exists():
        return Outcome.WAS_NOT_THERE
    held = lock.take(paths.root)
    if held is None:
        return Outcome.WAS_NOT_THERE
    try:
        remains.remove(paths.root, keep_logs=True)
    finally:
        os.close(held)
    return Outcome.WAS_DEAD


def _was_told(paths: LabPaths) -> bool:
    """False if it does not listen, not even after a moment: then it has only begun, or it hangs."""
    patience_until = time.monotonic() + _ANSWER_SECONDS
    while time.monotonic() < patience_until:
        try:
            control_socket.ask(paths.control_socket, {"do": "down"}, within_seconds=_ANSWER_SECONDS)
        except OSError:
            if _is_free(paths.root, within_seconds=10 * _LOOK_SECONDS):
                return True
        else:
            return True
    return False


def _is_free(root: Path, *, within_seconds: float) -> bool:
    """A lock can be waited for, but not for a limited time; so it is looked at."""
    until = time.monotonic() + within_seconds
    pause = threading.Event()
    while lock.is_held(root):
        if time.monotonic() > until:
            return False
        pause.wait(_LOOK_SECONDS)
    return True
