"""What pods told of their devices becomes findings, or, where a control saw nothing, the absence of any."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.analysis.isolation import (
    Place,
    checks,
    choose_ground,
    derive,
    missing,
    other_resources,
    read_burn,
    read_log,
    read_nbody,
    seed_resource,
    why_none_is_left,
)
from bench.model.inventory import Device, Inventory, Node
from bench.model.measurement import Absent, Measurement, Reading, Source
from bench.model.units import Unit

LOOKS = ("device-files", "nvml", "cuda")
RUN = 1000.0
BUDGET = 0.05


def place(part: str, pod: str, **more: str) -> Place:
    told = {"way": "device-plugin", "node": "n1", "repetition": "1", "container": "intruder", **more}
    return Place(part=part, pod=pod, **told)


def line(*uuids: str, began: float = RUN, lasts: float = 1.0, **more: Any) -> str:
    """What the program tells of a container that sees these devices, number by number."""
    minors = {uuid: int(uuid[-1]) for uuid in uuids}
    files = [f"nvidia{minor}" for minor in minors.values()]
    looks = {
        "device-files": {"seen": files, "reason": ""},
        "nvml": {"seen": list(uuids), "reason": "" if uuids else "NVMLError_LibraryNotFound"},
        "cuda": {"seen": list(uuids), "reason": ""},
    }
    own = [["open", f"/dev/{name}", "reached", began] for name in files]
    others = [
        ["open", f"/dev/nvidia{number}", "ENOENT", began] for number in range(4) if f"nvidia{number}" not in files
    ]
    told = {"owner": "me", "began": began, "ended": began + lasts, "looks": looks, "attempts": [*own, *others]}
    return json.dumps({**told, **({"minors": minors} if uuids else {}), **more})


def mark(uuid: str, *found: str, control: bool = True) -> dict[str, Any]:
    return {"memory": [{"uuid": uuid, "bytes": 4096, "found": list(found), "control": control, "reason": ""}]}


def read(*told: tuple[Place, str]) -> list[Reading]:
    return [reading for where, text in told for reading in read_log(text, where)]


def derived(readings: list[Reading], *parts: str) -> dict[str, list[float] | str]:
    """Name → all values of all series, or the reason of an absence."""
    found: dict[str, Any] = {}
    for each in derive(readings, parts, slowdown_budget_ratio=BUDGET):
        if isinstance(each, Absent):
            found[each.name] = each.reason
        else:
            found.setdefault(each.name, []).extend(each.values.tolist())
    return found


@pytest.fixture
def control() -> list[Reading]:
    return read((place("control", "holder"), line("GPU-0", lasts=0.5)))


def test_one_device_by_every_route_is_as_it_should_be(control: list[Reading]) -> None:
    found = derived(control, "control")

    assert found == {"holder_sees_other_than_one_total": [0, 0, 0], "seen_other_than_allocated_total": [0]}


def test_a_holder_that_sees_two_sees_one_too_many() -> None:
    readings = read((place("control", "holder"), line("GPU-0", "GPU-1")))

    assert derived(readings, "control")["holder_sees_other_than_one_total"] == [1, 1, 1]


def test_a_route_that_the_image_lacks_is_not_held_against_the_node() -> None:
    told = json.loads(line("GPU-0"))
    told["looks"]["nvml"] = {"seen": [], "reason": "No module named 'pynvml'"}

    found = derived(read((place("control", "holder"), json.dumps(told))), "control")

    assert found["holder_sees_other_than_one_total"] == [0, 0]


def test_a_holder_that_sees_nothing_by_any_route_is_a_finding() -> None:
    assert derived(read((place("control", "h"), line())), "control")["holder_sees_other_than_one_total"] == [1, 1, 1]


def test_none_seen_counts_where_the_control_saw_one(control: list[Reading]) -> None:
    readings = [*control, *read((place("none", "bare", way="none"), line()))]

    assert derived(readings, "none")["seen_without_request_total"] == [0, 0, 0]


def test_none_seen_proves_nothing_where_the_control_saw_nothing() -> None:
    readings = read((place("control", "holder"), line()), (place("none", "bare", way="none"), line()))

    assert "proves nothing" in derived(readings, "none")["seen_without_request_total"]


def test_none_seen_on_another_node_than_the_controls_proves_nothing(control: list[Reading]) -> None:
    readings = [*control, *read((place("none", "bare", way="none", node="n2"), line()))]

    assert "proves nothing" in derived(readings, "none")["seen_without_request_total"]


def test_a_pod_that_did_not_end_is_the_reason(control: list[Reading]) -> None:
    readings = [*control, missing(place("none", "bare"), "pod bare did not end: ImagePullBackOff")]

    assert derived(readings, "none")["seen_without_request_total"] == "pod bare did not end: ImagePullBackOff"


def test_a_device_of_two_pods_at_one_time_is_one_holder_too_many() -> None:
    pair = [(place("pair", name), line("GPU-0")) for name in ("a", "b")]

    assert derived(read(*pair), "pair")["holders_beyond_shares_total"] == [1]


def test_a_device_that_is_shared_on_purpose_has_as_many_holders_as_shares() -> None:
    pods = [(place("pair", name), line("GPU-0")) for name in ("a", "b", "c")]
    shares = [
        Measurement(
            name="device_shares_total",
            unit=Unit.TOTAL,
            values=[count],
            source=Source.KUBERNETES,
            statement="s",
            labels={"way": "device-plugin"},
        )
        for count in (3.0, 2.0)
    ]

    assert derived([*read(*pods), shares[0]], "pair")["holders_beyond_shares_total"] == [0]
    assert derived([*read(*pods), shares[1]], "pair")["holders_beyond_shares_total"] == [1]
    assert "by design" in derived([*read(*pods), shares[0]], "pair")["memory_kept_from_sharers_total"]


def test_a_mark_of_who_shares_the_device_at_the_time_is_no_residue() -> None:
    first = (place("control", "a"), line("GPU-0", **mark("GPU-0")))
    sharer = (place("pair", "b"), line("GPU-0", began=RUN + 5, **mark("GPU-0")))
    beside = (place("pair", "c"), line("GPU-0", began=RUN + 5.5, **mark("GPU-0", "b")))
    late = (place("pair", "c"), line("GPU-0", began=RUN + 5.5, **mark("GPU-0", "a", "b")))

    assert derived(read(first, sharer, beside), "residue") == {"marks_of_earlier_owners_total": [0, 0]}
    assert derived(read(first, sharer, late), "residue") == {"marks_of_earlier_owners_total": [0, 1]}


def test_one_device_after_another_is_no_sharing_and_proves_nothing_of_neighbours() -> None:
    pair = [(place("pair", "a"), line("GPU-0")), (place("pair", "b"), line("GPU-0", began=RUN + 5))]

    assert derived(read(*pair), "pair")["foreign_devices_reached_total"] == "no two pods held devices at one time"


def test_a_neighbours_device_that_opens_is_found_by_the_route_that_opened_it() -> None:
    told = json.loads(line("GPU-0"))
    told["attempts"].append(["open", "/dev/nvidia1", "reached", RUN])
    readings = read((place("pair", "a"), json.dumps(told)), (place("pair", "b"), line("GPU-1")))

    found = [
        each
        for each in derive(readings, ["pair"], slowdown_budget_ratio=BUDGET)
        if each.name == "foreign_devices_reached_total"
    ]

    assert [(each.labels["route"], each.values.tolist()) for each in found if isinstance(each, Measurement)] == [
        ("open", [1.0])
    ]


def test_who_does_not_reach_its_own_device_proves_nothing_of_others() -> None:
    told = []
    for name, uuid in (("a", "GPU-0"), ("b", "GPU-1")):
        each = json.loads(line(uuid))
        each["attempts"] = [[route, what, "EPERM", at] for route, what, _, at in each["attempts"]]
        told.append((place("pair", name), json.dumps(each)))

    assert "proves nothing" in derived(read(*told), "pair")["foreign_devices_reached_total"]


def test_a_second_container_is_held_against_the_first_one_of_its_pod() -> None:
    first, other = place("second-container", "p"), place("second-container", "p", container="other")

    assert derived(read((first, line("GPU-0")), (other, line())), "second-container") == {
        "seen_by_second_container_total": [0, 0, 0]
    }
    assert derived(read((first, line("GPU-0")), (other, line("GPU-0"))), "second-container") == {
        "seen_by_second_container_total": [1, 1, 1]
    }
    assert "saw no device" in derived(read((first, line()), (other, line())), "second-container").popitem()[1]


def test_a_bypass_counts_where_a_pod_that_attempts_nothing_sees_nothing(control: list[Reading]) -> None:
    variable = (place("bypass", "b", way="none", attempted="NVIDIA_VISIBLE_DEVICES=all"), line("GPU-0"))
    honest, leaking = (place("none", "n", way="none"), line()), (place("none", "n", way="none"), line("GPU-1"))

    assert derived([*control, *read(honest, variable)], "bypass")["devices_seen_by_bypass_total"] == [1]
    told = derived([*control, *read(leaking, variable)], "bypass")["devices_seen_by_bypass_total"]
    assert "attempts nothing sees 1" in told


def admission(name: str, value: float) -> Measurement:
    return Measurement(name=name, unit=Unit.TOTAL, values=[value], source=Source.KUBERNETES, statement="dry run")


@pytest.mark.parametrize(("plain", "host", "expected"), [(1.0, 0.0, [0]), (1.0, 1.0, [1])])
def test_a_refusal_counts_where_a_plain_pod_is_admitted(plain: float, host: float, expected: list[float]) -> None:
    readings = [admission("plain_pod_admitted_total", plain), admission("host_path_admitted_total", host)]

    assert derived(readings, "bypass")["host_path_devices_admitted_total"] == expected


def test_where_every_pod_is_refused_a_refusal_proves_nothing() -> None:
    readings = [admission("plain_pod_admitted_total", 0.0), admission("host_path_admitted_total", 0.0)]

    assert "refused too" in derived(readings, "bypass")["host_path_devices_admitted_total"]


def test_a_mark_of_an_earlier_owner_is_a_finding_of_its_device_alone() -> None:
    first = (place("control", "a"), line("GPU-0", **mark("GPU-0")))
    clean = (place("pair", "b"), line("GPU-0", began=RUN + 5, **mark("GPU-0")))
    dirty = (place("pair", "b"), line("GPU-0", began=RUN + 5, **mark("GPU-0", "a")))
    elsewhere = (place("pair", "b"), line("GPU-1", began=RUN + 5, **mark("GPU-1")))

    assert derived(read(first, clean), "residue") == {"marks_of_earlier_owners_total": [0]}
    assert derived(read(first, dirty), "residue") == {"marks_of_earlier_owners_total": [1]}
    assert derived(read(first, elsewhere), "residue") == {
        "marks_of_earlier_owners_total": "no device had one owner after another"
    }


def test_a_search_that_does_not_find_its_own_mark_proves_nothing() -> None:
    told = [
        (place("control", "a"), line("GPU-0", **mark("GPU-0"))),
        (place("pair", "b"), line("GPU-0", began=RUN + 5, **mark("GPU-0", control=False))),
    ]

    assert isinstance(derived(read(*told), "residue")["marks_of_earlier_owners_total"], str)


def test_a_claim_that_was_given_another_device_is_a_finding() -> None:
    held = read((place("control", "holder", way="dra"), line("GPU-0")))
    given = [
        Measurement(
            name="device_allocated_total",
            unit=Unit.TOTAL,
            values=[1.0],
            source=Source.KUBERNETES,
            statement="claim",
            labels={"pod": "holder", "uuid": uuid},
        )
        for uuid in ("GPU-0", "GPU-1")
    ]

    assert derived([*held, given[0]], "control")["seen_other_than_allocated_total"] == [0]
    assert derived([*held, given[1]], "control")["seen_other_than_allocated_total"] == [2]


def test_a_log_without_a_line_of_the_program_is_an_absence_that_quotes_it() -> None:
    (told,) = read_log("Traceback\nSyntaxError: invalid syntax", place("none", "n"))

    assert isinstance(told, Absent)
    assert told.reason.endswith("SyntaxError: invalid syntax")


def burning(rates: Sequence[float]) -> Iterator[Reading]:
    """A device with these rates, whose neighbour works in every second window."""
    done, lines = 0.0, {"measured": "", "neighbour": ""}
    for window, rate in enumerate([*rates, 0.0]):
        for role, operations, duty in (("measured", done, 1.0), ("neighbour", 0.0, float(window % 2))):
            told = {"utc_seconds": RUN + window, "operations": operations, "duty_ratio": duty}
            lines[role] += json.dumps(told) + "\n"
        done += 1e9 * rate
    for role, text in lines.items():
        yield from read_burn(text, role)


def slowed(slow: float, noise: Sequence[float]) -> list[Reading]:
    """Of so much of its rate by the neighbour, and by whatever else there is."""
    return list(burning([each * (1.0 - slow * (window % 2)) for window, each in enumerate(noise)]))


DRIFTING = [1.0 + 0.001 * window for window in range(9)]
WINDOWS = 13


@pytest.mark.parametrize("slow", [0.0, 0.2])
def test_what_a_neighbour_takes_is_found_under_a_drift(slow: float) -> None:
    found = derived(slowed(slow, DRIFTING), "interference")

    assert found["slowdown_ratio"] == [pytest.approx(slow, abs=0.003)]
    assert found["slowdown_at_least_ratio"][0] <= slow + 0.003


def test_too_few_windows_tell_nothing_and_a_failure_is_the_reason() -> None:
    assert "3 are needed" in derived(slowed(0.1, DRIFTING[:3]), "interference")["slowdown_ratio"]
    assert derived(list(read_burn("", "measured", "it was not scheduled")), "interference") == {
        "slowdown_ratio": "it was not scheduled",
        "slowdown_interval_ratio": "it was not scheduled",
        "slowdown_at_least_ratio": "it was not scheduled",
    }


Draw = Callable[[np.random.Generator], np.ndarray[Any, np.dtype[np.float64]]]


def hanging_together(draws: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Each window is like the one before it."""
    levels = np.cumsum(draws.normal(0.0, 0.1, WINDOWS))
    return np.asarray(np.exp(levels), dtype=np.float64)


