"""A check that fails says where to look; and nothing says it of a check that is gone."""

from collections.abc import Iterable, Mapping

import pytest

from bench.analysis import autoscaling, isolation
from bench.analysis.autoscaling import looking as autoscaling_looking
from bench.analysis.isolation import looking as isolation_looking
from bench.model.check import Check
from bench.registry import discover
from scenarios.secure_accelerator_access import PARTS


@pytest.mark.parametrize("name", [each.id for each in discover()])
def test_every_check_of_every_scenario_says_where_to_look(name: str) -> None:
    silent = [check.measurement for check in discover().get(name).make({}).checks() if not check.look_at]

    assert silent == []


@pytest.mark.parametrize(
    ("words", "checks"),
    [
        (autoscaling_looking.LOOK_AT, autoscaling.checks(repeats=1000)),
        (isolation_looking.LOOK_AT, isolation.checks(PARTS, slowdown_budget_ratio=0.05)),
    ],
)
def test_no_words_are_left_of_a_check_that_is_gone(words: Mapping[str, str], checks: Iterable[Check]) -> None:
    assert set(words) == {check.measurement for check in checks}
