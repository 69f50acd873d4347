"""
From what pods saw and tried to what can be judged: who saw what was not theirs, and who could have.

Pure: readings in, readings out. Every absence of a device counts only where the same look, from the same image on the
same node, found one that was to be there; else it proves nothing, and what is derived is absent with that reason.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.analysis.isolation.checking import checks
from bench.analysis.isolation.computing import read_burn, read_nbody
from bench.analysis.isolation.neighbours import slowdown
from bench.analysis.isolation.places import (
    SEED_RESOURCE,
    Ground,
    choose_ground,
    other_resources,
    seed_resource,
    why_none_is_left,
)
from bench.analysis.isolation.told import (
    ATTEMPTS,
    DEVICE,
    FOREIGN,
    HELD,
    MARKS,
    OWN,
    REACHED,
    SEARCHED,
    SEEN,
    Place,
    missing,
    read_log,
)
from bench.model.measurement import Absent, Measurement, Reading, Source, find_readings
from bench.model.units import Unit

__all__ = [
    "SEED_RESOURCE",
    "Ground",
    "Place",
    "checks",
    "choose_ground",
    "derive",
    "missing",
    "other_resources",
    "read_burn",
    "read_log",
    "read_nbody",
    "seed_resource",
    "why_none_is_left",
]

STATEMENT: Final = "bench.analysis.isolation of this scenario's readings"
HOLDING: Final = ("control", "pair", "second-container")
"""Parts whose pods hold a device."""
NBODY: Final = "nbody_results_total"
NO_LIBRARY: Final = ("No module named", "LibraryNotFound", "cannot open shared object")
"""By what a look says that the image, not the node, lacks what it needs."""

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """A pod and the time for which it had a device, or looked for one."""

    pod: str
    start_seconds: float
    end_seconds: float

    def meets(self, other: "Stay") -> bool:
        """Whether both were there at one time."""
        return self.start_seconds < other.end_seconds and other.start_seconds < self.end_seconds


def derive(readings: Sequence[Reading], parts: Sequence[str], *, slowdown_budget_ratio: float) -> Iterator[Reading]:
    """What follows for the parts that were run; the budget is what a neighbour may take of a device's rate."""
    view = _View(readings)
    for part, derived in (
        ("control", _control),
        ("none", _none),
        ("pair", _pair),
        ("second-container", _second_container),
        ("bypass", _bypass),
        ("residue", _residue),
        ("seed", _seed),
    ):
        if part in parts:
            yield from derived(view)
    if "interference" in parts:
        yield from slowdown(readings, slowdown_budget_ratio)


class _View:
    """The readings by what they are."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        self.readings = readings

    def found(self, name: str, **labels: str) -> list[Measurement]:
        return [each for each in find_readings(self.readings, name, labels) if isinstance(each, Measurement)]

    def value(self, name: str, **labels: str) -> float | None:
        found = self.found(name, **labels)
        return float(found[-1].values[-1]) if found else None

    def reason(self, part: str) -> str:
        """Why pods of a part told nothing."""
        absent = [each for each in find_readings(self.readings, SEEN, {"part": part}) if isinstance(each, Absent)]
        return absent[0].reason if absent else f"no pod of the part {part} was run"

    def controlled_routes(self, node: str) -> set[str]:
        """Looks that saw a device on this node in a pod that held one."""
        return {
            each.labels["route"]
            for part in HOLDING
            for each in self.found(SEEN, part=part, node=node)
            if each.values[0] > 0 and each.labels["container"] != "other"
        }

    def devices_of(self, pod: str, **labels: str) -> set[str]:
        return {each.labels["uuid"] for each in self.found(DEVICE, pod=pod, **labels)}

    def stays(self, part: str) -> list[Stay]:
        return [
            Stay(
                pod=each.labels["pod"],
                start_seconds=float(each.times_seconds[0]),
                end_seconds=float(each.times_seconds[-1]),
            )
            for each in self.found(HELD, part=part)
            if each.labels["container"] != "other"
        ]


def _told(name: str, values: Sequence[float], labels: Labels) -> Measurement:
    unit = Unit.TOTAL
    return Measurement(
        name=name, unit=unit, values=values, source=Source.ANALYSIS, statement=STATEMENT, labels=dict(labels)
    )


def _absent(name: str, reason: str, labels: Labels | None = None) -> Absent:
    return Absent(name=name, source=Source.ANALYSIS, statement=STATEMENT, reason=reason, labels=labels or {})


def _control(view: _View) -> Iterator[Reading]:
    """By how much a holder's look differs from the one device that it holds, by way and route."""
    name = "holder_sees_other_than_one_total"
    by_route: dict[tuple[str, str], list[float]] = defaultdict(list)
    for each in view.found(SEEN, part="control"):
        lacks = any(word in each.labels.get("reason", "") for word in NO_LIBRARY)
        # where another look saw the device, the image lacks the library, and the node is not to blame
        if not (lacks and view.controlled_routes(each.labels["node"])):
            by_route[each.labels["way"], each.labels["route"]].append(abs(float(each.values[0]) - 1.0))
    for (way, route), values in sorted(by_route.items()):
        yield _told(name, values, {"way": way, "route": route})
    if not by_route:
        yield _absent(name, view.reason("control"))
    yield from _allocation(view)