NOISES: dict[str, Draw] = {
    "a quiet node": lambda draws: np.exp(draws.normal(0.0, 0.01, WINDOWS)),
    "a busy node": lambda draws: np.exp(draws.normal(0.0, 0.2, WINDOWS)),
    "a node without rest": lambda draws: np.exp(draws.normal(0.0, 0.4, WINDOWS)),
    "a device that drifts": hanging_together,
    "a job that comes and goes": lambda draws: np.where(draws.random(WINDOWS) < 0.3, 0.5, 1.0),
    "a rare stop": lambda draws: np.where(draws.random(WINDOWS) < 0.1, 0.3, 1.0),
    "a step": lambda draws: np.where(np.arange(WINDOWS) < draws.integers(1, WINDOWS), 1.0, 0.5),
}
RUNS = 200


def tried_interference(noise: str, slow: float) -> Counter[str]:
    """How often each verdict is given of a neighbour that takes so much, where the node is like this."""
    (check,) = checks(["interference"], slowdown_budget_ratio=BUDGET)
    draws = np.random.default_rng(7)
    runs = (slowed(slow, NOISES[noise](draws).tolist()) for _ in range(RUNS))
    return Counter(
        str(check.judge(list(derive(run, ["interference"], slowdown_budget_ratio=BUDGET))).verdict) for run in runs
    )


