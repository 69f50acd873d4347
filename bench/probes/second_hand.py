"""
How far a server's clock is ahead of this machine's, told by the whole seconds in the header `Date` of its answers.

An answer that was asked for at one time, came at another and carries a second bounds the difference from both sides.
Bounds of several answers are cut with each other, and each question is asked when its answer will halve what is left:
some ten questions, a second apart, bring it down to the length of a round trip.
"""

import email.utils
import math
from dataclasses import dataclass


@dataclass(slots=True)
class SecondHand:
    """What is known of the difference: at least `low_seconds`, at most `high_seconds`."""

    low_seconds: float = -math.inf
    high_seconds: float = math.inf
    contradictions_total: int = 0
    """Answers that no one difference explains: a clock was set meanwhile, or several servers answer by turns."""

    def hear(self, before_seconds: float, after_seconds: float, date: str) -> None:
        """An answer: our times around it, and its header; one without a date tells nothing."""
        second = _second_of(date)
        if second is None:
            return
        low, high = second - after_seconds, second + 1.0 - before_seconds
        if low > self.high_seconds or high < self.low_seconds:
            self.contradictions_total += 1
            self.low_seconds, self.high_seconds = low, high
            return
        self.low_seconds, self.high_seconds = max(low, self.low_seconds), min(high, self.high_seconds)

    @property
    def is_known(self) -> bool:
        """Whether any answer was heard."""
        return math.isfinite(self.low_seconds)

    @property
    def middle_seconds(self) -> float:
        """The likeliest difference."""
        return (self.low_seconds + self.high_seconds) / 2.0

    @property
    def bound_seconds(self) -> float:
        """How far the truth may be from the middle."""
        return (self.high_seconds - self.low_seconds) / 2.0

    def next_question_seconds(self, now_seconds: float, least_wait_seconds: float) -> float:
        """The time of ours at which to ask: the server's second changes then, if the middle is the truth."""
        earliest = now_seconds + least_wait_seconds
        if not self.is_known:
            return earliest
        return math.ceil(earliest + self.middle_seconds) - self.middle_seconds


def _second_of(date: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None