def _allocation(view: _View) -> Iterator[Reading]:
    """Devices that a pod sees and its claim was not given, or the other way round."""
    name = "seen_other_than_allocated_total"
    allocated: dict[str, set[str]] = defaultdict(set)
    for each in view.found("device_allocated_total"):
        allocated[each.labels["pod"]].add(each.labels["uuid"])
    seen = {pod: view.devices_of(pod, container="intruder") for pod in allocated}
    differences = [float(len(allocated[pod] ^ seen[pod])) for pod in sorted(allocated) if seen[pod]]
    if differences:
        yield _told(name, differences, {"way": "dra"})
    counted = [each for each in view.found(SEEN, part="control", way="device-plugin", route="nvml") if each.values[0]]
    if counted:
        yield _told(name, [abs(float(each.values[0]) - 1.0) for each in counted], {"way": "device-plugin"})
    elif not differences:
        yield _absent(name, "no pod that holds a device told which one it sees")


def _none(view: _View) -> Iterator[Reading]:
    yield from _unwanted(view, "seen_without_request_total", "none")


def _unwanted(view: _View, name: str, part: str, **labels: str) -> Iterator[Reading]:
    """Devices seen by those that are to see none, by route, where the control saw one by that route."""
    by_route: dict[str, list[float]] = defaultdict(list)
    for each in view.found(SEEN, part=part, **labels):
        if each.labels["route"] in view.controlled_routes(each.labels["node"]):
            by_route[each.labels["route"]].append(float(each.values[0]))
    for route, values in sorted(by_route.items()):
        yield _told(name, values, {"route": route})
    if not by_route:
        seen = view.found(SEEN, part=part, **labels)
        reason = "no pod that holds a device saw it, so that to see none proves nothing" if seen else view.reason(part)
        yield _absent(name, reason)


def _pair(view: _View) -> Iterator[Reading]:
    """Of pods that held devices at one time: devices that too many held, and devices of others that were reached."""
    yield from _sharing(view)
    by_repetition: dict[tuple[str, str], list[Stay]] = defaultdict(list)
    for each in view.found(HELD, part="pair"):
        times = each.times_seconds
        stay = Stay(pod=each.labels["pod"], start_seconds=float(times[0]), end_seconds=float(times[-1]))
        by_repetition[each.labels["way"], each.labels["repetition"]].append(stay)
    met = {
        key: [stay for stay in stays if any(stay.meets(other) for other in stays if other.pod != stay.pod)]
        for key, stays in by_repetition.items()
    }
    pods = {stay.pod for stays in met.values() for stay in stays}
    if not pods:
        reason = "no two pods held devices at one time" if by_repetition else view.reason("pair")
        yield _absent("holders_beyond_shares_total", reason)
        yield _absent("foreign_devices_reached_total", reason)
        return
    beyond = [_beyond(view, way, stays) for (way, _), stays in met.items() if stays]
    yield _told("holders_beyond_shares_total", beyond, {})
    yield from _foreign(view, pods)


def _sharing(view: _View) -> Iterator[Reading]:
    """What is not asked of devices that are shared on purpose."""
    shares = max((float(each.values[-1]) for each in view.found("device_shares_total")), default=1.0)
    if shares > 1.0:
        reason = (
            f"{shares:g} pods share a device by time slicing, which by design keeps neither memory nor faults of one "
            "from the others; a device or a MIG instance each does"
        )
        yield _absent("memory_kept_from_sharers_total", reason)


def _beyond(view: _View, way: str, stays: Sequence[Stay]) -> float:
    """How many more pods held one device at one time than it has shares by this way."""
    shares = view.value("device_shares_total", way=way) or 1.0
    most = 0
    for stay in stays:
        for uuid in view.devices_of(stay.pod):
            most = max(most, sum(uuid in view.devices_of(other.pod) for other in stays if stay.meets(other)))
    return max(0.0, most - shares)


