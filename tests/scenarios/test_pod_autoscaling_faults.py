"""
With one thing wrong with a platform the scenario fails, by the check that is meant for it.

A fault that a newcomer's cluster would have from the start is planted before; others when one replica serves already.
"""

from collections.abc import Iterator

import pytest

from bench.model.verdict import Verdict
from tests.lab.running import RunningLab, running_lab, unique_name
from tests.scenarios.autoscaling_faults import WRONG
from tests.scenarios.autoscaling_trial import LAB, tried
from tests.scenarios.trying import failed, judged

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def small_lab() -> Iterator[RunningLab]:
    with running_lab(unique_name("autoscaling"), *LAB) as running:
        yield running


@pytest.mark.timeout(240)
@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_found_by_the_check_that_is_meant_for_it(small_lab: RunningLab, what: str) -> None:
    scenario, readings = tried(small_lab, WRONG[what])

    judgement = judged(scenario, readings)
    assert WRONG[what].found_by <= failed(judgement), what
    assert judgement.verdict is Verdict.FAIL
