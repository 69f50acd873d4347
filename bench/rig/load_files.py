"""What a load leaves on disk, wherever it was made: its summary, one line a request; and the readings in them."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.errors import BenchBroke
from bench.model.measurement import Measurement, Reading, Source
from bench.model.units import Unit

_ROOM_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What `bench load` is asked for, beside where its files go."""

    url: str
    steps: str
    """As its `--steps`: ``RATE:SECONDS,…``."""
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadFiles:
    """The files of one load, in a folder of its own."""

    plan: LoadPlan
    folder: Path

    @property
    def summary(self) -> Path:
        return self.folder / "load.json"

    @property
    def records(self) -> Path:
        return self.folder / "records.jsonl"

    @property
    def log(self) -> Path:
        """What the generator said."""
        return self.folder / "load.log"

    @property
    def started_utc_seconds(self) -> float:
        """When its schedule began; known when it is over."""
        return float(self._read_summary()["clock"]["origin_unix_seconds"])

    def readings(
        self, labels: Mapping[str, str], *, since_seconds: float = 0.0, until_seconds: float = math.inf
    ) -> Iterator[Reading]:
        """
        Each request's times, one series a backend; failures by class; how late the generator itself was.

        Of the requests that were due in this part of the schedule.
        """
        started = self.started_utc_seconds
        with self.records.open(encoding="utf-8") as lines:
            records = sorted((json.loads(line) for line in lines), key=lambda each: float(each["intended_seconds"]))
        part = [each for each in records if since_seconds <= each["intended_seconds"] < until_seconds]
        statement = f"bench load {self.plan.url} --steps {self.plan.steps}"
        yield from _Told(part, started, statement, labels).series()

    def _read_summary(self) -> Mapping[str, Any]:
        try:
            summary: Mapping[str, Any] = json.loads(self.summary.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            self._require_room()
            told = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            last = told[-1] if told else "nothing"
            raise BenchBroke(
                f"The load generator wrote no result ({error}); it said: {last}. See {self.log}."
            ) from error
        return summary

    def _require_room(self) -> None:
        """Raises `OSError` where nothing can be written: the generator could not either, and could not even say so."""
        probe = self.folder / "room"
        try:
            with probe.open("wb") as file:
                file.write(bytes(_ROOM_BYTES))
        finally:
            probe.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Told:
    """The records of one load, as readings."""

    records: Sequence[Mapping[str, Any]]
    started: float
    statement: str
    labels: Mapping[str, str]

    def series(self) -> Iterator[Reading]:
        answered = self._grouped("backend", [each for each in self.records if not each["error"]])
        failed = self._grouped("error", [each for each in self.records if each["error"]])
        for backend, records in answered.items():
            for name, member in (
                ("request_ttft_seconds", "first_byte_seconds"),
                ("request_e2e_seconds", "end_seconds"),
            ):
                values = [each[member] - each["intended_seconds"] for each in records]
                yield self._measurement(name, Unit.SECONDS, values, records, {"backend": backend})
        for error, records in failed.items():
            ones = [1.0] * len(records)
            yield self._measurement("request_failed_total", Unit.TOTAL, ones, records, {"error": error})
        sent = [each for each in self.records if each["sent_seconds"] is not None]
        if sent:
            late = [each["sent_seconds"] - each["intended_seconds"] for each in sent]
            yield self._measurement("request_lateness_seconds", Unit.SECONDS, late, sent, {})

    def _grouped(self, member: str, records: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for record in records:
            groups.setdefault(record[member] or "", []).append(record)
        return dict(sorted(groups.items()))

    def _measurement(
        self,
        name: str,
        unit: Unit,
        values: Sequence[float],
        records: Sequence[Mapping[str, Any]],
        labels: Mapping[str, str],
    ) -> Measurement:
        return Measurement(
            name=name,
            unit=unit,
            values=values,
            times_seconds=[self.started + each["intended_seconds"] for each in records],
            source=Source.LOAD,
            statement=self.statement,
            labels={**self.labels, **labels},
        )
