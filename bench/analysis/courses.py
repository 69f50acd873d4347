"""What runs over time without being measured as such: requests in flight, their rates, sums over devices."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from bench.analysis.signals import Signal, merged, summed
from bench.model.measurement import FloatArray, Measurement


def in_flight(starts_seconds: FloatArray, ends_seconds: FloatArray) -> Signal:
    """How many had begun and not ended, at each time that one did either."""
    times = np.concatenate([starts_seconds, ends_seconds])
    steps = np.concatenate([np.ones(starts_seconds.size), -np.ones(ends_seconds.size)])
    order = np.lexsort((steps, times))
    return Signal(times_seconds=times[order], values=np.cumsum(steps[order]), is_polled=False)


def per_second(times_seconds: FloatArray, *, width_seconds: float) -> Signal:
    """Events a second in windows of that width, each at its start; the last window is followed by nothing."""
    if times_seconds.size == 0:
        return Signal(times_seconds=np.empty(0), values=np.empty(0))
    start = float(np.floor(times_seconds.min() / width_seconds)) * width_seconds
    count = int((float(times_seconds.max()) - start) // width_seconds) + 1
    edges = start + width_seconds * np.arange(count + 1, dtype=np.float64)
    counts, _ = np.histogram(times_seconds, bins=edges)
    return Signal(times_seconds=edges, values=np.append(counts / width_seconds, 0.0))


def over_devices(series: Iterable[Measurement], devices: Sequence[str] = ()) -> Signal | None:
    """
    One quantity added up over its devices (all, or those named), whatever labels their series carry; None of none.

    A series that has ended counts as nothing a sample later: it is not there any more, and its last value is history.
    """
    pieces: dict[str, list[Signal]] = defaultdict(list)
    for each in series:
        device = device_of(each)
        if each.times_seconds.size and (not devices or device in devices):
            pieces[device].append(_ended(each))
    if not pieces:
        return None
    return summed([merged(parts) for parts in pieces.values()])


def device_of(reading: Measurement) -> str:
    """The device's UUID, as the probe or as the exporter spells the label; empty where there is none."""
    return reading.labels.get("uuid") or reading.labels.get("UUID", "")


def _ended(reading: Measurement) -> Signal:
    times = reading.times_seconds
    step = float(np.median(np.diff(times))) if times.size > 1 else 1.0
    return Signal(times_seconds=np.append(times, times[-1] + step), values=np.append(reading.values, np.nan))
