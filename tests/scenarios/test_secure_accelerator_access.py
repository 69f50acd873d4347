"""
The scenario passes on a sound lab; and with leaks in it, it fails by the checks that are meant for these leaks.

Leaks that could not be taken for each other share one run; `make bench-isolation` plants each of them alone.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from bench.lab.faults.planting import planted
from bench.model.verdict import Verdict
from tests.lab.running import RunningLab, running_lab, unique_name
from tests.scenarios.leaks import LAB, LEAKS, LOOKS, SLOW, tried
from tests.scenarios.trying import failed

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

TOGETHER = {
    "around the allocation": ("visible-devices-honoured", "second-container-leak", "pod-security-off"),
    "between holders": ("foreign-device-opens", "claim-ignored", "memory-not-scrubbed"),
    "beside what was counted": ("device-leaked", "two-pods-one-device"),
    "from who holds them": ("device-hidden",),
}
PARTS = {
    "around the allocation": LOOKS,
    "between holders": LOOKS,
    "beside what was counted": "control,none,pair,seed",
    "from who holds them": "control",
}

SHARED = ("--nodes", "1", "--gpus", "2", "--time-slices", "2")


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running_lab(unique_name("secure"), *LAB) as running:
        yield running


def test_a_sound_lab_has_no_finding(lab: RunningLab) -> None:
    judgement = tried(lab, "sound", parts=f"{LOOKS},seed")

    assert [(each.claim, each.reason) for each in judgement.checks if each.verdict is not Verdict.PASS] == []
    assert len(judgement.checks) == 12


@pytest.mark.parametrize("where", TOGETHER)
def test_each_leak_is_found_by_its_own_check(lab: RunningLab, where: str) -> None:
    leaks = [LEAKS[name] for name in TOGETHER[where]]
    ways = {leak.allocation for leak in leaks if leak.allocation}

    with ExitStack() as faults:
        for name in TOGETHER[where]:
            faults.enter_context(planted(lab.name, name))
        judgement = tried(lab, where.partition(" ")[0], parts=PARTS[where], allocation=min(ways, default="auto"))

    asked = {check.measurement for check in judgement.checks}
    assert failed(judgement) == {name for leak in leaks for name in leak.found_by} & asked


def test_a_share_of_a_device_is_no_leak_and_one_holder_more_than_shares_is() -> None:
    with running_lab(unique_name("shared"), *SHARED) as lab:
        sound = tried(lab, "shared", parts=f"{LOOKS},interference")
        with planted(lab.name, "two-pods-one-device"):
            crowded = tried(lab, "crowded", parts="pair")

    unknown = {each.measurement: each.reason for each in sound.checks if each.verdict is not Verdict.PASS}
    assert list(unknown) == ["slowdown_at_least_ratio"]  # that sharers slow each other is no finding
    assert "by design" in unknown["slowdown_at_least_ratio"]
    assert failed(crowded) == {"holders_beyond_shares_total"}


def test_no_leak_is_left_out() -> None:
    together = [name for names in TOGETHER.values() for name in names]
    assert sorted([*together, SLOW]) == sorted(LEAKS)
