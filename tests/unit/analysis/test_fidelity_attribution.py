import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.fidelity.attribution import Holding, attribute, conservation_ratio, label_delays

SCRAPES = np.arange(0.0, 600.0, 15.0)
HOLDINGS = [
    Holding(uuid="GPU-0", pod="ns/a", start_seconds=100.0, end_seconds=300.0),
    Holding(uuid="GPU-0", pod="ns/b", start_seconds=350.0, end_seconds=550.0),
    Holding(uuid="GPU-1", pod="ns/c", start_seconds=100.0, end_seconds=550.0),
]
GUARD = 15.0


def sound():
    claims = {}
    for holding in HOLDINGS:
        inside = (holding.start_seconds <= SCRAPES) & (holding.end_seconds >= SCRAPES)
        claims[holding.uuid, holding.pod] = SCRAPES[inside]
    return claims


def judged(claims, holdings=HOLDINGS):
    return attribute(claims, {"GPU-0": SCRAPES, "GPU-1": SCRAPES}, holdings, guard_seconds=GUARD)


def test_sound_labels_have_no_errors():
    found = judged(sound())

    assert (found.precision_ratio, found.recall_ratio) == (1.0, 1.0)
    assert (found.missing_total, found.wrong_total, found.ghost_total, found.duplicate_total) == (0, 0, 0, 0)
    assert found.pods_right.estimate == 1.0
    assert found.right_total == found.due_total > 40


def test_a_label_that_is_missing_for_a_while_is_missing():
    claims = sound()
    claims["GPU-1", "ns/c"] = claims["GPU-1", "ns/c"][10:]
    found = judged(claims)

    assert found.missing_total == 9
    assert found.wrong_total + found.ghost_total + found.duplicate_total == 0
    assert found.precision_ratio == 1.0
    assert found.pods_right.estimate == pytest.approx(2 / 3)


def test_a_pod_that_never_had_the_device_is_wrong():
    claims = sound()
    claims["GPU-1", "ns/d"] = claims.pop(("GPU-1", "ns/c"))
    found = judged(claims)

    assert found.wrong_total > 20
    assert found.recall_ratio < 0.5
    assert found.missing_total + found.ghost_total + found.duplicate_total == 0


def test_a_wrong_name_beside_the_device_without_any_is_of_a_device_that_is_shown_twice():
    claims = sound()
    claims["GPU-1", "ns/d"] = SCRAPES[-2:]  # after the end of the pod that held it
    shown = {"GPU-1": SCRAPES[-2:]}

    found = attribute(claims, {"GPU-1": SCRAPES}, HOLDINGS, guard_seconds=GUARD, named_and_not=shown)

    assert (found.wrong_total, found.duplicate_total) == (0, 2)
    assert judged(claims).wrong_total == 2


def test_a_pod_that_ended_and_is_still_named_is_a_ghost():
    claims = sound()
    claims["GPU-0", "ns/b"] = SCRAPES[SCRAPES >= 350]
    found = judged(claims)

    assert found.ghost_total == int((SCRAPES > 550 + GUARD).sum()) == 2
    assert (found.wrong_total, found.missing_total) == (0, 0)


def test_two_names_for_one_holder_are_duplicates_too():
    claims = sound()
    claims["GPU-0", "ns/c"] = claims["GPU-0", "ns/a"][3:9]
    found = judged(claims)

    assert found.duplicate_total == 6
    assert found.wrong_total + found.missing_total + found.ghost_total == 0


@pytest.mark.parametrize("named", ["ns/a", "ns/b"])
def test_a_second_name_while_the_device_changes_hands_is_a_duplicate_and_no_wrong_pod(named):
    close = [
        Holding(uuid="GPU-0", pod="ns/a", start_seconds=100.0, end_seconds=300.0),
        Holding(uuid="GPU-0", pod="ns/b", start_seconds=302.0, end_seconds=550.0),
    ]
    about = SCRAPES[(SCRAPES > 286) & (SCRAPES < 316)]  # either of them may hold it then

    beside = judged({("GPU-0", named): about, ("GPU-0", "ns/d"): about}, close)
    instead = judged({("GPU-0", "ns/d"): about}, close)

    assert (beside.duplicate_total, beside.wrong_total) == (about.size, 0)
    assert (instead.duplicate_total, instead.wrong_total) == (0, about.size)


def test_a_second_name_beside_a_pod_that_ended_is_a_duplicate_beside_a_ghost():
    late = SCRAPES[SCRAPES > 550 + GUARD]
    claims = sound() | {("GPU-0", "ns/d"): late}
    claims["GPU-0", "ns/b"] = SCRAPES[SCRAPES >= 350]
    found = judged(claims)

    assert (found.duplicate_total, found.ghost_total, found.wrong_total) == (late.size, late.size, 0)


