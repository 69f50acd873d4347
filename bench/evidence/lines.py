"""
One reading a line, and long series beside them.

``readings.jsonl`` holds short series in the line itself. Long ones lie in ``series.f64``, plain little-endian float64
one after the other, and the line says where: first value and count. That file can be mapped instead of read, a series
that many readings share (the times of one scrape) is stored once, and a run cut off loses only its last line.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.errors import BadEvidence
from bench.model.codec import BadDocument, from_json, to_json
from bench.model.measurement import Absent, FloatArray, Measurement, Reading, Source, Window
from bench.model.units import Unit

READINGS_FILE: Final = "readings.jsonl"
SERIES_FILE: Final = "series.f64"

# Up to here a person reading the file sees the values in the line; beyond, nobody reads them by eye.
_INLINE_LIMIT: Final = 32
_ITEM_BYTES: Final = 8


class LineWriter:
    """Appends readings to the two files of one scenario; after a failed write both end where they were sound."""

    def __init__(self, folder: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._lines = os.open(folder / READINGS_FILE, flags, 0o644)
        try:
            self._series = os.open(folder / SERIES_FILE, flags, 0o644)
        except OSError:
            os.close(self._lines)
            raise
        self._line_bytes = 0
        self._series_items = 0
        self._known: dict[bytes, list[int]] = {}

    def append(self, reading: Reading) -> None:
        """
        Write one reading.

        Raises:
            OSError: the disk would not take it; nothing of it is left in the files.

        """
        before = self._series_items
        try:
            document = self._document(reading)
            line = (json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n").encode()
            _write_all(self._lines, line)
        except OSError:
            os.ftruncate(self._series, before * _ITEM_BYTES)
            os.ftruncate(self._lines, self._line_bytes)
            self._series_items = before
            self._known = {key: place for key, place in self._known.items() if place[0] < before}
            raise
        self._line_bytes += len(line)

    def close(self) -> None:
        """Bring both files to the disk and close them."""
        for descriptor in (self._series, self._lines):
            os.fsync(descriptor)
            os.close(descriptor)

    def _document(self, reading: Reading) -> dict[str, Any]:
        head: dict[str, Any] = {"name": reading.name, "source": reading.source.value, "statement": reading.statement}
        if reading.labels:
            head["labels"] = dict(reading.labels)
        if isinstance(reading, Absent):
            return {"absent": reading.reason, **head}
        head["unit"] = reading.unit.value
        if reading.window:
            head["window"] = [reading.window.start.isoformat(), reading.window.end.isoformat()]
        head["values"] = self._place(reading.values)
        if reading.times_seconds.size:
            head["times_seconds"] = self._place(reading.times_seconds)
        return head

    def _place(self, series: FloatArray) -> list[Any] | dict[str, list[int]]:
        if series.size <= _INLINE_LIMIT:
            inline: list[Any] = to_json(series.tolist())
            return inline
        raw = series.astype("<f8", copy=False).tobytes()
        key = hashlib.blake2b(raw, digest_size=16).digest()
        if key not in self._known:
            _write_all(self._series, raw)
            self._known[key] = [self._series_items, series.size]
            self._series_items += series.size
        return {"series": self._known[key]}


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_lines(folder: Path, warnings: list[str]) -> Iterator[Reading]:
    """
    The readings of one scenario; what a cut-off run left half written is told in `warnings` and left out.

    Raises:
        BadEvidence: a whole line that is no reading.

    """
    path = folder / READINGS_FILE
    if not path.is_file():
        warnings.append(f"{path} is missing")
        return
    series = _map_series(folder / SERIES_FILE)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                warnings.append(f"{path}:{number} was cut off while it was written")
                return
            reading = _read_line(line, series, f"{path}:{number}")
            if reading is None:
                warnings.append(f"{path}:{number} points behind the end of {SERIES_FILE}")
            else:
                yield reading


def _map_series(path: Path) -> FloatArray:
    if not path.is_file() or path.stat().st_size < _ITEM_BYTES:
        return np.empty(0, dtype=np.float64)
    count = path.stat().st_size // _ITEM_BYTES
    mapped: FloatArray = np.memmap(path, dtype="<f8", mode="r", shape=(count,))
    return mapped


def _read_line(line: bytes, series: FloatArray, where: str) -> Reading | None:
    try:
        document = json.loads(line)
        if "absent" in document:
            document["reason"] = document.pop("absent")
            return from_json(Absent, document, where)
        values = _fetch(document["values"], series)
        times = _fetch(document.get("times_seconds", []), series)
        if values is None or times is None:
            return None
        return Measurement(
            name=document["name"],
            unit=Unit(document["unit"]),
            values=values,
            times_seconds=times,
            source=Source(document["source"]),
            statement=document["statement"],
            window=_read_window(document.get("window")),
            labels=document.get("labels", {}),
        )
    except (ValueError, KeyError, TypeError, BadDocument) as error:
        raise BadEvidence(f"{where} is not a reading ({error}). Was the file edited?") from error


def _fetch(place: Any, series: FloatArray) -> FloatArray | None:
    if isinstance(place, dict):
        start, count = place["series"]
        return series[start : start + count] if start + count <= series.size else None
    return np.array([from_json(float, item) for item in place], dtype=np.float64)


def _read_window(window: list[str] | None) -> Window | None:
    if window is None:
        return None
    return Window(start=datetime.fromisoformat(window[0]), end=datetime.fromisoformat(window[1]))
