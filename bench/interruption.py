"""
Ctrl-C and SIGTERM during a run: noted when they come, and acted upon only where something is waited for.

Between two such points nothing is torn apart: what is being created becomes known, what is being written is whole. The
first asks for the end: a waiting point raises `KeyboardInterrupt`, what was measured is kept and what was created is
removed. The second gives that removal up. The third ends the process where it is; the journal still names what is left.

Signals belong to the process, and so does what is kept here. Outside of `heard` Python's own handling holds.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Final

EXIT_CODE: Final = 130
"""Of a command that Ctrl-C ended, as shells count."""
SLICE_SECONDS: Final = 0.25
"""The longest that a signal goes unseen at a waiting point."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_GIVES_UP: Final = 2
_ENDS_AT_ONCE: Final = 3


@dataclass(slots=True)
class _State:
    """How often the end was asked for, and how much of that was told and acted upon."""

    tell: Callable[[int], None] = lambda _: None
    asked: int = 0
    told: int = 0
    acted_upon: int = 0
    needed: int = 1
    """So many it takes to break off a wait."""


_STATE: Final = _State()


@contextlib.contextmanager
def heard(tell: Callable[[int], None]) -> Iterator[None]:
    """Signals are noted during this block; at a waiting point of the main thread `tell` hears how many came."""
    _reset(tell)
    before = {number: signal.signal(number, _note) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _reset(lambda _: None)


@contextlib.contextmanager
def cleaning() -> Iterator[None]:
    """What is waited for in this block is broken off by the second signal only."""
    before, _STATE.needed = _STATE.needed, _GIVES_UP
    try:
        yield
    finally:
        _STATE.needed = before


def is_asked() -> bool:
    """Whether the end was asked for."""
    return _STATE.asked > 0


def is_given_up() -> bool:
    """Whether the removal of what was created was interrupted, too."""
    return _STATE.asked >= _GIVES_UP


def is_due() -> bool:
    """Whether a wait is to be broken off now."""
    return _STATE.asked > _STATE.acted_upon and _STATE.asked >= _STATE.needed


def tell_news() -> None:
    """Tells of a signal that was not told yet; for a thread that looks while the main one cannot."""
    if _STATE.asked > _STATE.told:
        _STATE.told = _STATE.asked
        _STATE.tell(_STATE.told)


def check() -> None:
    """Raises `KeyboardInterrupt` where the end was asked for. In other threads than the main one: nothing."""
    if threading.current_thread() is not threading.main_thread():
        return
    tell_news()
    if is_due():
        _STATE.acted_upon = _STATE.asked
        raise KeyboardInterrupt


def slices(within_seconds: float) -> Iterator[float]:
    """The time in pieces short enough to wait for, one at least; before each, `check`."""
    deadline = time.monotonic() + within_seconds
    while True:
        check()
        left_seconds = deadline - time.monotonic()
        yield max(0.0, min(left_seconds, SLICE_SECONDS))
        if left_seconds <= SLICE_SECONDS:
            return


def wait(event: threading.Event, within_seconds: float) -> bool:
    """Whether the event came within the time."""
    return any(event.wait(seconds) for seconds in slices(within_seconds))


def _note(number: int, _: FrameType | None) -> None:
    _STATE.asked += 1
    if _STATE.asked >= _ENDS_AT_ONCE:
        raise KeyboardInterrupt(signal.Signals(number).name)


def _reset(tell: Callable[[int], None]) -> None:
    _STATE.tell = tell
    _STATE.asked = _STATE.told = _STATE.acted_upon = 0
    _STATE.needed = 1
