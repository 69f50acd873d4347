"""How far an exported value is from all that the device showed about the time at which it was read."""

import numpy as np

from bench.analysis.fidelity.agreement import nearest
from bench.analysis.fidelity.devices import BUSY, MEMORY_USED, POWER, RATIOS, TEMPERATURE
from bench.analysis.signals import Signal
from bench.model.measurement import FloatArray

COMPARED = (BUSY, MEMORY_USED, POWER, TEMPERATURE)
"""Quantities of which NVML has the same, and that move slowly enough to be read twice alike."""

NVML_WINDOW_SECONDS = 1.0
"""Over which NVML takes its mean at most, as nvml.h says."""
_QUANTA = {BUSY: 0.011, MEMORY_USED: 1048576.0, TEMPERATURE: 1.0}
"""What rounding alone makes of a value: whole percents, MiB and degrees."""
_BLUR_SECONDS = 0.15
"""Two readings of one device are no nearer in time than the probe's period, NVML's renewal and a pass allow."""


def scale_of(name: str, probed: Signal) -> float:
    """Errors of ratios are told as they are, others relative to the largest true value."""
    return 1.0 if name in RATIOS else max(float(np.abs(probed.values).max()), 1e-12)


def tolerance_of(name: str, probed: Signal) -> float:
    """What rounding explains."""
    return max(_QUANTA.get(name, 0.0), 0.01 * scale_of(name, probed))


def beyond(scraped: FloatArray, truth: Signal, times_seconds: FloatArray) -> FloatArray:
    """How far each value is outside of all that the device showed about that time; NaN where it was not watched."""
    offsets = np.linspace(-_BLUR_SECONDS, _BLUR_SECONDS, 7)
    about = nearest(truth, (times_seconds[:, np.newaxis] + offsets).ravel()).reshape(times_seconds.size, offsets.size)
    low, high = about.min(axis=1), about.max(axis=1)
    outside: FloatArray = np.maximum(0.0, np.maximum(low - scraped, scraped - high))
    return outside


def excess_ratios(name: str, scraped: FloatArray, truth: Signal, times_seconds: FloatArray) -> FloatArray:
    """The same beyond what rounding explains, relative to the quantity's scale."""
    outside = beyond(scraped, truth, times_seconds) - tolerance_of(name, truth)
    ratios: FloatArray = np.maximum(0.0, outside) / scale_of(name, truth)
    return ratios
