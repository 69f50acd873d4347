"""The clocks on the way, and how long the autoscaler took beside what they predict."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from bench.analysis.autoscaling.view import Step, View, absent, one
from bench.analysis.intervals import ks_test
from bench.analysis.prediction import Intervals, Prediction, Rise, draw_reactions, predict
from bench.analysis.stages import Stage, Timeline
from bench.model.measurement import FloatArray, Measurement, Reading, Source
from bench.model.units import Unit

PROCESSING_SECONDS: Final = 1.0
"""What API server, adapter and controller may take together on a busy cluster, beside the clocks."""
PROBE_SECONDS: Final = 0.1
"""How finely the device is seen: the period of the probe."""
DRAWS: Final = 20_000
FEWEST: Final = 5
"""Fewer reactions show no distribution."""
_WAY: Final = (Stage.EXPORTER, Stage.PROMETHEUS, Stage.METRICS_API, Stage.DECISION)


def intervals(view: View) -> Iterator[Reading]:
    """The measured clocks, and the exporter's against its configuration."""
    for name, value in view.clocks.items():
        yield one(name, value)
    configured = view.rules.configured_collect_seconds
    ratio = view.clocks["collect_interval_seconds"] / configured if configured else np.nan
    yield one("collect_interval_measured_to_configured_ratio", ratio)


def measured_intervals(view: View, processing_seconds: float) -> Intervals | None:
    """The clocks as a prediction takes them; None where one of them was not seen."""
    clocks = view.clocks
    if any(np.isnan(value) for value in clocks.values()):
        return None
    return Intervals(
        collect_seconds=clocks["collect_interval_seconds"],
        scrape_seconds=clocks["scrape_interval_seconds"],
        sync_seconds=clocks["sync_interval_seconds"],
        processing_seconds=processing_seconds,
    )


def rise_of(view: View) -> Rise:
    """From an idle device to a full one, and the threshold in between."""
    rules = view.rules
    threshold = rules.hpa.target * (1.0 + rules.hpa.up.tolerance_ratio)
    return Rise(base=0.0, peak=max(rules.saturation, threshold * 1.01), threshold=threshold)


def predicted_reaction(view: View) -> Prediction | None:
    """What the measured clocks make of a reaction; None where one of them was not seen."""
    told = measured_intervals(view, PROCESSING_SECONDS)
    return None if told is None else predict(told, rise_of(view))


def reactions(view: View, courses: Sequence[tuple[Step, Timeline]]) -> Iterator[Reading]:
    """From a load step to the autoscaler's decision, beside what the intervals predict."""
    prediction = predicted_reaction(view)
    worst = float("nan")
    if prediction is not None:
        worst = prediction.max_seconds
        yield one("reaction_predicted_mean_seconds", prediction.mean_seconds)
        yield one("reaction_predicted_worst_seconds", worst)
    for step, timeline in courses:
        labels = {"step": str(step.number)}
        if missing := _missing(timeline):
            for name in ("reaction_seconds", "reaction_to_predicted_worst_ratio", "reaction_after_device_seconds"):
                yield absent(name, missing, labels)
            continue
        reaction = _until_decision(timeline, (Stage.DEVICE, *_WAY))
        yield one("reaction_seconds", reaction, labels)
        yield one("reaction_to_predicted_worst_ratio", reaction / worst, labels)
        yield one("reaction_after_device_seconds", _until_decision(timeline, _WAY), labels)
    yield from _distribution(view, courses)


def _missing(timeline: Timeline) -> str:
    """Why there is no reaction: no decision was seen, or no busy device to count from; empty where there is one."""
    needed = [timeline.segment(stage) for stage in (Stage.DEVICE, Stage.DECISION)]
    return "; ".join(
        f"{each.stage.value}: {each.absent_because}" for each in needed if each.duration_nanoseconds is None
    )


def _until_decision(timeline: Timeline, stages: Sequence[Stage]) -> float:
    """The stages added up."""
    return float(np.nansum([timeline.segment(stage).duration_seconds for stage in stages]))


def _distribution(view: View, courses: Sequence[tuple[Step, Timeline]]) -> Iterator[Reading]:
    """
    The reactions counted from the busy device, against the sum of uniform waits that the clocks make.

    From the device and not from the step: how fast a device fills is the load's and the driver's doing.
    """
    seen = np.array([_until_decision(timeline, _WAY) for _, timeline in courses if not _missing(timeline)])
    queries = [timeline.segment(Stage.METRICS_API).duration_seconds for _, timeline in courses]
    processing = float(np.nanmedian(queries)) if np.isfinite(queries).any() else 0.0
    predicted = predicted_reactions(view, max(0.0, processing))
    if predicted is None or seen.size < FEWEST:
        reason = f"{seen.size} reactions were measured; a distribution is seen from {FEWEST} on"
        yield absent("reaction_ks_p_value_ratio", reason if predicted is not None else "a clock was not measured")
        return
    yield Measurement(
        name="reaction_predicted_quantile_seconds",
        unit=Unit.SECONDS,
        values=np.quantile(predicted, np.linspace(0.0, 1.0, 101)),
        source=Source.ANALYSIS,
        statement=f"quantiles 0 to 1 in hundredths of {DRAWS} draws from the measured intervals",
    )
    yield one("reaction_ks_p_value_ratio", ks_test(seen, predicted).p_value)


def predicted_reactions(view: View, processing_seconds: float) -> FloatArray | None:
    """Draws of the time from a busy device to a decision; None where a clock was not measured."""
    told = measured_intervals(view, processing_seconds)
    if told is None:
        return None
    seen_device = Intervals(
        nvml_window_seconds=PROBE_SECONDS,
        collect_seconds=told.collect_seconds,
        scrape_seconds=told.scrape_seconds,
        sync_seconds=told.sync_seconds,
        processing_seconds=processing_seconds - PROBE_SECONDS / 2.0,
    )
    return draw_reactions(seen_device, Rise(base=0.0, peak=2.0, threshold=0.0), count=DRAWS, seed=0)
