"""
The way from a load step to relief, stage by stage: how long each took over the repetitions, and which one is guilty.

What each stage ends with and by what it is seen is told beside the numbers, as a stage is only as good as its source.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.intervals import median_interval
from bench.drawing.bars import Bar, draw_bars
from bench.drawing.panels import Span
from bench.model.measurement import FloatArray
from bench.report.blocks import Block, Cell, Picture, Table
from bench.report.known import Known
from bench.report.stage_words import stage_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One step's way through the stages that were seen."""

    step: str
    direction: str
    start_seconds: float
    stages: tuple[str, ...]
    durations_seconds: tuple[float, ...]
    guilty: frozenset[str]

    @property
    def total_seconds(self) -> float:
        """To the last stage that was seen."""
        return sum(self.durations_seconds)

    def spans(self, origin_seconds: float) -> tuple[Span, ...]:
        """A span for each stage, one after the other, from the origin of a plot."""
        spans, at = [], self.start_seconds - origin_seconds
        for stage, duration in zip(self.stages, self.durations_seconds, strict=True):
            told = f"{duration:.2f} s" if duration >= 0 else f"{duration:.2f} s, ended before the stage above"
            spans.append(Span(name=told, start=at, end=at + duration, is_bad=stage in self.guilty))
            at += duration
        return tuple(spans)


def courses(known: Known) -> list[Course]:
    """Each step's course; of a step whose start is not known there is none."""
    found = []
    for load in known.all("load_rate_per_second"):
        labels = {key: load.labels[key] for key in ("step", "direction") if key in load.labels}
        stages = known.all("stage_seconds", **labels)
        if len(labels) == 2 and stages:
            found.append(
                Course(
                    **labels,
                    start_seconds=float(load.times_seconds[0]),
                    stages=tuple(each.labels["stage"] for each in stages),
                    durations_seconds=tuple(float(each.values[0]) for each in stages),
                    guilty=frozenset(_beyond(known, labels["direction"])),
                )
            )
    return found


def _beyond(known: Known, direction: str) -> dict[str, float]:
    """Guilty stages, with how far each is beyond its worst."""
    found = known.all("stage_beyond_its_worst_seconds", direction=direction)
    return {each.labels["stage"]: float(each.values[0]) for each in found if float(each.values[0]) > 0}


def blocks(known: Known) -> Iterator[Block]:
    """For each direction the bars and the table."""
    for direction in known.labels("stage_seconds", "direction"):
        bars = list(_bars(known, direction))
        if bars:
            count = max(bar.values.size for bar in bars)
            words = f"Stages of {count} load steps {direction}: " + "; ".join(f"{bar.name} {bar.words}" for bar in bars)
            title = f"Stages of a load step {direction}"
            drawn = draw_bars(bars, title=title, words=words)
            yield Picture(svg=drawn, words=words, caption=title, note=_legend(count))
        yield _table(known, direction, bars)


def _legend(count: int) -> str:
    return (
        f"Bar: the median of each stage over {count} repetitions; rings: each of them; line: the "
        "95 % interval of the median, or the least and the most where repetitions are too few for one; dashed "
        "upright: the most that its configuration allows. A stage that ended before the one before it has a negative "
        "duration: the two overlap."
    )


def _bars(known: Known, direction: str) -> Iterator[Bar]:
    beyond = _beyond(known, direction)
    for stage in known.labels("stage_seconds", "stage"):
        found = known.all("stage_seconds", direction=direction, stage=stage)
        if not found:
            continue
        values = np.array([float(each.values[0]) for each in found])
        middle, low, high = _interval(values)
        told = f"{middle:.2f} s" + (f" ({low:.2f} to {high:.2f})" if values.size > 1 else "")
        if stage in beyond:
            told += f" GUILTY: {beyond[stage]:.2f} s too long"
        yield Bar(
            name=stage,
            values=values,
            estimate=middle,
            low=low,
            high=high,
            worst=known.value("stage_expected_worst_seconds", direction=direction, stage=stage),
            is_bad=stage in beyond,
            words=told,
        )


def _interval(values: FloatArray) -> tuple[float, float, float]:
    found = median_interval(values)
    if np.isfinite(found.low) and np.isfinite(found.high):
        return found.estimate, found.low, found.high
    return found.estimate, float(values.min()), float(values.max())


def _table(known: Known, direction: str, bars: Sequence[Bar]) -> Table:
    by_name = {bar.name: bar for bar in bars}
    rows: list[tuple[Cell | str, ...]] = []
    for stage in known.labels("stage_seconds", "stage"):
        absent = known.absent("stage_seconds", direction=direction, stage=stage)
        if stage not in by_name and not absent:
            continue  # a stage of the other direction
        words = stage_words(stage)
        bar = by_name.get(stage)
        why = "; ".join(dict.fromkeys(each.reason for each in absent))
        told = (
            Cell(text=bar.words, note=f"absent in {len(absent)}: {why}" if absent else "") if bar else f"absent: {why}"
        )
        rows.append((stage, words.ends_when, words.seen_by, told))
    return Table(
        headings=("stage", "it ends when", "seen by", "took"),
        rows=rows,
        caption=f"What each stage of a step {direction} ends with, and how long it took",
        is_named=True,
    )
