"""Axes: where a number lies on the paper, and which round numbers stand beside it."""

import math
from dataclasses import dataclass

import numpy as np

_ROUND = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Numbers from low to high on the paper from start to end; logarithmic where asked."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """Where the number lies; beyond the ends it is drawn at the end."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.is_log:
            low, high, at = math.log10(low), math.log10(high), math.log10(at)
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self, about: int) -> list[float]:
        """Round numbers within the axis: decades (with twos and fives where there are few), else equal steps."""
        if self.is_log:
            return _decades(self.low, self.high, about)
        step = round_step((self.high - self.low) / about)
        first = math.ceil(self.low / step - 1e-9)
        return [count * step for count in range(first, math.floor(self.high / step + 1e-9) + 1)]


def round_step(raw: float) -> float:
    """The next number of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (*_ROUND, 20.0) if factor * power >= raw * (1.0 - 1e-9))


def upright(low: float, high: float, *, top: float, bottom: float, about: int = 3) -> Axis:
    """An axis from below to above that holds zero and ends at round numbers."""
    least, most = min(0.0, low), max(0.0, high)
    if most - least < 1e-12:
        most = least + 1.0
    step = round_step((most - least) / about)
    least, most = math.floor(least / step + 1e-9) * step, math.ceil(most / step - 1e-9) * step
    return Axis(low=least, high=most, start=bottom, end=top)


def logarithmic(low: float, high: float, *, start: float, end: float) -> Axis:
    """An axis for positive numbers that ends at 1, 2 or 5 times a power of ten."""
    least, most = _round_down(low), round_step(high)
    return Axis(low=least, high=most if most > least else least * 10.0, start=start, end=end, is_log=True)


def _round_down(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return max(factor * power for factor in _ROUND if factor * power <= value * (1.0 + 1e-9))


def _decades(low: float, high: float, about: int) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1.0, 2.0, 5.0) if len(powers) * 2 <= about else (1.0,)
    every = [factor * 10.0**power for power in powers for factor in factors]
    inside = [value for value in every if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
    return inside or [low, high]


def short(value: float) -> str:
    """A number beside an axis."""
    return f"{value:.4g}" if np.isfinite(value) and value else "0"
