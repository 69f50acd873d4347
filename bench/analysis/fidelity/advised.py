"""
What to change on the way of a metric, from what was measured of it: intervals, names, labels.

A change of an interval says what the mean reaction of an autoscaler would be before and after; a note names a fact of
the exporter or of its scraping that queries and rules must know.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from bench.analysis.advice import advise_intervals
from bench.analysis.fidelity import transport
from bench.analysis.fidelity.age import CollectInterval
from bench.analysis.fidelity.devices import find_exporters
from bench.analysis.fidelity.kernels import Part
from bench.analysis.fidelity.told import absent, told_of
from bench.analysis.prediction import Intervals, Rise, predict
from bench.analysis.signals import Signal
from bench.model.measurement import NO_LABELS, Absent, Measurement, Reading, Source

NOW = "reaction_predicted_mean_seconds"
"""The mean reaction of an autoscaler with the intervals as they were measured."""
CHANGED = "reaction_mean_after_change_seconds"
"""The same with one change, which the label `change` names."""
NOTE = "noted_total"
"""How often a fact was seen; the label `note` says it."""

_STEP = Rise(base=0.0, peak=100.0, threshold=77.0)
"""From idle to full, past a target of 70 and the tolerance of an HPA."""
_WORTH_RATIO = 0.95
"""A change that gains less is felt by nobody."""
_NOT_HONOURED = (
    "honorLabels is false: the pod that uses a device is exported_pod, `pod` is the exporter's; "
    "rules that ask for `pod` mean the exporter"
)
_NEW_NAMES = ("_UTIL_RATIO", "_CELSIUS", "_WATTS")


def advised(
    readings: Sequence[Reading],
    collects: Mapping[str, CollectInterval],
    scrape_seconds: float,
    parts: Sequence[Part],
) -> Iterator[Reading]:
    """Intervals against what is configured, what shorter ones would bring, and notes."""
    yield from _against_configured(readings, collects)
    slowest = max(collects.values(), key=lambda each: each.seconds, default=None)
    if slowest is None:
        yield absent(NOW, "no collect interval could be measured")
    else:
        intervals = Intervals(collect_seconds=slowest.seconds, scrape_seconds=scrape_seconds)
        yield told_of(NOW, (predict(intervals, _STEP).mean_seconds,), NO_LABELS)
        for change in advise_intervals(intervals, _STEP):
            if change.mean_after_seconds <= _WORTH_RATIO * change.mean_before_seconds:
                yield told_of(CHANGED, (change.mean_after_seconds,), {"change": change.what})
    for note, count in (*_notes(readings), *_of_parts(parts)):
        yield told_of(NOTE, (float(count),), {"note": note})


def _against_configured(readings: Sequence[Reading], collects: Mapping[str, CollectInterval]) -> Iterator[Reading]:
    name = "collect_interval_measured_to_configured_ratio"
    for each in readings:
        if each.name != "exporter_configured_collect_seconds":
            continue
        measured = collects.get(each.labels.get("node", ""))
        if isinstance(each, Absent):
            yield absent(name, each.reason)
        elif measured is None:
            yield absent(name, f"nobody saw how often the exporter on {each.labels.get('node')} collects")
        else:
            # where scrapes alone tell, the interval is bounded from above by them: only the lower bound accuses
            ratio = measured.at_least_seconds / float(each.values[-1])
            yield told_of(name, (ratio,), {"node": each.labels.get("node", "")})


def _notes(readings: Sequence[Reading]) -> Iterator[tuple[str, int]]:
    yield from _of_labels(readings)
    yield from _of_names(readings)
    yield from _of_types(readings)
    ignored = [each for each in readings if each.name == "exporter_ignored_variable_total"]
    for each in ignored:
        yield f"{each.labels['variable']} means nothing to the exporter: its name is DCGM_EXPORTER_INTERVAL", 1


def _of_parts(parts: Sequence[Part]) -> Iterator[tuple[str, int]]:
    """What an autoscaler on either metric would have seen of kernels on a part of the device."""
    busy = [each.busy_ratio for each in parts if each.busy_ratio is not None]
    active = [each.sm_active_ratio for each in parts if each.sm_active_ratio is not None]
    if not busy:
        return
    asked = min(each.asked_ratio for each in parts)
    said = f"utilisation said {fmean(busy):.0%} while kernels were on {asked:.0%} of the multiprocessors"
    if active:
        yield f"{said}, SM activity {fmean(active):.0%}", len(active)
    elif not any(each.is_shown for each in parts):
        yield f"{said}; DCGM_FI_PROF_SM_ACTIVE would tell, which no exporter shows", len(busy)


def _of_labels(readings: Sequence[Reading]) -> Iterator[tuple[str, int]]:
    scraped = [each for each in readings if each.source is Source.PROMETHEUS and isinstance(each, Measurement)]
    exported = [each for each in scraped if each.labels.get("exported_pod")]
    honoured = [each for each in scraped if each.labels.get("pod") and not find_exporters([each])]
    if exported:
        yield _NOT_HONOURED, len(exported)
    elif any(each.labels.get("container") for each in honoured):
        yield "honorLabels is true: the pod that uses a device is `pod`", len(honoured)
    for label in ("Hostname", "hostname"):
        count = sum(label in each.labels for each in scraped)
        if count:
            yield f"the node is in the label {label}; exporters up to 4.8.2 say Hostname, later ones hostname", count


def _of_names(readings: Sequence[Reading]) -> Iterator[tuple[str, int]]:
    names = {each.labels.get("metric", "") for each in readings if each.name == "exporter_series_total"}
    new = sorted(each for each in names if each.startswith("DCGM_FI_") and each.endswith(_NEW_NAMES))
    if new:
        yield f"fields go by the names of DCGM 4.6, such as {new[0]}: queries for the old ones find nothing", len(new)


def _of_types(readings: Sequence[Reading]) -> Iterator[tuple[str, int]]:
    """Counters by their declaration that fall as gauges do."""
    declared = {
        each.labels["metric"]
        for each in readings
        if each.name == "exporter_series_total" and each.labels.get("declared") == "counter"
    }
    falling: dict[str, int] = {}
    for each in readings:
        metric = each.labels.get("__name__", "")
        if each.source is Source.PROMETHEUS and metric in declared and isinstance(each, Measurement):
            counted = transport.counter(Signal.of(each, is_polled=False), mean_rate_per_second=1.0)
            falling[metric] = falling.get(metric, 0) + counted.looks_like_gauge
    for metric, count in sorted(falling.items()):
        if count:
            yield f"{metric} is declared a counter and is a gauge: rate() of it means nothing", count
