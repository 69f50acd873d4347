"""Readings that the analysis of fidelity makes: named by their unit, labelled by device and quantity."""

from collections.abc import Mapping

from bench.model.measurement import NO_LABELS, Absent, Floats, Measurement, Source
from bench.model.units import find_unit

_STATEMENT = "bench.analysis.fidelity"


def told(name: str, values: Floats, device: str = "", quantity: str = "") -> Measurement:
    """What was found of a device's quantity, or of the whole run."""
    labels = {key: text for key, text in (("uuid", device), ("quantity", quantity)) if text}
    return told_of(name, values, labels)


def told_of(name: str, values: Floats, labels: Mapping[str, str]) -> Measurement:
    """What was found, with labels of its own."""
    unit = find_unit(name)
    if unit is None:
        raise ValueError(f"{name!r} does not end in a unit")
    return Measurement(
        name=name, unit=unit, values=values, source=Source.ANALYSIS, statement=_STATEMENT, labels=labels or NO_LABELS
    )


def absent(name: str, reason: str, device: str = "") -> Absent:
    """What cannot be told, and why."""
    labels = {"uuid": device} if device else NO_LABELS
    return Absent(name=name, source=Source.ANALYSIS, statement=_STATEMENT, reason=reason, labels=labels)
