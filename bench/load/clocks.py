"""
How far another process's clock is from ours: by words there and back, with a bound that holds whatever their delays.

A word cannot be heard before it was said. Each round trip so bounds the difference from both sides, and the bounds of
several are taken together; nothing is assumed of the network but that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

#: Round trips to each worker, before a run and after it.
ROUNDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """One round trip: asked and back by our clock, heard and told by theirs; nanoseconds."""

    asked: int
    heard: int
    told: int
    back: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockOffset:
    """Their clock minus ours, and by how much that may be wrong."""

    offset_ns: int
    bound_ns: int

    def to_json(self) -> dict[str, float]:
        return {"offset_seconds": self.offset_ns / 1e9, "bound_seconds": self.bound_ns / 1e9}


def offset_of(echoes: Sequence[Echo]) -> ClockOffset | None:
    """The middle of what all round trips allow; None of no round trip."""
    if not echoes:
        return None
    lowest = max(echo.told - echo.back for echo in echoes)
    highest = min(echo.heard - echo.asked for echo in echoes)
    # Where the clocks ran apart between two round trips the ends cross; what lies between them is then the doubt.
    return ClockOffset(offset_ns=(lowest + highest) // 2, bound_ns=(abs(highest - lowest) + 1) // 2)


def over_run(before: ClockOffset | None, after: ClockOffset | None) -> ClockOffset | None:
    """The offset that a run began with, and a bound that holds until its end, however the clocks ran apart."""
    if before is None or after is None:
        return None
    moved = abs(after.offset_ns - before.offset_ns)
    return ClockOffset(offset_ns=before.offset_ns, bound_ns=max(before.bound_ns, after.bound_ns + moved))


def measure(ask: Callable[[], Any], now: Callable[[], int], *, rounds: int = ROUNDS) -> ClockOffset | None:
    """Asks so often; `ask` gives what they heard and told as `{"heard": …, "told": …}`, or None for no answer."""
    echoes = []
    for _ in range(rounds):
        asked = now()
        answer = ask()
        if answer is not None:
            echoes.append(Echo(asked=asked, heard=answer["heard"], told=answer["told"], back=now()))
    return offset_of(echoes)
