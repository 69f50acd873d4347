"""
Which faults are planted in a lab: one file in its state folder, written as a whole, read by who is to lie.

A reader looks at the file's identity first, so that asking costs one `stat` as long as nothing changes.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.lab.faults.declaration import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """One fault that is in effect."""

    name: str
    arguments: Mapping[str, Value]
    utc_seconds: float
    """Since when."""
    undo: tuple[Mapping[str, Any], ...] = ()
    """What clearing puts back in the cluster or its network, in the order in which it was changed."""

    def __str__(self) -> str:
        given = (f"{name}={_written(value)}" for name, value in self.arguments.items() if value != "")
        return " ".join((self.name, *given))

    def told(self) -> dict[str, Any]:
        """What a process in a pod needs to know of it, as JSON."""
        return {"name": self.name, "arguments": dict(self.arguments), "utc_seconds": self.utc_seconds}

    def text(self, argument: str) -> str:
        return str(self.arguments[argument])

    def number(self, argument: str) -> float:
        return float(self.arguments[argument])


def _written(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def read(path: Path) -> tuple[Planted, ...]:
    """All that are planted, in the order of their planting; none where there is no file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    return tuple(from_json(each) for each in json.loads(text))


def from_json(raw: Mapping[str, Any]) -> Planted:
    """Of one entry of the file, or of what a node's socket tells."""
    return Planted(
        name=raw["name"],
        arguments=raw["arguments"],
        utc_seconds=raw["utc_seconds"],
        undo=tuple(raw.get("undo", ())),
    )


def write(path: Path, planted: Iterable[Planted]) -> None:
    """In the place of what was there, at once."""
    text = json.dumps([asdict(each) for each in planted], indent=1)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(name, path)


class Faults:
    """What the lab's processes ask: is this fault planted?"""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] = (0, 0)
        self._planted: Mapping[str, Planted] = {}

    def find(self, name: str) -> Planted | None:
        """The fault as it is planted now; None while it is not."""
        return self.all().get(name)

    def all(self) -> Mapping[str, Planted]:
        """By name."""
        identity = self._look()
        if identity != self._identity:
            self._planted = {each.name: each for each in read(self._path)}
            self._identity = identity
        return self._planted

    def _look(self) -> tuple[int, int]:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return 0, 0
        return found.st_ino, found.st_mtime_ns