@pytest.mark.parametrize("noise", NOISES)
def test_a_neighbour_that_takes_nothing_is_blamed_in_fewer_than_one_run_of_fifty(noise: str) -> None:
    assert tried_interference(noise, 0.0)["fail"] < RUNS / 50


@pytest.mark.parametrize("noise", NOISES)
def test_a_neighbour_that_takes_half_is_hardly_ever_let_pass(noise: str) -> None:
    assert tried_interference(noise, 0.5)["pass"] <= RUNS / 100


@pytest.mark.parametrize(("slow", "verdict"), [(0.0, "pass"), (0.5, "fail")])
def test_on_a_quiet_node_it_is_decided(slow: float, verdict: str) -> None:
    assert tried_interference("a quiet node", slow) == {verdict: RUNS}


def test_where_windows_without_the_neighbour_vary_as_much_it_is_unknown_and_said_why() -> None:
    rates = [1.0, 0.8, 0.7, 0.8, 1.0, 0.6, 1.1, 0.7, 0.8, 0.9, 1.0]

    told = derived(list(burning(rates)), "interference")["slowdown_at_least_ratio"]

    assert "the budget of 0.05 lies inside" in told
    assert "by themselves" in told


COMPUTED = "= 0.056 billion interactions per second\n= 1.127 single-precision GFLOP/s at 20 flops per interaction\n"
REFUSED = "CUDA error: no CUDA-capable device is detected (cudaErrorNoDevice, 100)\n"


