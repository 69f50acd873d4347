"""What an exporter shows when it was told to lie, and that it shows the truth at once when it no longer is."""

from collections.abc import Mapping
from typing import Any

import pytest

from bench.lab.faults import catalogue
from bench.lab.faults.state import Planted
from bench.lab.programs.dcgm_collector import Reading
from bench.lab.programs.dcgm_counters import Counter, CounterType
from bench.lab.programs.dcgm_faults import (
    FLOAT_SENTINEL,
    INTEGER_SENTINEL,
    Distortion,
    delay_seconds,
    named_wrongly,
    styled_wrongly,
)
from bench.lab.programs.dcgm_pods import Holder, HolderMap
from bench.lab.programs.dcgm_text import Style, render

UTIL, POWER, ENERGY = "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
SM_ACTIVE = "DCGM_FI_PROF_SM_ACTIVE"
OWN = Holder(namespace="gpu-operator", pod="dcgm-exporter-x", container="exporter")
ONE = Holder(namespace="trial", pod="one", container="main")
TWO = Holder(namespace="trial", pod="two", container="main")


def fault(name: str, **given: Any) -> Mapping[str, Planted]:
    arguments = catalogue.get(name).read({key: str(value) for key, value in given.items()})
    return {name: Planted(name=name, arguments=arguments, utc_seconds=1.0)}


def reading(index: int, **values: float) -> Reading:
    names = {"util": UTIL, "power": POWER, "energy": ENERGY, "sm_active": SM_ACTIVE}
    uuid = f"GPU-{index}"
    return Reading(
        labels={"gpu": str(index), "UUID": uuid},
        uuid=uuid,
        index=index,
        values={names[name]: value for name, value in values.items()},
    )


def shown(distortion: Distortion, now: Reading, faults: Mapping[str, Planted], past: Reading | None = None) -> Any:
    (made,) = distortion.readings([now], lambda _: [past or now], faults)
    return made.values


def test_a_frozen_series_stays_as_it_was_first_shown_until_it_is_cleared() -> None:
    distortion, frozen = Distortion(), fault("series-frozen", field=UTIL)

    assert shown(distortion, reading(0, util=10, power=70.0), frozen) == {UTIL: 10, POWER: 70.0}
    assert shown(distortion, reading(0, util=90, power=600.0), frozen) == {UTIL: 10, POWER: 600.0}
    assert shown(distortion, reading(0, util=90), {}) == {UTIL: 90}
    assert shown(distortion, reading(0, util=80), frozen) == {UTIL: 80}


def test_a_wrong_unit_is_a_factor_on_one_field() -> None:
    wrong = fault("wrong-unit", factor=1000)

    assert shown(Distortion(), reading(0, util=10, power=70.0), wrong) == {UTIL: 10, POWER: 70000.0}


def test_activity_that_is_utilisation_is_its_ratio_and_appears_nowhere_by_itself() -> None:
    untrue = fault("sm-active-is-utilization")

    assert shown(Distortion(), reading(0, util=100, sm_active=0.225), untrue) == {UTIL: 100, SM_ACTIVE: 1.0}
    assert shown(Distortion(), reading(0, util=100), untrue) == {UTIL: 100}
    other = fault("sm-active-is-utilization", device=1)
    assert shown(Distortion(), reading(0, util=100, sm_active=0.225), other) == {UTIL: 100, SM_ACTIVE: 0.225}


def test_a_sentinel_has_the_type_of_the_value_that_it_stands_for() -> None:
    leaked = fault("sentinel-leaked", field="")

    assert shown(Distortion(), reading(0, util=10, power=70.0), leaked) == {
        UTIL: INTEGER_SENTINEL,
        POWER: FLOAT_SENTINEL,
    }


def test_a_reset_counter_goes_on_from_0() -> None:
    distortion, reset = Distortion(), fault("counter-reset")

    assert shown(distortion, reading(0, energy=5000, util=3), reset) == {ENERGY: 0, UTIL: 3}
    assert shown(distortion, reading(0, energy=5700, util=3), reset) == {ENERGY: 700, UTIL: 3}


