"""Signals: values over time, as they were looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.model.measurement import FloatArray, Measurement


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signal:
    """Values over time; `is_polled` where it was looked at now and then instead of told."""

    times_seconds: FloatArray
    values: FloatArray
    is_polled: bool = True

    @classmethod
    def of(cls, measurement: Measurement, *, is_polled: bool = True) -> "Signal":
        """The signal of a measurement that has times."""
        return cls(times_seconds=measurement.times_seconds, values=measurement.values, is_polled=is_polled)

    def at(self, times_seconds: FloatArray) -> FloatArray:
        """The latest value at each time; NaN before the first."""
        if self.values.size == 0:
            return np.full(times_seconds.shape, np.nan)
        places = np.searchsorted(self.times_seconds, times_seconds, side="right") - 1
        return np.where(places < 0, np.nan, self.values[np.maximum(places, 0)])


def summed(signals: Sequence[Signal]) -> Signal:
    """Several step signals added up; a signal that has not begun counts as nothing."""
    times = np.unique(np.concatenate([each.times_seconds for each in signals]))
    total = np.nansum([each.at(times) for each in signals], axis=0)
    return Signal(times_seconds=times, values=total, is_polled=all(each.is_polled for each in signals))


def merged(signals: Sequence[Signal]) -> Signal:
    """
    Several pieces of one signal in the order of time, as when a series changed its labels on the way.

    Of pieces that tell the same time the first is taken.
    """
    if len(signals) == 1:
        return signals[0]
    times, places = np.unique(np.concatenate([each.times_seconds for each in signals]), return_index=True)
    values = np.concatenate([each.values for each in signals])[places]
    return Signal(times_seconds=times, values=values, is_polled=signals[0].is_polled)
