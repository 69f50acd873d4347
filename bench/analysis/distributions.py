"""
The few distribution functions that the intervals and tests need.

Series and continued fractions from the textbook, in double precision; tests hold them against tabulated values. A
dependency with thousands of functions would be used for these five.
"""

import math
from collections.abc import Callable
from functools import cache
from statistics import NormalDist

_TINY = 1e-300
_EPSILON = 1e-15
_TERMS = 500


def normal_quantile(probability: float) -> float:
    """The standard normal's quantile."""
    return NormalDist().inv_cdf(probability)


def chi_square_survival(statistic: float, degrees: int) -> float:
    """The chance of a chi-square value above `statistic`."""
    if statistic <= 0:
        return 1.0
    shape, point = degrees / 2.0, statistic / 2.0
    if point < shape + 1.0:
        return 1.0 - _gamma_series(shape, point)
    return _gamma_fraction(shape, point)


def _gamma_series(shape: float, point: float) -> float:
    term = total = 1.0 / shape
    for count in range(1, _TERMS):
        term *= point / (shape + count)
        total += term
        if term < total * _EPSILON:
            break
    return total * math.exp(shape * math.log(point) - point - math.lgamma(shape))


def _gamma_fraction(shape: float, point: float) -> float:
    b = point + 1.0 - shape
    c = 1.0 / _TINY
    d = 1.0 / b
    value = d
    for count in range(1, _TERMS):
        factor = -count * (count - shape)
        b += 2.0
        d = 1.0 / _not_zero(factor * d + b)
        c = _not_zero(b + factor / c)
        value *= d * c
        if abs(d * c - 1.0) < _EPSILON:
            break
    return value * math.exp(shape * math.log(point) - point - math.lgamma(shape))


def student_cdf(value: float, degrees: float) -> float:
    """The chance of a Student's t value below `value`."""
    tail = 0.5 * _beta_ratio(degrees / 2.0, 0.5, degrees / (degrees + value * value))
    return 1.0 - tail if value > 0 else tail


@cache
def student_quantile(probability: float, degrees: float) -> float:
    """Student's t quantile, by bisection of the distribution."""
    low, high = -1.0, 1.0
    while student_cdf(low, degrees) > probability:
        low *= 2.0
    while student_cdf(high, degrees) < probability:
        high *= 2.0
    return _bisect(lambda value: student_cdf(value, degrees) - probability, low, high)


def _bisect(function: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(200):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return (low + high) / 2.0


def _beta_ratio(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x),
    )
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _beta_fraction(a, b, x) / a
    return 1.0 - front * _beta_fraction(b, a, 1.0 - x) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    c = 1.0
    d = 1.0 / _not_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        before = value
        for factor in (even, odd):
            d = 1.0 / _not_zero(1.0 + factor * d)
            c = _not_zero(1.0 + factor / c)
            value *= d * c
        if abs(value - before) <= _EPSILON * abs(value):
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def kolmogorov_survival(value: float) -> float:
    """The chance that the limit of sqrt(n) times the Kolmogorov distance is above `value`."""
    if value < 0.2:
        return 1.0
    terms = (math.copysign(1.0, k % 2 - 0.5) * math.exp(-2.0 * k * k * value * value) for k in range(1, 101))
    return min(1.0, max(0.0, 2.0 * sum(terms)))
