"""
The exporters' passes: how often each reads its devices, and how old what it shows is at each scrape.

All devices of an exporter are read in one pass and scraped together, so that what one of them tells holds for its
neighbours: a device whose own clock is broken is judged by theirs.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.fidelity.age import RESOLUTION_SECONDS, CollectInterval, collect_interval, sample_ages
from bench.analysis.fidelity.devices import ENERGY, Device, find_uuid
from bench.analysis.fidelity.screening import Screened, clean, is_after_a_fall, late_from_a_fall, screen_energy
from bench.analysis.signals import Signal
from bench.model.measurement import FloatArray, Measurement, Reading, Source

_ENERGY_METRIC = "TOTAL_ENERGY_CONSUMPTION"
_LIKE_THE_MEDIAN = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """By node how often its exporter collects; by device its energy counter; by target the ages at each scrape."""

    collects: Mapping[str, CollectInterval]
    energies: Mapping[str, Screened]
    shared_ages: Mapping[str, Signal]

    def ages_of(self, device: Device) -> Signal | None:
        """Of the device's own counter, and where that does not tell, those of its neighbours at the same scrape."""
        shared, energy = self.shared_ages.get(device.instance or device.uuid), self.energies.get(device.uuid)
        if energy is None:
            return shared
        own = Signal(times_seconds=energy.times_seconds, values=energy.ages_seconds)
        if shared is None:
            return own
        known = np.isfinite(own.values)
        times = np.concatenate([own.times_seconds[known], shared.times_seconds])
        ages = np.concatenate([own.values[known], shared.values])
        times, places = np.unique(times, return_index=True)  # the first of equals is the device's own
        return Signal(times_seconds=times, values=ages[places])


def find_passes(devices: Sequence[Device], readings: Iterable[Reading]) -> Passes:
    """Three looks: how often each exporter collects, each device's ages with that known, and what falls mean."""
    collects = _collects(devices) | _seen_at_exporters(readings)
    energies = {}
    for device in devices:
        found = screen_energy(device, collects.get(device.node))
        if found is not None:
            energies[device.uuid] = found
    shared = _shared(devices, energies)
    for device in devices:
        energy, others = energies.get(device.uuid), shared.get(device.instance or device.uuid)
        if energy is not None and others is not None:
            energies[device.uuid] = late_from_a_fall(device, energy, collects.get(device.node), others)
    return Passes(collects=collects, energies=energies, shared_ages=shared)


def _collects(devices: Iterable[Device]) -> dict[str, CollectInterval]:
    """By node, of all its devices the shortest: one whose series stands still would tell a longer one."""
    told: dict[str, list[CollectInterval]] = defaultdict(list)
    for device in devices:
        found, probed = clean(device, ENERGY), device.probed.get(ENERGY)
        if found is not None and probed is not None and found[0].times_seconds.size:
            signal = found[0]
            # what a counter tells after a fall may be no age
            ages = np.where(is_after_a_fall(signal), np.nan, sample_ages(probed, signal))
            interval = collect_interval(ages, signal)
            if interval is not None and interval.at_most_seconds > 0:
                told[device.node].append(interval)
    return {node: min(each, key=lambda one: one.at_most_seconds) for node, each in told.items()}


def _seen_at_exporters(readings: Iterable[Reading]) -> dict[str, CollectInterval]:
    """By node, where the exporter itself was looked at several times a second: how far apart its energies change."""
    told: dict[str, list[CollectInterval]] = defaultdict(list)
    for each in readings:
        if (
            isinstance(each, Measurement)
            and each.source is Source.EXPORTER
            and _ENERGY_METRIC in each.labels.get("metric", "")
            and find_uuid(each.labels)
        ):
            interval = _interval_of_changes(each.times_seconds, each.values)
            if interval is not None:
                told[each.labels.get("node", "")].append(interval)
    return {node: min(each, key=lambda one: one.at_most_seconds) for node, each in told.items()}


def _interval_of_changes(times: FloatArray, values: FloatArray) -> CollectInterval | None:
    """The mean of the gaps that are like the median one: those in which a look was missed are longer."""
    changes = times[1:][np.diff(values) != 0]
    gaps = np.diff(changes)
    if gaps.size < 3:
        return None
    median = float(np.median(gaps))
    alike = gaps[np.abs(gaps - median) <= max(_LIKE_THE_MEDIAN * median, 2.5 * float(np.median(np.diff(times))))]
    period = float(alike.mean())
    return CollectInterval(at_least_seconds=period - RESOLUTION_SECONDS, at_most_seconds=period + RESOLUTION_SECONDS)


def _shared(devices: Iterable[Device], energies: Mapping[str, Screened]) -> dict[str, Signal]:
    """By target the median age of its devices at each scrape."""
    ages: dict[str, list[Signal]] = defaultdict(list)
    for device in devices:
        energy = energies.get(device.uuid)
        if energy is not None:
            known = np.isfinite(energy.ages_seconds)
            ages[device.instance or device.uuid].append(
                Signal(times_seconds=energy.times_seconds[known], values=energy.ages_seconds[known])
            )
    return {target: _median(signals) for target, signals in ages.items()}


def _median(signals: Sequence[Signal]) -> Signal:
    times = np.unique(np.concatenate([each.times_seconds for each in signals]))
    if times.size == 0 or len(signals) == 1:
        return signals[0]
    table = np.full((len(signals), times.size), np.nan)
    for row, each in zip(table, signals, strict=True):
        row[np.searchsorted(times, each.times_seconds)] = each.values
    return Signal(times_seconds=times, values=np.nanmedian(table, axis=0))
