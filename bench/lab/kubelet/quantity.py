"""Kubernetes quantities as numbers: ``100m`` cores, ``64Mi`` bytes."""

from decimal import Decimal, InvalidOperation
from typing import Any, Final

_FACTORS: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


def parse_quantity(value: Any) -> Decimal:
    """The API server has checked it, so that a wrong one is a ValueError and not a user's message."""
    text = str(value).strip()
    number = text.rstrip("numkMGTPEi") if not _is_exponent(text) else text
    suffix = text[len(number) :]
    try:
        return Decimal(number) * _FACTORS[suffix]
    except (InvalidOperation, KeyError) as error:
        raise ValueError(f"{text!r} is no quantity") from error


def _is_exponent(text: str) -> bool:
    mantissa, mark, exponent = text.lower().partition("e")
    return bool(mark and mantissa) and exponent.lstrip("+-").isdigit()