def test_of_two_that_share_a_device_a_stranger_in_the_place_of_one_is_wrong_and_beside_both_a_duplicate():
    shared = [Holding(uuid="GPU-0", pod=pod, start_seconds=0.0, end_seconds=600.0) for pod in ("ns/a", "ns/b")]
    times = SCRAPES[5:9]
    one = {("GPU-0", "ns/a"): times, ("GPU-0", "ns/d"): times}

    assert (judged(one, shared).wrong_total, judged(one, shared).duplicate_total) == (4, 0)
    both = one | {("GPU-0", "ns/b"): times}
    assert (judged(both, shared).wrong_total, judged(both, shared).duplicate_total) == (0, 4)


def test_a_device_that_is_shown_once_more_without_a_name_is_shown_twice():
    shown = {"GPU-1": SCRAPES[10:13]}
    found = attribute(sound(), {"GPU-1": SCRAPES}, HOLDINGS, guard_seconds=GUARD, named_and_not=shown)

    assert found.duplicate_total == 3
    assert found.wrong_total + found.missing_total + found.ghost_total == 0
    assert found.precision_ratio == 1.0


def test_a_pod_is_named_while_its_image_is_pulled_and_is_a_stranger_while_another_holds_the_device():
    claims = sound()
    claims["GPU-1", "ns/c"] = SCRAPES[SCRAPES <= 550]
    claims["GPU-0", "ns/b"] = SCRAPES[(SCRAPES > 120) & (SCRAPES <= 550)]
    del claims["GPU-0", "ns/a"]

    found = judged(claims)

    assert found.wrong_total == int(((SCRAPES > 120) & (SCRAPES <= 300 - GUARD)).sum())
    assert found.duplicate_total + found.ghost_total == 0


def test_two_holders_of_a_shared_device_are_no_duplicate_and_one_of_them_that_is_not_named_is_unnamed():
    shared = [Holding(uuid="GPU-0", pod=pod, start_seconds=100.0, end_seconds=500.0) for pod in ("ns/a", "ns/b")]
    both = {("GPU-0", pod): SCRAPES[(SCRAPES > 99) & (SCRAPES < 501)] for pod in ("ns/a", "ns/b")}

    assert judged(both, shared).duplicate_total == 0
    last_writer = {("GPU-0", "ns/b"): both["GPU-0", "ns/b"]}
    found = judged(last_writer, shared)
    assert found.recall_ratio == 0.5
    assert found.pods_right.estimate == 0.5
    assert (found.missing_total, found.unnamed_total) == (0, found.due_total // 2)
    nobody = judged({}, shared)
    assert (nobody.missing_total, nobody.unnamed_total) == (nobody.due_total, 0)


@given(st.sets(st.integers(0, 39), max_size=40), st.integers(0, 10**6))
def test_precision_and_recall_are_shares_and_every_claim_is_counted_once(dropped, seed):
    generator = np.random.default_rng(seed)
    claims = {
        (f"GPU-{generator.integers(2)}", f"ns/{name}"): generator.choice(SCRAPES, 12, replace=False) for name in "abcd"
    }
    found = judged({key: np.sort(np.setdiff1d(times, SCRAPES[list(dropped)])) for key, times in claims.items()})

    assert 0 <= found.precision_ratio <= 1
    assert 0 <= found.recall_ratio <= 1
    assert found.missing_total <= found.due_total


def test_nothing_held_and_nothing_claimed_is_no_error():
    found = judged({}, [])

    assert (found.precision_ratio, found.recall_ratio, found.pods_right.count) == (1.0, 1.0, 0)


def test_labels_come_with_the_next_scrape_and_ghosts_linger():
    claims = sound()
    claims["GPU-0", "ns/a"] = SCRAPES[(SCRAPES >= 100) & (SCRAPES <= 500)]
    del claims["GPU-1", "ns/c"]
    found = label_delays(claims, HOLDINGS)

    assert found.appear_seconds == (5.0, 10.0)
    assert found.linger_seconds == (195.0, 0.0)
    assert found.never_total == 1
    assert label_delays({}, HOLDINGS).appear is None


@given(st.integers(1, 8))
def test_shares_that_are_divided_add_up_and_copies_add_up_to_as_many(pods):
    device = np.array([0.0, 0.5, 0.8, np.nan, 1.0])

    assert conservation_ratio(np.tile(device / pods, (pods, 1)), device) == pytest.approx(1.0)
    assert conservation_ratio(np.tile(device, (pods, 1)), device) == pytest.approx(pods)
    assert np.isnan(conservation_ratio(np.zeros((1, 2)), np.zeros(2)))
