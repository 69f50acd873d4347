"""How the exported utilisation follows the steps of the work, from rest to full: the times to parts of the rise."""

from collections.abc import Iterable, Iterator

import numpy as np

from bench.analysis.fidelity.devices import ASKED_DUTY, BUSY, Device, find_uuid
from bench.analysis.fidelity.response import step_response
from bench.analysis.fidelity.told import told, told_of
from bench.analysis.signals import Signal
from bench.model.measurement import FloatArray, Measurement, Reading

_RESTS, _FULL = 0.05, 0.95


def of_response(devices: Iterable[Device], readings: Iterable[Reading]) -> Iterator[Reading]:
    """By device the median times with their intervals over its steps; a step that is over too soon is missed."""
    steps = {find_uuid(each.labels): _steps(each) for each in readings if _is_asked(each)}
    for device in devices:
        scraped, at = device.scraped(BUSY), steps.get(device.uuid)
        if scraped is None or at is None or at.size == 0:
            continue
        found = step_response(scraped, steps_seconds=at, base=0.0, peak=1.0)
        if found is None:
            continue
        for share, median in zip(found.shares, found.medians, strict=True):
            labels = {"uuid": device.uuid, "share": f"{share:.0%}"}
            yield told_of("response_seconds", (median.estimate,), labels)
        yield told("steps_missed_total", (float(found.missed_total),), device.uuid)


def _is_asked(reading: Reading) -> bool:
    return reading.name == ASKED_DUTY and isinstance(reading, Measurement)


def _steps(asked: Reading) -> FloatArray:
    if not isinstance(asked, Measurement):
        return np.empty(0)
    signal = Signal.of(asked, is_polled=False)
    rises = (signal.values[1:] >= _FULL) & (signal.values[:-1] <= _RESTS)
    return signal.times_seconds[1:][rises]
