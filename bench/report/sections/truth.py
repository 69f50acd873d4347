"""What Prometheus holds against what the device did: samples on the probe's line, their age, and each dimension."""

from collections.abc import Iterator

import numpy as np

from bench.analysis.fidelity.devices import BUSY, ENGINE, MEMORY_USED, POWER, Device, by_device
from bench.drawing.curves import Plot, distribution, draw_curves
from bench.drawing.lines import Line
from bench.drawing.panels import Figure, Panel, draw_over_time
from bench.report.blocks import Block, Cell, Picture, Table
from bench.report.known import Known, number, short_device

_QUANTITIES = (
    (BUSY, "busy time, ratio"),
    (ENGINE, "engine active, ratio"),
    (POWER, "power, watts"),
    (MEMORY_USED, "memory used, bytes"),
)
_AGES = (("sample_age_seconds", "all samples"), ("fresh_age_seconds", "samples that bring something new"))
# Reading, in words, and whether the largest value is the worst (else the smallest, or the one farthest from 1).
_MOST, _LEAST, _FROM_ONE = "most", "least", "from one"
_DIMENSIONS = (
    ("coverage_ratio", "samples that are there, of those that are due", _LEAST),
    ("longest_gap_seconds", "longest time without a sample", _MOST),
    ("sentinels_total", "blank values that stand for none", _MOST),
    ("out_of_range_total", "values that cannot be", _MOST),
    ("unit_factor_ratio", "exported unit to the probe's", _FROM_ONE),
    ("aligned_error_ratio", "mean error, compared at the time it was read", _MOST),
    ("aligned_error_rms_ratio", "the same, root of the mean square", _MOST),
    ("aligned_error_p95_ratio", "the same, exceeded by 5 % of samples", _MOST),
    ("unaligned_error_ratio", "mean error, compared at the time it was stored", _MOST),
    ("unaligned_error_rms_ratio", "the same, root of the mean square", _MOST),
    ("unaligned_error_p95_ratio", "the same, exceeded by 5 % of samples", _MOST),
    ("unexplained_error_ratio", "error that neither rounding nor 0.15 s explain", _MOST),
    ("field_delay_seconds", "later than the exporter's own reading by", _MOST),
    ("frozen_seconds", "stood still while the device moved for", _MOST),
    ("sample_age_excess_seconds", "older than the collect interval allows by", _MOST),
    ("counter_resets_total", "falls of a counter", _MOST),
    ("view_mismatch_ratio", "answers of the metrics API that no sample explains", _MOST),
    ("probe_core_per_device_ratio", "cores that the probe took, a device", _MOST),
    ("stale_ratio", "scrapes that brought nothing new", _MOST),
    ("collect_interval_most_seconds", "the exporter reads the device every, at most", _MOST),
    ("lag_seconds", "exported values move later than the device by", _MOST),
    ("conservation_ratio", "what the pods of a shared device are told, added up, to the device", _FROM_ONE),
    ("energy_to_power_ratio", "growth of the energy counter to the power", _FROM_ONE),
    ("hand_over_gap_seconds", "time without a series when a device changes hands", _MOST),
    ("label_appears_seconds", "a new pod's name appears after", _MOST),
    ("label_lingers_seconds", "an ended pod's name stays for", _MOST),
)
_OF_FIDELITY = "coverage_ratio"
_LINES = 6


def blocks(known: Known) -> Iterator[Block]:
    """Where the dimensions of fidelity were told: one device over time, ages, and the worst of each dimension."""
    if not known.labels(_OF_FIDELITY, "uuid"):
        return
    yield from _one_device(known)
    yield from _ages(known)
    rows = [row for name, words, worst in _DIMENSIONS for row in _dimension(known, name, words, worst)]
    headings = ("dimension", "worst", "at", "median over devices")
    yield Table(headings=headings, rows=rows, is_named=True)


def _one_device(known: Known) -> Iterator[Block]:
    origin = known.outcome.started.timestamp()
    devices = [each for each in by_device(known.readings).values() if each.probed and each.pieces]
    if not devices:
        return
    device = max(devices, key=_liveliness)
    panels = [panel for name, words in _QUANTITIES for panel in _panel(device, name, words, origin)]
    if not panels:
        return
    ends = [float(line.xs[place]) for panel in panels for line in panel.lines for place in (0, -1)]
    words = f"Device {short_device(device.uuid)}: what the probe saw (line) and what Prometheus stored (marks), of " + (
        ", ".join(panel.title for panel in panels)
    )
    figure = Figure(title="Truth against samples", words=words, parts=panels, start=min(ends), end=max(ends))
    caption = f"Truth against samples, the device that changed most of {len(devices)}"
    yield Picture(svg=draw_over_time(figure), words=words, caption=caption)


def _liveliness(device: Device) -> float:
    probed = device.probed.get(BUSY)
    return float(np.nanstd(probed.values)) if probed is not None and probed.values.size else 0.0


def _panel(device: Device, name: str, words: str, origin: float) -> Iterator[Panel]:
    probed, scraped = device.probed.get(name), device.scraped(name)
    if probed is None or scraped is None or not scraped.values.size:
        return
    truth = Line(name="NVML probe", xs=probed.times_seconds - origin, ys=probed.values)
    stored = Line(name="Prometheus", xs=scraped.times_seconds - origin, ys=scraped.values, is_marks=True)
    yield Panel(title=words, lines=(truth, stored))


def _ages(known: Known) -> Iterator[Block]:
    lines = []
    for name, called in _AGES:
        found = known.all(name)
        if found:
            lines.append(distribution(f"{called}, all devices", np.concatenate([each.values for each in found])))
    single = known.all(_AGES[0][0])
    if len(single) > 1:
        shown = single[: _LINES - len(lines)]
        lines += [distribution(short_device(each.labels.get("uuid", "")), each.values) for each in shown]
    words = "Share of samples at or below an age, counted when Prometheus stamps them"
    plot = Plot(title="Age of samples", words=words, x_label="age, seconds", y_label="share of samples", lines=lines)
    drawn = draw_curves(plot)
    if drawn:
        yield Picture(svg=drawn, words=words, caption="How old a sample is when it is stored")


def _dimension(known: Known, name: str, words: str, worst: str) -> Iterator[tuple[Cell | str, ...]]:
    found = [(float(value), each) for each in known.all(name) for value in each.values if np.isfinite(value)]
    if not found:
        return
    keys = {_MOST: lambda pair: pair[0], _LEAST: lambda pair: -pair[0], _FROM_ONE: lambda pair: abs(pair[0] - 1.0)}
    value, at = max(found, key=keys[worst])
    where = " ".join((short_device(at.labels.get("uuid", "")), at.labels.get("quantity", ""))).strip()
    middle = float(np.median([pair[0] for pair in found]))
    yield (words, number(value, name), where or "-", number(middle, name))