def _foreign(view: _View, pods: set[str]) -> Iterator[Reading]:
    """Attempts upon devices of others that succeeded, by route; the control is that its own device was reached."""
    name = "foreign_devices_reached_total"
    attempts = [each for each in view.found(ATTEMPTS, part="pair") if each.labels["pod"] in pods]
    able = {each.labels["pod"] for each in attempts if _is(each, OWN, REACHED)}
    by_route: dict[str, float] = {}
    for each in attempts:
        if each.labels["pod"] in able and each.labels["whose"] == FOREIGN:
            reached = float(each.values.max()) if each.labels["outcome"] == REACHED else 0.0
            by_route[each.labels["route"]] = max(by_route.get(each.labels["route"], 0.0), reached)
    for route, value in sorted(by_route.items()):
        yield _told(name, [value], {"route": route})
    if not by_route:
        yield _absent(name, "no pod reached its own device, so that not to reach another's proves nothing")


def _is(attempt: Measurement, whose: str, outcome: str) -> bool:
    return attempt.labels["whose"] == whose and attempt.labels["outcome"] == outcome


def _second_container(view: _View) -> Iterator[Reading]:
    name = "seen_by_second_container_total"
    holders = view.found(SEEN, part="second-container", container="intruder")
    able = {(each.labels["pod"], each.labels["route"]) for each in holders if each.values[0] > 0}
    others = view.found(SEEN, part="second-container", container="other")
    counted = [each for each in others if (each.labels["pod"], each.labels["route"]) in able]
    for route in sorted({each.labels["route"] for each in counted}):
        values = [float(each.values[0]) for each in counted if each.labels["route"] == route]
        yield _told(name, values, {"route": route})
    if not counted:
        yield _absent(name, "the pod's first container saw no device" if holders else view.reason("second-container"))


def _bypass(view: _View) -> Iterator[Reading]:
    """What each attempt around the allocation brought to light; the control is a pod that attempts nothing."""
    name = "devices_seen_by_bypass_total"
    seen: dict[str, list[float]] = defaultdict(list)
    for each in view.found(SEEN, part="bypass"):
        if each.labels["route"] in view.controlled_routes(each.labels["node"]):
            seen[each.labels["attempted"]].append(float(each.values[0]))
    idle = max((float(each.values[0]) for each in view.found(SEEN, part="none")), default=0.0)
    for attempted, values in sorted(seen.items()):
        if idle:
            reason = f"a pod that attempts nothing sees {idle:g} device(s) already"
            yield _absent(name, reason, {"attempted": attempted})
        else:
            yield _told(name, [max(values)], {"attempted": attempted})
    if not seen:
        yield _absent(name, view.reason("bypass"))
    admitted = view.found("host_path_admitted_total")
    if view.value("plain_pod_admitted_total") == 1.0 and admitted:
        yield _told("host_path_devices_admitted_total", [float(each.values[0]) for each in admitted], {})
    else:
        reason = "a pod without a hostPath volume was refused too" if admitted else "no hostPath volume was tried"
        yield _absent("host_path_devices_admitted_total", reason)


def _residue(view: _View) -> Iterator[Reading]:
    """
    Marks of earlier owners, in memory of devices that had an earlier owner of this run.

    Who holds a share of the device beside it is no earlier owner.
    """
    name = "marks_of_earlier_owners_total"
    searched = sorted(view.found(SEARCHED), key=lambda each: float(each.times_seconds[0]))
    ended = {each.labels["pod"]: float(each.times_seconds[-1]) for each in view.found(HELD)}
    owners: dict[str, set[str]] = defaultdict(set)
    counted: list[float] = []
    for each in searched:
        uuid, pod = each.labels["uuid"], each.labels["pod"]
        beside = {other for other in owners[uuid] if ended[other] > float(each.times_seconds[0])}
        marks = view.found(MARKS, uuid=uuid, pod=pod)
        if owners[uuid] - beside and marks and each.labels["control"] == "found":
            counted.append(float(len(set(marks[-1].labels.get("owners", "").split()) - beside)))
        owners[uuid].add(pod)
    if counted:
        yield _told(name, counted, {})
        return
    failed = [each.reason for each in find_readings(view.readings, SEARCHED) if isinstance(each, Absent)]
    reason = "no device had one owner after another" if searched else (failed or ["no device memory was searched"])[0]
    yield _absent(name, reason)


def _seed(view: _View) -> Iterator[Reading]:
    """Results that the third pod computed; none proves something where the first pod computed."""
    name = "nbody_results_without_request_total"
    first, third = (view.value(NBODY, pod=pod) for pod in ("first", "third"))
    if first and third is not None:
        yield _told(name, [third], {})
    else:
        absent = [each.reason for each in find_readings(view.readings, NBODY) if isinstance(each, Absent)]
        computed_nothing = "the first pod computed nothing" if third is not None else "the third pod did not run"
        yield _absent(name, (absent or [computed_nothing])[0])
