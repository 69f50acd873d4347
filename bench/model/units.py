"""
Units, and the conversions made where a number enters the bench.

Inside the bench every quantity is in its base unit, and its name ends in it. What arrives in other units (DCGM in MiB,
NVML in milliwatts, locust in milliseconds) is converted once, at the border, by a function of this module.
"""

from enum import StrEnum
from functools import lru_cache


class Unit(StrEnum):
    """Base units; the value is the ending that a name must carry."""

    SECONDS = "seconds"
    BYTES = "bytes"
    RATIO = "ratio"
    CELSIUS = "celsius"
    WATTS = "watts"
    JOULES = "joules"
    HERTZ = "hertz"
    TOTAL = "total"
    PER_SECOND = "per_second"
    BYTES_PER_SECOND = "bytes_per_second"
    FLOPS = "flops"
    METRIC_VALUE = "metric_value"
    """A metric in whatever unit its source shows it: what the unit is may be the very question."""

    def ends(self, name: str) -> bool:
        """Whether `name` ends in this unit, as a word of its own."""
        return name == self.value or name.endswith("_" + self.value)


@lru_cache(maxsize=1024)  # the same few names, for every device of a run
def find_unit(name: str) -> Unit | None:
    """The unit that `name` ends in, the longest ending first; None where it ends in none."""
    for unit in sorted(Unit, key=lambda each: -len(each.value)):
        if unit.ends(name):
            return unit
    return None


def mebibytes(count: float) -> float:
    """MiB, as DCGM's framebuffer fields count, in bytes."""
    return count * 1048576.0


def kibibytes(count: float) -> float:
    """KiB, as NVLink counters count, in bytes."""
    return count * 1024.0


def percent(value: float) -> float:
    """0 to 100, as NVML's utilisation, as a ratio."""
    return value / 100.0


def megahertz(value: float) -> float:
    """MHz, as NVML's clocks, in hertz."""
    return value * 1e6


def milliwatts(value: float) -> float:
    """Power as NVML tells it, in watts."""
    return value / 1e3


def millijoules(value: float) -> float:
    """NVML's energy counter, in joules."""
    return value / 1e3


def milliseconds(value: float) -> float:
    """Locust's response times, in seconds."""
    return value / 1e3


_QUANTITY_FACTORS = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "Pi": 2.0**50,
    "Ei": 2.0**60,
}


def kubernetes_quantity(text: str) -> float:
    """
    A Kubernetes quantity (``6m``, ``1500Mi``, ``2e3``) as a number.

    Raises:
        ValueError: the text is no quantity.

    """
    stripped = text.strip()
    # 2e3 and 1E are both legal: an exponent is followed by digits, the suffix E is not.
    for cut in (2, 1, 0):
        number, suffix = (stripped[:-cut], stripped[-cut:]) if cut else (stripped, "")
        if suffix not in _QUANTITY_FACTORS or (cut and not suffix.isalpha()):
            continue
        try:
            return float(number) * _QUANTITY_FACTORS[suffix]
        except ValueError:
            continue
    raise ValueError(f"{text!r} is not a Kubernetes quantity such as 6m, 70 or 1500Mi")
