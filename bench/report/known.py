"""The readings of one scenario by name, for who tells of them; and the words for numbers and places."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bench.model.evidence import Outcome
from bench.model.measurement import Absent, Measurement, Reading
from bench.model.units import Unit, find_unit

# In the order in which a place is told, and as what.
_PLACES = ("stage", "step", "direction", "part", "route", "pod", "uuid", "UUID", "node", "exporter", "backend", "of")


class Known:
    """What was measured and what was absent, and the outcome that it belongs to."""

    def __init__(self, outcome: Outcome, readings: Iterable[Reading]) -> None:
        self.outcome = outcome
        self.readings: Sequence[Reading] = tuple(readings)
        self._by_name: dict[str, list[Reading]] = defaultdict(list)
        for each in self.readings:
            self._by_name[each.name].append(each)

    def all(self, name: str, **labels: str) -> list[Measurement]:
        """The measurements of that name that carry the labels."""
        return [each for each in self._found(name, labels) if isinstance(each, Measurement)]

    def absent(self, name: str, **labels: str) -> list[Absent]:
        """The absences of that name that carry the labels."""
        return [each for each in self._found(name, labels) if isinstance(each, Absent)]

    def value(self, name: str, **labels: str) -> float | None:
        """The last value of the first such measurement; None where there is none."""
        found = self.all(name, **labels)
        return float(found[0].values[-1]) if found else None

    def parameter(self, name: str) -> float | None:
        """A number that the scenario ran with; None where it has no such parameter."""
        try:
            return float(self.outcome.parameters[name])
        except (KeyError, ValueError):
            return None

    def labels(self, name: str, label: str) -> list[str]:
        """The different values of a label among the readings of that name, in their order."""
        return list(dict.fromkeys(each.labels[label] for each in self._by_name.get(name, ()) if label in each.labels))

    def _found(self, name: str, labels: Mapping[str, str]) -> list[Reading]:
        return [
            each
            for each in self._by_name.get(name, ())
            if all(each.labels.get(key) == value for key, value in labels.items())
        ]


def place_of(labels: Mapping[str, str]) -> str:
    """Labels as a place in words, such as ``stage exporter, step 2``; what has no word of ours comes last."""
    known = [f"{key} {labels[key]}" for key in _PLACES if labels.get(key)]
    return ", ".join([*known, *(f"{key}={value}" for key, value in sorted(labels.items()) if key not in _PLACES)])


_SHORT = {
    Unit.SECONDS: " s",
    Unit.BYTES: " B",
    Unit.CELSIUS: " °C",
    Unit.WATTS: " W",
    Unit.JOULES: " J",
    Unit.HERTZ: " Hz",
    Unit.PER_SECOND: " a second",
    Unit.BYTES_PER_SECOND: " B/s",
}


def number(value: float, name: str = "") -> str:
    """A number in three digits that count, with the unit that the reading's name ends in."""
    unit = find_unit(name)
    return f"{_digits(value)}{_SHORT.get(unit, '') if unit else ''}"


def _digits(value: float) -> str:
    if not np.isfinite(value) or value == int(value):
        return f"{value:.12g}"
    return f"{value:.0f}" if abs(value) >= 1000.0 else f"{value:.3g}"


def short_pod(name: str) -> str:
    """The part of a pod's name that tells it from its siblings."""
    return name.rsplit("-", 1)[-1] if name else "no pod named"


def short_device(uuid: str) -> str:
    """The part of a device's UUID that tells it from the others of a run."""
    return uuid[:12] if uuid.startswith(("GPU-", "MIG-")) else uuid