def test_a_delayed_series_shows_what_was_read_before() -> None:
    late = fault("delayed-series", field=UTIL)

    assert shown(Distortion(), reading(0, util=90, power=9.0), late, past=reading(0, util=10, power=1.0)) == {
        UTIL: 10,
        POWER: 9.0,
    }


@pytest.mark.parametrize("device", ["1", "GPU-1"])
def test_only_the_chosen_device_is_wrong(device: str) -> None:
    readings = [reading(0, power=70.0), reading(1, power=70.0)]
    made = Distortion().readings(readings, lambda _: readings, fault("wrong-unit", factor=2, device=device))

    assert [each.values[POWER] for each in made] == [70.0, 140.0]


def test_a_slow_exporter_stage_is_seen_by_all_and_a_slow_scrape_by_prometheus_alone() -> None:
    exporter, prometheus = (fault("slow-stage", stage=stage, seconds=3) for stage in ("exporter", "prometheus"))

    assert [delay_seconds(exporter, is_scrape=scrape) for scrape in (True, False)] == [3.0, 3.0]
    assert [delay_seconds(prometheus, is_scrape=scrape) for scrape in (True, False)] == [3.0, 0.0]
    assert delay_seconds({}, is_scrape=True) == 0.0
    assert delay_seconds(fault("slow-stage", stage="ready", seconds=3), is_scrape=True) == 0.0


def pods_named(holders: HolderMap, faults: Mapping[str, Planted]) -> list[str]:
    """The pod label of each series, in their order; empty where there is none."""
    readings = [reading(0, util=1), reading(1, util=2), reading(2, util=3)]
    wrong = named_wrongly(holders, readings, faults, OWN)
    counter = Counter(field=UTIL, type=CounterType.GAUGE, help="busy")
    lines = [line for line in render([counter], readings, wrong, Style(hostname="")).splitlines() if line[0] != "#"]
    return [line.partition('pod="')[2].partition('"')[0] for line in lines]


BOTH = HolderMap(by_uuid={"GPU-0": (ONE,), "GPU-1": (TWO,)})


def test_without_a_fault_each_pod_is_named_at_its_own_device() -> None:
    assert pods_named(BOTH, {}) == ["one", "two", ""]


def test_a_wrong_pod_is_one_that_holds_another_device() -> None:
    assert pods_named(BOTH, fault("wrong-pod")) == ["two", "one", ""]
    assert pods_named(BOTH, fault("wrong-pod", device=0)) == ["two", "two", ""]


def test_where_no_other_pod_holds_a_device_the_exporter_names_itself() -> None:
    assert pods_named(HolderMap(by_uuid={"GPU-0": (ONE,)}), fault("wrong-pod")) == ["dcgm-exporter-x", "", ""]


def test_a_claimed_device_is_named_wrongly_too() -> None:
    claimed = HolderMap(by_device_name={"gpu-0": (ONE,)}, by_uuid={"GPU-1": (TWO,)})

    assert pods_named(claimed, fault("wrong-pod", device=0)) == ["two", "two", ""]
    assert pods_named(claimed, fault("missing-pod-label", device=0)) == ["", "two", ""]


def test_a_missing_label_leaves_the_series() -> None:
    assert pods_named(BOTH, fault("missing-pod-label", device="GPU-1")) == ["one", "", ""]


def test_a_duplicated_series_names_a_second_pod_beside_the_holder() -> None:
    assert pods_named(BOTH, fault("duplicated-series", device=0)) == ["two", "one", "two", ""]


def test_of_pods_that_share_a_device_the_last_is_named_and_with_copied_shares_each() -> None:
    sharers = tuple(Holder(namespace="trial", pod=f"s{at}", container="main", replica=str(at)) for at in range(2))
    holders, counter = HolderMap(by_uuid={"GPU-0": sharers}), Counter(field=UTIL, type=CounterType.GAUGE, help="busy")

    def named(faults: Mapping[str, Planted]) -> list[str]:
        text = render([counter], [reading(0, util=40)], holders, styled_wrongly(Style(hostname=""), faults))
        return [line.partition('pod="')[2] for line in text.splitlines() if line[0] != "#"]

    assert named({}) == ['s1"} 40']
    assert named(fault("shares-copied")) == ['s0",vgpu="0"} 40', 's1",vgpu="1"} 40']
