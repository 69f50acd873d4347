"""What is declared is usable: names, arguments, and the text that becomes their values."""

import re

import pytest

from bench.errors import WrongUsage
from bench.lab.faults import catalogue
from bench.lab.faults.catalogue import CATALOGUE
from bench.lab.faults.declaration import Argument, Fault, Kind
from bench.lab.faults.planters import PLANTERS
from bench.registry import discover

SLOW = Fault(
    name="slow",
    does="It is slow.",
    arguments=(
        Argument(name="seconds", kind=Kind.NUMBER, help="how long", at_most=25),
        Argument(name="stage", default="one", choices=("one", "two"), help="where"),
        Argument(name="code", kind=Kind.WHOLE, default=79, help="which"),
    ),
)


def test_names_are_unique_and_kebab_case() -> None:
    names = [fault.name for fault in CATALOGUE]

    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in names)


def test_each_fault_is_told_in_one_sentence() -> None:
    for fault in CATALOGUE:
        assert fault.does.endswith("."), fault.name
        assert ". " not in fault.does, fault.name


def test_every_default_is_a_value_that_could_have_been_given() -> None:
    for fault in CATALOGUE:
        for argument in fault.arguments:
            if argument.default is not None:
                assert argument.read(str(argument.default)) == argument.default, (fault.name, argument.name)


def test_what_changes_the_cluster_belongs_to_a_declared_fault() -> None:
    assert set(PLANTERS) <= {fault.name for fault in CATALOGUE}


def test_arguments_have_the_types_and_defaults_that_are_declared() -> None:
    assert SLOW.read({"seconds": "2.5"}) == {"seconds": 2.5, "stage": "one", "code": 79}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "The fault slow wants seconds=…: how long."),
        ({"seconds": "soon"}, "seconds=soon: it is a number."),
        ({"seconds": "nan"}, "seconds=nan: it is not below 0 and finite."),
        ({"seconds": "-1"}, "seconds=-1: it is not below 0 and finite."),
        ({"seconds": "26"}, "seconds=26: it is at most 25."),
        ({"seconds": "1", "stage": "three"}, "stage=three: it is one of one, two."),
        ({"seconds": "1", "code": "1.5"}, "code=1.5: it is a whole number."),
        ({"second": "1"}, "The fault slow has no argument 'second'; it has: seconds, stage, code."),
    ],
)
def test_a_wrong_argument_is_one_clear_sentence(given: dict[str, str], told: str) -> None:
    with pytest.raises(WrongUsage) as error:
        SLOW.read(given)

    assert str(error.value) == told


def test_an_unknown_fault_is_wrong_usage() -> None:
    with pytest.raises(WrongUsage, match="bench lab fault list"):
        catalogue.get("nonsense")


def test_the_checks_that_must_find_a_fault_are_checks_of_a_scenario() -> None:
    declared = {
        (declaration.id, check.measurement) for declaration in discover() for check in declaration.make({}).checks()
    }

    for fault in CATALOGUE:
        for scenario, measurement in fault.must_fail:
            assert (scenario, measurement) in declared, f"{fault.name}: {scenario} has no check of {measurement}"
