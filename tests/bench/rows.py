"""A line of the benchmark's table: what was measured, and its bounds."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. `relation` is between the value and its bounds; no bound: told for information."""

    gate: str
    value: float
    unit: str
    relation: str = ""
    must: float | None = None
    stretch: float | None = None
    detail: str = ""

    @property
    def verdict(self) -> str:
        if self.must is None:
            return "-"
        keeps = (lambda bound: self.value >= bound) if self.relation == ">=" else (lambda bound: self.value <= bound)
        if self.stretch is not None and keeps(self.stretch):
            return "stretch"
        return "pass" if keeps(self.must) else "FAIL"

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"verdict": self.verdict}
