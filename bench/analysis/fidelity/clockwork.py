"""
Exporters read in regular passes, and what is known of all passes tells when each one was.

A single energy value places its pass within two looks of the probe and a renewal of the counter, more where a busy node
was late to look. The passes about it, a whole number of intervals away, place it again; a straight line through them
takes the drift of the exporter's clock along.
"""

import numpy as np

from bench.model.measurement import FloatArray

_NEIGHBOURS = 4
"""Passes on either side that are taken along: a schedule drifts over many."""
_LEAST_PASSES = 4
_LATE_SECONDS = 0.05
"""By which a pass may be late and still belong to the schedule."""
_LEAST_HALF_SECONDS = 1e-3


def steadied(passes_seconds: FloatArray, halves_seconds: FloatArray, period_seconds: float) -> FloatArray:
    """
    The times of passes, each known to so much on either side, by the schedule that they keep.

    None is moved out of what is known of it; one whose neighbours keep no common schedule (an exporter began anew, or
    reads less often now) stays where it is.
    """
    halves_seconds = np.maximum(halves_seconds, _LEAST_HALF_SECONDS)
    steps = np.maximum(1.0, np.round(np.diff(passes_seconds) / period_seconds))
    numbers = np.concatenate([[0.0], np.cumsum(steps)])
    found = passes_seconds.copy()
    for place in range(passes_seconds.size):
        about = slice(max(0, place - _NEIGHBOURS), place + _NEIGHBOURS + 1)
        away, offsets = numbers[about] - numbers[place], passes_seconds[about] - passes_seconds[place]
        if away.size < _LEAST_PASSES:
            continue
        slope, here = np.polyfit(away, offsets, 1, w=1.0 / halves_seconds[about])
        if bool((np.abs(here + slope * away - offsets) <= halves_seconds[about] + _LATE_SECONDS).all()):
            half = halves_seconds[place]
            found[place] += float(np.clip(here, -half, half))
    return found
