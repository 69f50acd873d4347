"""What a planted leak shows to a container of devices that are not its own; and that nothing leaks without one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.lab.config import Allocation, LabConfig
from bench.lab.faults import state
from bench.lab.faults.state import Faults, Planted
from bench.lab.gpu.containers import View
from bench.lab.gpu.fleet import Unit, make_gpus, units_of
from bench.lab.gpu.leaks import Neighbourhood, leaked
from tests.unit.lab.gpu.small_lab import NODE, container

GPUS = make_gpus(LabConfig(allocation=Allocation.BOTH), NODE, 4)
ALL_UUIDS = tuple(gpu.uuid for gpu in GPUS)
ALL_MINORS = (0, 1, 2, 3)
NOTHING = View()
Leaking = Callable[..., Mapping[str, View]]


def unit(index: int) -> Unit:
    return units_of(GPUS[index])[0]


def wanting(value: str) -> dict[str, Any]:
    return container(env=[{"name": "NVIDIA_VISIBLE_DEVICES", "value": value}])


@pytest.fixture
def leaking(tmp_path: Path) -> Leaking:
    """The views of one pod's containers with these faults planted; device 3 is held by another pod."""

    def look(*faults: str, views: Mapping[str, View], containers: Any = None) -> Mapping[str, View]:
        path = tmp_path / "faults.json"
        state.write(path, [Planted(name=name, arguments={}, utc_seconds=1.0) for name in faults])
        around = Neighbourhood(gpus=GPUS, held_by_others=(unit(3),))
        return leaked(containers or [container(name) for name in views], views, around, Faults(path))

    return look


def test_without_a_fault_every_view_stays_as_it_is(leaking: Leaking) -> None:
    views = {"main": View(plugin_units=(unit(0),)), "side": NOTHING}

    assert leaking(views=views) == views


def test_a_device_that_is_hidden_is_not_seen_by_who_holds_it(leaking: Leaking) -> None:
    assert leaking("device-hidden", views={"main": View(plugin_units=(unit(0),))}) == {"main": NOTHING}


def test_a_device_that_leaks_shows_all_of_the_node_to_who_holds_none(leaking: Leaking) -> None:
    shown = leaking("device-leaked", views={"main": NOTHING})["main"]

    assert (shown.page_uuids, shown.minors) == (ALL_UUIDS, ALL_MINORS)
    assert shown.units == ()  # to see is not to hold


@pytest.mark.parametrize(
    ("value", "seen"), [("all", ALL_UUIDS), (ALL_UUIDS[2], ALL_UUIDS[2:3]), ("1", ALL_UUIDS[1:2]), ("void", ())]
)
def test_a_variable_that_is_honoured_shows_what_it_names(leaking: Leaking, value: str, seen: tuple[str, ...]) -> None:
    shown = leaking("visible-devices-honoured", views={"main": NOTHING}, containers=[wanting(value)])

    assert shown["main"].page_uuids == seen


def test_a_second_container_that_leaks_shows_what_its_pod_holds_and_no_more(leaking: Leaking) -> None:
    views = {"main": View(plugin_units=(unit(1),)), "side": NOTHING}

    shown = leaking("second-container-leak", views=views)

    assert (shown["side"].page_uuids, shown["side"].minors) == (ALL_UUIDS[1:2], (1,))
    assert shown["main"] == views["main"]


def test_a_pod_that_holds_nothing_has_nothing_to_leak_to_its_second_container(leaking: Leaking) -> None:
    views = {"main": NOTHING, "side": NOTHING}

    assert leaking("second-container-leak", views=views) == views


def test_the_whole_node_leaks_to_no_container_beside_a_holder(leaking: Leaking) -> None:
    views = {"main": View(plugin_units=(unit(1),)), "side": NOTHING}

    assert leaking("device-leaked", views=views) == views


def test_a_foreign_device_that_opens_is_one_that_another_pod_holds(leaking: Leaking) -> None:
    shown = leaking("foreign-device-opens", views={"main": View(plugin_units=(unit(0),))})["main"]

    assert shown.minors == (0, 3)
    assert shown.units == (unit(0),)  # its libraries know its own alone


def test_a_claim_that_is_ignored_gets_the_next_device_of_those_for_claims(leaking: Leaking) -> None:
    first = leaking("claim-ignored", views={"main": View(claimed_units=(unit(2),))})["main"]
    last = leaking("claim-ignored", views={"main": View(claimed_units=(unit(3),))})["main"]
    counted = leaking("claim-ignored", views={"main": View(plugin_units=(unit(0),))})["main"]

    assert (first.units, last.units, counted.units) == ((unit(3),), (unit(2),), (unit(0),))


def test_who_chose_devices_with_privileges_sees_these_and_no_leak(leaking: Leaking) -> None:
    views = {"main": View(page_uuids=ALL_UUIDS[:1], minors=(0,))}

    assert leaking("device-leaked", views=views) == views
