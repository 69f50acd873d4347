"""Which fields the exporter serves: the rows of a collectors file."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from bench.errors import WrongUsage

DEFAULT_COLLECTORS: Final = "/etc/dcgm-exporter/default-counters.csv"
"""Where the image has its file; without a mount there, the one beside this module is read."""
OWN_FILE: Final = Path(__file__).parent / "default-counters.csv"


class CounterType(StrEnum):
    """The second column. `LABEL` rows become a label on every series."""

    GAUGE = "gauge"
    COUNTER = "counter"
    LABEL = "label"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """One row."""

    field: str
    type: CounterType
    help: str


def read_counters(path: str) -> tuple[Counter, ...]:
    """Of a collectors file; the default's path may be absent."""
    file = Path(path)
    if path == DEFAULT_COLLECTORS and not file.exists():
        file = OWN_FILE
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise WrongUsage(f"Could not read the collectors file {path}: {error.strerror}.") from error
    return tuple(parse_counters(text))


def parse_counters(text: str) -> Iterator[Counter]:
    """Rows in order; lines that start with ``#`` and empty ones are no rows."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for row in csv.reader(lines, skipinitialspace=True):
        if len(row) != 3:
            raise WrongUsage(f"Malformed collectors row {','.join(row)!r}: it needs field, type and help.")
        field, kind, text_of_help = (cell.strip() for cell in row)
        if kind not in set(CounterType):
            raise WrongUsage(f"Collectors row {field}: {kind!r} is no type; use gauge, counter or label.")
        yield Counter(field=field, type=CounterType(kind), help=text_of_help)
