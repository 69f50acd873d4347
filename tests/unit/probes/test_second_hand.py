import email.utils
import math
import random

import pytest

from bench.probes.second_hand import SecondHand


def asked(seed: int, *, ahead: float, questions: int = 14) -> SecondHand:
    """A server whose clock is ahead by so much, asked over a way of 2 to 6 ms."""
    numbers, hand, now = random.Random(seed), SecondHand(), 1.0e9
    for _ in range(questions):
        now = hand.next_question_seconds(now, 0.5)
        trip = numbers.uniform(0.002, 0.006)
        served = now + trip * numbers.random() + ahead
        hand.hear(now, now + trip, email.utils.formatdate(math.floor(served), usegmt=True))
        now += trip
    return hand


@pytest.mark.parametrize("seed", range(20))
def test_whole_seconds_tell_a_clock_to_the_length_of_a_round_trip(seed: int) -> None:
    ahead = random.Random(seed + 100).uniform(-40.0, 40.0)
    hand = asked(seed, ahead=ahead)

    assert hand.low_seconds <= ahead <= hand.high_seconds
    assert hand.bound_seconds < 0.007
    assert hand.contradictions_total == 0


def test_a_clock_that_is_set_meanwhile_is_a_contradiction_and_the_new_time_counts() -> None:
    hand = asked(1, ahead=3.0)
    hand.hear(2.0e9, 2.0e9 + 0.004, email.utils.formatdate(2.0e9, usegmt=True))

    assert hand.contradictions_total == 1
    assert hand.low_seconds <= 0.0 <= hand.high_seconds


def test_an_answer_without_a_date_tells_nothing() -> None:
    hand = SecondHand()
    hand.hear(1.0, 1.1, "")
    hand.hear(1.0, 1.1, "yesterday")

    assert not hand.is_known