def test_the_seeds_third_pod_counts_where_the_first_computed() -> None:
    sound = list(read_nbody({"first": COMPUTED, "third": REFUSED}, "0/1 nodes: Insufficient nvidia.com/gpu"))

    assert derived(sound, "seed") == {"nbody_results_without_request_total": [0]}
    assert derived(list(read_nbody({"first": COMPUTED, "third": COMPUTED}, "")), "seed") == {
        "nbody_results_without_request_total": [1]
    }
    assert derived(list(read_nbody({"first": REFUSED, "third": REFUSED}, "")), "seed") == {
        "nbody_results_without_request_total": "the first pod computed nothing"
    }


def test_of_the_seeds_pods_the_first_must_compute_and_the_second_wait() -> None:
    judged = {
        (check.measurement, check.labels.get("pod", "")): check
        for check in checks(["seed"], slowdown_budget_ratio=BUDGET)
    }
    sound = list(read_nbody({"first": COMPUTED, "third": REFUSED}, "Insufficient nvidia.com/gpu"))
    broken = list(read_nbody({"first": REFUSED, "third": REFUSED}, ""))

    for key in (("nbody_results_total", "first"), ("nbody_kept_pending_total", "second")):
        assert judged[key].judge(sound).verdict == "pass"
        assert judged[key].judge(broken).verdict == "fail"


