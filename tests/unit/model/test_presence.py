"""Whether what is asked was there, and what its absence makes of a bound that was not kept."""

from collections.abc import Iterator

import pytest

from bench.model.check import Check, Relation, Statistic
from bench.model.measurement import Measurement, Reading, Source
from bench.model.presence import Part, Presence, told_away
from bench.model.units import Unit
from bench.model.verdict import Verdict

NOON = 43_200.0


class Clock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def presence(clock: Clock) -> Presence:
    return Presence(clock)


def away(presence: Presence, **more: float) -> tuple[Reading, ...]:
    return tuple(presence.away(Part.PROMETHEUS, source=Source.PROMETHEUS, **more))


def test_what_always_answers_was_never_away(presence: Presence) -> None:
    presence.answered()

    assert away(presence) == ()


def test_it_was_away_from_the_first_silence_to_the_next_answer(clock: Clock, presence: Presence) -> None:
    presence.answered()
    for clock.now in (NOON + 10.0, NOON + 12.0):
        presence.silent(clock.now)
    clock.now = NOON + 15.0
    presence.answered()
    clock.now = NOON + 60.0

    (reading,) = away(presence)

    assert isinstance(reading, Measurement)
    assert (reading.times_seconds.tolist(), reading.values.tolist()) == ([NOON + 10.0], [5.0])
    assert told_away([reading]) == "Prometheus was away from 12:00:10 to 12:00:15 UTC"


def test_what_has_not_come_back_is_away_until_now(clock: Clock, presence: Presence) -> None:
    presence.silent(NOON)
    clock.now = NOON + 90.0

    assert presence.is_away
    assert told_away(away(presence)) == "Prometheus was away from 12:00:00 to 12:01:30 UTC"


def test_a_slow_question_that_fails_counts_from_the_last_answer_that_others_got(
    clock: Clock, presence: Presence
) -> None:
    clock.now = NOON + 29.0
    presence.answered()
    clock.now = NOON + 30.0
    presence.silent(asked_seconds=NOON)
    clock.now = NOON + 32.0
    presence.answered()

    assert told_away(away(presence)) == "Prometheus was away from 12:00:29 to 12:00:32 UTC"


def test_a_connection_that_is_made_again_at_once_is_no_absence(clock: Clock, presence: Presence) -> None:
    presence.silent(NOON)
    clock.now = NOON + 0.5
    presence.answered()

    assert away(presence) == ()


def test_what_was_over_before_is_not_told_again(clock: Clock, presence: Presence) -> None:
    presence.silent(NOON)
    clock.now = NOON + 5.0
    presence.answered()

    assert away(presence, since_seconds=NOON + 6.0) == ()


def check(*depends_on: Part) -> Check:
    return Check(
        claim="replicas come",
        measurement="missing_total",
        statistic=Statistic.MAX,
        relation=Relation.AT_MOST,
        bound=0.0,
        because="somebody asked for them",
        depends_on=depends_on,
    )


def readings(presence: Presence, missing: float) -> Iterator[Reading]:
    yield Measurement(
        name="missing_total", unit=Unit.TOTAL, values=[missing], source=Source.KUBERNETES, statement="a count"
    )
    yield from away(presence)


@pytest.mark.parametrize(
    ("depends_on", "missing", "verdict"),
    [
        ((Part.PROMETHEUS,), 1.0, Verdict.INCONCLUSIVE),
        ((Part.PROMETHEUS,), 0.0, Verdict.PASS),
        ((Part.API_SERVER,), 1.0, Verdict.FAIL),
        ((), 1.0, Verdict.FAIL),
    ],
)
def test_a_bound_that_is_not_kept_is_unknown_while_what_it_depends_on_was_away(
    clock: Clock, presence: Presence, depends_on: tuple[Part, ...], missing: float, verdict: Verdict
) -> None:
    presence.silent(NOON)
    clock.now = NOON + 5.0
    presence.answered()

    result = check(*depends_on).judge(readings(presence, missing))

    assert result.verdict is verdict
    is_told = "Prometheus was away from 12:00:00 to 12:00:05 UTC" in result.reason
    assert is_told == (verdict is Verdict.INCONCLUSIVE)
    assert (result.observed, result.beyond is None) == (missing, verdict is not Verdict.FAIL)
