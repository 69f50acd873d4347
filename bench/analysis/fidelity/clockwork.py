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
_LEAST_HALF_SECONDS = 1e-3


def steadied(passes_seconds: FloatArray, halves_seconds: FloatArray, period_seconds: float) -> FloatArray:
    """
    The times of passes, each known to so much on either side, by the schedule that they keep.

    None is moved out of what is known of it. Fewer neighbours are taken where more keep no common schedule; without any
    (an exporter began anew, or reads less often now) a pass stays where it is.
    """
    halves_seconds = np.maximum(halves_seconds, _LEAST_HALF_SECONDS)
    steps = np.maximum(1.0, np.round(np.diff(passes_seconds) / period_seconds))
    numbers = np.concatenate([[0.0], np.cumsum(steps)])
    found = passes_seconds.copy()
    for place in range(passes_seconds.size):
        for neighbours in range(_NEIGHBOURS, 0, -1):
            about = slice(max(0, place - neighbours), place + neighbours + 1)
            here = _on_a_line(numbers[about] - numbers[place], passes_seconds[about], halves_seconds[about])
            if here is not None:
                half = halves_seconds[place]
                found[place] = np.clip(here, passes_seconds[place] - half, passes_seconds[place] + half)
                break
    return found


def _on_a_line(away: FloatArray, seconds: FloatArray, halves_seconds: FloatArray) -> float | None:
    """Where a line through the passes is at 0; None for few passes, or where it leaves what is known of any."""
    if away.size < _LEAST_PASSES:
        return None
    start = seconds[0]
    slope, here = np.polyfit(away, seconds - start, 1, w=1.0 / halves_seconds)
    is_kept = np.abs(here + slope * away - (seconds - start)) <= halves_seconds
    return float(start + here) if bool(is_kept.all()) else None
