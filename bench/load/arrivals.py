"""
When requests leave: a rate over time, and a random process run along it. All of it is drawn before the first request.

A process of unit rate is drawn (evenly spaced, exponential or gamma gaps) and bent by the inverse of the cumulative
rate, so that every process goes with every shape. The same seed gives the same times, whoever sends them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import WrongUsage
from bench.load.files import read_text

_GRID_SECONDS = 0.001
#: A schedule is drawn whole before the first request, and takes some tens of bytes each.
_PLANNED_MAX = 100_000_000


class Process(StrEnum):
    """How the gaps between arrivals are drawn."""

    CONSTANT = "constant"
    POISSON = "poisson"
    GAMMA = "gamma"
    TRACE = "trace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """A process and its one parameter."""

    process: Process = Process.POISSON
    variation_ratio: float = 1.0
    trace_file: Path | None = None

    @classmethod
    def parse(cls, text: str) -> "Arrivals":
        """`constant`, `poisson`, `gamma:CV` (coefficient of variation of the gaps) or `trace:FILE`."""
        name, _, value = text.partition(":")
        if name in ("constant", "poisson") and not value:
            return cls(process=Process(name))
        if name == "gamma" and (ratio := _number(value)) is not None and ratio > 0:
            return cls(process=Process.GAMMA, variation_ratio=ratio)
        if name == "trace" and value:
            return cls(process=Process.TRACE, trace_file=Path(value))
        raise WrongUsage(f"arrivals {text!r}: say constant, poisson, gamma:CV with CV above 0, or trace:FILE")

    def __str__(self) -> str:
        if self.process is Process.GAMMA:
            return f"gamma:{self.variation_ratio:g}"
        return f"trace:{self.trace_file}" if self.process is Process.TRACE else self.process.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of time: a level (users, requests a second) that goes straight from one value to another, or a sine."""

    start: float
    end: float
    duration_seconds: float
    sine_amplitude: float = 0.0
    sine_period_seconds: float = 1.0

    def at(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        straight = self.start + (self.end - self.start) * seconds / self.duration_seconds
        wave = self.sine_amplitude * np.sin(2 * math.pi * seconds / self.sine_period_seconds)
        return np.maximum(straight + wave, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A level over time, in pieces."""

    pieces: tuple[Piece, ...]

    @classmethod
    def constant(cls, level: float, duration_seconds: float) -> "Shape":
        return cls(pieces=(Piece(start=level, end=level, duration_seconds=duration_seconds),))

    @classmethod
    def parse(cls, text: str) -> "Shape":
        """
        Pieces parted by commas: `LEVEL:SECONDS`, `FROM-TO:SECONDS` (ramp), `MEAN~AMPLITUDE/PERIOD:SECONDS` (sine).

        A spike is a short high step between two low ones.
        """
        return cls(pieces=tuple(_piece(part.strip(), text) for part in text.split(",")))

    @property
    def duration_seconds(self) -> float:
        return sum(piece.duration_seconds for piece in self.pieces)

    def cut(self, duration_seconds: float) -> "Shape":
        """The beginning of it; the last level holds on if it is too short."""
        pieces: list[Piece] = []
        left = duration_seconds
        for piece in self.pieces:
            if left <= 0:
                break
            kept = min(piece.duration_seconds, left)
            slope = (piece.end - piece.start) / piece.duration_seconds
            pieces.append(
                Piece(
                    start=piece.start,
                    end=piece.start + slope * kept,
                    duration_seconds=kept,
                    sine_amplitude=piece.sine_amplitude,
                    sine_period_seconds=piece.sine_period_seconds,
                )
            )
            left -= kept
        if left > 1e-9:
            pieces.append(Piece(start=self.pieces[-1].end, end=self.pieces[-1].end, duration_seconds=left))
        return Shape(pieces=tuple(pieces))

    def level_at(self, seconds: float) -> float:
        """The level at one time; 0 after the end."""
        begins = 0.0
        for piece in self.pieces:
            if seconds < begins + piece.duration_seconds:
                return float(piece.at(np.asarray([seconds - begins]))[0])
            begins += piece.duration_seconds
        return 0.0

    def steps(self) -> list[tuple[float, int]]:
        """The level as whole numbers: (seconds after the start, level from then on); once a second in a ramp."""
        steps: list[tuple[float, int]] = []
        begins = 0.0
        for piece in self.pieces:
            flat = piece.start == piece.end and not piece.sine_amplitude
            for offset in [0.0] if flat else np.arange(0.0, piece.duration_seconds, 1.0):
                level = round(float(piece.at(np.asarray([float(offset)]))[0]))
                if not steps or steps[-1][1] != level:
                    steps.append((begins + float(offset), level))
            begins += piece.duration_seconds
        return steps

    def cumulative(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Times, and how many arrivals are due before each; straight pieces are exact, others on a grid of 1 ms."""
        times, counts = [np.zeros(1)], [np.zeros(1)]
        begins, due = 0.0, 0.0
        for piece in self.pieces:
            flat = piece.start == piece.end and not piece.sine_amplitude
            cells = 1 if flat else max(1, math.ceil(piece.duration_seconds / _GRID_SECONDS))
            within = np.linspace(0.0, piece.duration_seconds, cells + 1)
            levels = piece.at(within)
            areas = np.cumsum((levels[1:] + levels[:-1]) / 2 * np.diff(within))
            times.append(begins + within[1:])
            counts.append(due + areas)
            begins += piece.duration_seconds
            due += float(areas[-1])
        return np.concatenate(times), np.concatenate(counts)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _piece(part: str, whole: str) -> Piece:
    levels, _, length = part.partition(":")
    duration = _number(length)
    mean, _, wave = levels.partition("~")
    amplitude, _, period = wave.partition("/")
    first, dash, last = levels.partition("-")
    numbers = (mean, amplitude, period) if wave else (first, last if dash else first)
    values = [_number(number) for number in numbers]
    known = [value for value in values if value is not None and value >= 0]
    if duration is None or duration <= 0 or len(known) != len(values) or (wave and known[2] <= 0):
        raise WrongUsage(
            f"steps {whole!r}: {part!r} is none of LEVEL:SECONDS, FROM-TO:SECONDS, MEAN~AMPLITUDE/PERIOD:SECONDS"
        )
    if wave:
        return Piece(
            start=known[0],
            end=known[0],
            duration_seconds=duration,
            sine_amplitude=known[1],
            sine_period_seconds=known[2],
        )
    return Piece(start=known[0], end=known[1], duration_seconds=duration)


def schedule(arrivals: Arrivals, shape: Shape, *, seed: int, requests_max: int) -> NDArray[np.uint64]:
    """Nanoseconds after the start at which requests are due, in order."""
    if arrivals.process is Process.TRACE:
        offsets = read_trace(arrivals.trace_file or Path())
        offsets = offsets[offsets < shape.duration_seconds]
    else:
        times, counts = shape.cumulative()
        total = float(counts[-1])
        if min(total, requests_max) > _PLANNED_MAX:
            raise WrongUsage(
                f"{total:g} requests are due, {_PLANNED_MAX:g} are the most of one run; lower the rate, the time "
                "or --max-requests"
            )
        units = _units(arrivals, total, seed, requests_max)[:requests_max]
        offsets = np.interp(units, counts, times)
    nanoseconds: NDArray[np.uint64] = np.asarray(np.round(offsets[:requests_max] * 1e9), dtype=np.uint64)
    return nanoseconds


def _units(arrivals: Arrivals, total: float, seed: int, most: int) -> NDArray[np.float64]:
    """Arrival times of the process at one arrival a unit of time, up to `total`; at least the first `most`."""
    if arrivals.process is Process.CONSTANT:
        # A hair is taken off, so that ten seconds at ten a second are a hundred and not one more.
        return np.arange(0.0, min(max(total - 1e-9, 0.0), float(most)), 1.0)
    generator = np.random.default_rng([seed, 1])
    squared = 1.0 if arrivals.process is Process.POISSON else arrivals.variation_ratio**2
    drawn: list[NDArray[np.float64]] = []
    reached, count = 0.0, 0
    while reached < total and count < most:
        size = int(min((total - reached) * 1.05 + 5 * math.sqrt(total * max(squared, 1.0)) + 10, most))
        count += size
        gaps = generator.exponential(size=size) if squared == 1.0 else generator.gamma(1 / squared, squared, size=size)
        drawn.append(reached + np.cumsum(gaps))
        reached = float(drawn[-1][-1])
    units = np.concatenate(drawn) if drawn else np.zeros(0)
    return units[units < total]


def read_trace(file: Path) -> NDArray[np.float64]:
    """One time in seconds a line, from the start of the run; empty lines and # comments are passed over."""
    times: list[float] = []
    for place, line in enumerate(read_text(file, named_by="trace").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        number = _number(line.split(",")[0])
        if number is None or number < 0:
            raise WrongUsage(f"trace {file}, line {place}: {line!r} is no time in seconds")
        times.append(number)
    if not times:
        raise WrongUsage(f"trace {file} holds no time")
    return np.sort(np.asarray(times))


def trace_shape(arrivals: Arrivals, duration_seconds: float | None) -> Shape:
    """As long as the trace unless a duration is given; its level is the mean rate."""
    times = read_trace(arrivals.trace_file or Path())
    # A hair after its last request, which is due before the end and not at it.
    length = duration_seconds or float(times[-1]) + 0.001
    return Shape.constant(float((times < length).sum()) / length, length)


def share_out(
    offsets: NDArray[np.uint64], *, workers: int, seed: int
) -> Sequence[tuple[NDArray[np.uint64], NDArray[np.uint64]]]:
    """
    Each worker's times and the requests' numbers in the whole run.

    Every request goes to a worker drawn at random: a Poisson process thinned so stays one, and all workers
    together send exactly the schedule that one would.
    """
    owners = np.random.default_rng([seed, 2]).integers(0, workers, size=len(offsets))
    numbers = np.arange(len(offsets), dtype=np.uint64)
    return [(offsets[owners == worker], numbers[owners == worker]) for worker in range(workers)]
