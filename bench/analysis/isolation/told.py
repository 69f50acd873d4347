"""What a pod of the workload `intruder` told, as readings: what it saw, what it tried, what it found in memory."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from bench.model.measurement import Absent, Measurement, Reading, Source
from bench.model.units import Unit

SEEN: Final = "devices_seen_total"
DEVICE: Final = "device_seen_total"
ATTEMPTS: Final = "attempts_total"
HELD: Final = "held_seconds"
SEARCHED: Final = "memory_searched_bytes"
MARKS: Final = "marks_found_total"
REACHED: Final = "reached"
OWN: Final = "own"
FOREIGN: Final = "foreign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which container of which pod told it, and what for; these are the labels of its readings."""

    part: str
    """Of the scenario: control, none, pair, second-container, bypass."""
    way: str
    """By which it asked for a device: device-plugin, dra, none."""
    attempted: str = ""
    """Of a bypass: by what."""
    node: str
    repetition: str
    pod: str
    container: str

    @property
    def labels(self) -> dict[str, str]:
        """Those that are not empty."""
        return {name: value for name, value in asdict(self).items() if value}

    def of(self, container: str) -> "Place":
        """The same of another container of the pod."""
        return replace(self, container=container)


def read_log(text: str, place: Place) -> Iterator[Reading]:
    """The readings of a container's log; an absence that quotes the log where it tells nothing of the kind."""
    lines = [line for line in text.splitlines() if line.startswith("{")]
    if not lines:
        last = (text.strip().splitlines() or ["nothing was written"])[-1]
        yield missing(place, f"the program told nothing; its log ends: {last[:200]}")
        return
    yield from _Told(json.loads(lines[-1]), place).readings()


def missing(place: Place, reason: str) -> Absent:
    """A pod that was to look and did not."""
    return Absent(name=SEEN, source=Source.WORKLOAD, statement=_statement(place), reason=reason, labels=place.labels)


def _statement(place: Place) -> str:
    return f"workloads/intruder.py in pod {place.pod}, container {place.container}"


class _Told:
    """One JSON line of the program."""

    def __init__(self, told: Mapping[str, Any], place: Place) -> None:
        self._told = told
        self._place = place

    def readings(self) -> Iterator[Reading]:
        began, ended = float(self._told["began"]), float(self._told["ended"])
        yield self._measured(HELD, Unit.SECONDS, [0.0, ended - began], [began, ended])
        for route, look in self._told["looks"].items():
            labels = {"route": route, "reason": look["reason"]} if look["reason"] else {"route": route}
            yield self._measured(SEEN, Unit.TOTAL, [float(len(look["seen"]))], [began], labels)
            if route != "device-files":
                for uuid in look["seen"]:
                    yield self._measured(DEVICE, Unit.TOTAL, [1.0], [began], {"route": route, "uuid": uuid})
        yield from self._attempts()
        yield from self._memory(began)

    def _attempts(self) -> Iterator[Reading]:
        """Counted by route, by whose device it was and by what was met; one value a round."""
        rounds = sorted({float(at) for *_, at in self._told.get("attempts", ())})
        counted: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(
            lambda: defaultdict(lambda: [0.0] * len(rounds))
        )
        for route, what, outcome, at in self._told.get("attempts", ()):
            whose = OWN if self._is_own(route, what) else FOREIGN
            counted[route, whose, outcome][what][rounds.index(float(at))] += 1.0
        for (route, whose, outcome), by_device in sorted(counted.items()):
            totals = [sum(each) for each in zip(*by_device.values(), strict=True)]
            labels = {"route": route, "whose": whose, "outcome": outcome, "devices": " ".join(sorted(by_device))}
            yield self._measured(ATTEMPTS, Unit.TOTAL, totals, rounds, labels)

    def _is_own(self, route: str, what: str) -> bool:
        looks = self._told["looks"]
        if route == "nvml-uuid":
            return what in looks["nvml"]["seen"]
        if route == "cuda-ordinal":
            return int(what) < len(looks["cuda"]["seen"])
        minors = self._told.get("minors")
        if minors is None:  # without NVML the files that are listed are all that can be known
            return what.removeprefix("/dev/") in looks["device-files"]["seen"]
        return what in {f"/dev/nvidia{minor}" for minor in minors.values()}

    def _memory(self, began: float) -> Iterator[Reading]:
        for each in self._told.get("memory", ()):
            labels = {"uuid": each["uuid"], "control": "found" if each["control"] else "not found"}
            if each["reason"]:
                statement = _statement(self._place)
                said = {**self._place.labels, **labels}
                yield Absent(
                    name=SEARCHED, source=Source.WORKLOAD, statement=statement, reason=each["reason"], labels=said
                )
                continue
            owners = [owner for owner in each["found"] if owner != self._told["owner"]]
            yield self._measured(SEARCHED, Unit.BYTES, [float(each["bytes"])], [began], labels)
            told = {**labels, "owners": " ".join(owners)} if owners else labels
            yield self._measured(MARKS, Unit.TOTAL, [float(len(owners))], [began], told)

    def _measured(
        self, name: str, unit: Unit, values: list[float], times: list[float], labels: Mapping[str, str] | None = None
    ) -> Measurement:
        return Measurement(
            name=name,
            unit=unit,
            values=values,
            times_seconds=times,
            source=Source.WORKLOAD,
            statement=_statement(self._place),
            labels={**self._place.labels, **(labels or {})},
        )
