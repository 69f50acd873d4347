"""Neighbours on other devices: a sound lab's do not slow each other, and those of one that lets them are found."""

import pytest

from bench.lab.faults.planting import planted
from bench.model.verdict import Verdict
from tests.lab.running import running_lab, unique_name
from tests.scenarios.leaks import LAB, LEAKS, SLOW, tried
from tests.scenarios.trying import failed

pytestmark = [pytest.mark.lab, pytest.mark.measures, pytest.mark.timeout(300)]


def test_neighbours_are_found_to_slow_each_other_where_they_do_and_only_there() -> None:
    with running_lab(unique_name("neighbours"), *LAB) as lab:
        sound = tried(lab, "sound", parts=LEAKS[SLOW].parts)
        with planted(lab.name, SLOW):
            slow = tried(lab, "slow", parts=LEAKS[SLOW].parts)

    assert [(each.claim, each.reason) for each in sound.checks if each.verdict is not Verdict.PASS] == []
    assert failed(slow) == set(LEAKS[SLOW].found_by)