def test_a_reason_why_the_seeds_pods_were_not_run_is_each_checks_reason() -> None:
    told = Absent(name="nbody_results_total", source=Source.WORKLOAD, statement="s", reason="no nvidia.com/gpu is free")

    assert derived([told], "seed") == {"nbody_results_without_request_total": "no nvidia.com/gpu is free"}


def test_the_seeds_pods_ask_for_mig_instances_only_where_there_are_no_whole_devices() -> None:
    whole, instances = {"nvidia.com/gpu": 2.0}, {"nvidia.com/mig-1g.10gb": 7.0}

    def asked(allocatable: dict[str, float]) -> str:
        (node,) = inventory(("n1", 0.0)).nodes
        offering = replace(inventory(("n1", 0.0)), nodes=(replace(node, allocatable=allocatable),))
        return seed_resource(offering, "nvidia.com/mig-1g.10gb")

    assert asked(instances) == "nvidia.com/mig-1g.10gb"
    assert asked({**whole, **instances}) == "nvidia.com/gpu"
    assert asked({}) == "nvidia.com/gpu"


def test_that_no_single_device_can_be_left_is_told_with_the_cure() -> None:
    assert why_none_is_left("nvidia.com/gpu", 1, 0) == ""
    assert why_none_is_left("nvidia.com/gpu", 0, 8).startswith("no nvidia.com/gpu is free")
    assert "seed_placeholders=40" in why_none_is_left("nvidia.com/gpu", 41, 32)


def inventory(*nodes: tuple[str, float], sliced: int = 0, shares: int = 1) -> Inventory:
    return Inventory(
        server_version="v1.37.1",
        cluster_uid="u",
        nodes=tuple(
            Node(name=name, is_ready=True, is_schedulable=True, allocatable={"nvidia.com/gpu": count})
            for name, count in nodes
        ),
        devices=(
            *(Device(node=nodes[-1][0], uuid=f"GPU-{number}", product="") for number in range(sliced)),
            *(Device(node=name, uuid="", product="", shares=shares) for name, _ in nodes),
        ),
        device_classes=("gpu.nvidia.com",) if sliced else (),
    )


def test_the_node_with_most_ways_is_chosen() -> None:
    chosen = choose_ground(inventory(("big", 8.0), ("both", 2.0), sliced=2), "nvidia.com/gpu", "auto")

    assert chosen is not None
    assert (chosen.node, dict(chosen.ways)) == ("both", {"device-plugin": 2, "dra": 2})
    assert dict(chosen.holders) == {"device-plugin": 2, "dra": 2}


def test_where_devices_are_shared_one_pod_more_than_the_shares_holds() -> None:
    chosen = choose_ground(inventory(("n", 8.0), shares=4), "nvidia.com/gpu", "auto")

    assert chosen is not None
    assert dict(chosen.holders) == {"device-plugin": 5}


def test_claims_are_of_whole_devices_where_those_of_the_plugin_are_shared() -> None:
    chosen = choose_ground(inventory(("n", 4.0), sliced=2, shares=2), "nvidia.com/gpu", "auto")

    assert chosen is not None
    assert {way: chosen.shares_of(way) for way in chosen.ways} == {"device-plugin": 2, "dra": 1}
    assert dict(chosen.holders) == {"device-plugin": 3, "dra": 2}


def test_a_way_that_no_node_offers_leaves_no_ground() -> None:
    assert choose_ground(inventory(("n", 2.0)), "nvidia.com/gpu", "dra") is None


def test_what_is_offered_instead_is_named() -> None:
    node = inventory(("n", 0.0)).nodes[0]
    cut = replace(node, allocatable={"cpu": 4.0, "nvidia.com/gpu": 0.0, "nvidia.com/mig-3g.40gb": 4.0})

    assert other_resources(replace(inventory(("n", 0.0)), nodes=(cut,)), "nvidia.com/gpu") == (
        "nvidia.com/mig-3g.40gb",
    )
