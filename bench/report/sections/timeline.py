"""What happened over time: load, requests in flight, devices, the metric on its way, replicas, first tokens, stages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.analysis.courses import device_of, in_flight, over_devices, per_second
from bench.analysis.signals import Signal
from bench.drawing.lines import Level, Line, within
from bench.drawing.panels import Band, Figure, Panel, Rows, Span, draw_over_time
from bench.model.measurement import FloatArray, Measurement
from bench.report.blocks import Block, Picture
from bench.report.known import Known, short_device, short_pod
from bench.report.sections.stages import Course, courses

# More lines in one panel cannot be told apart.
_LINES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Time:
    """Times of a run, told from its start."""

    origin_seconds: float

    def line(self, name: str, signal: Signal | Measurement, *, is_stepped: bool = False) -> Line:
        times = signal.times_seconds - self.origin_seconds
        return Line(name=name, xs=times, ys=signal.values, is_stepped=is_stepped)

    def ends(self, reading: Measurement) -> tuple[float, float]:
        """The first and the last time of a reading."""
        first, last = (float(reading.times_seconds[place]) - self.origin_seconds for place in (0, -1))
        return first, last


def blocks(known: Known) -> Iterator[Block]:
    """The whole run, and one step of each direction close up."""
    time = _Time(origin_seconds=known.outcome.started.timestamp())
    panels = list(_panels(known, time))
    if not panels:
        return
    told = courses(known)
    strip = [Rows(title="stages of each step", rows=tuple(_strip(told, time)))] if told else []
    ends = [float(line.xs[-1]) for panel in panels for line in panel.lines if line.xs.size]
    figure = Figure(
        title=f"{known.outcome.scenario} over time",
        words=_words(panels),
        parts=[*panels, *strip],
        start=0.0,
        end=max(ends, default=1.0),
        bands=tuple(_bands(known, time)),
    )
    yield Picture(svg=draw_over_time(figure), words=figure.words, caption="The whole run")
    for direction in ("up", "down"):
        yield from _close_up([each for each in told if each.direction == direction], panels, time)


def _words(panels: Sequence[Panel]) -> str:
    return "Over one time: " + "; ".join(
        f"{panel.title} ({', '.join(line.name for line in panel.lines)})" for panel in panels
    )


def _panels(known: Known, time: _Time) -> Iterator[Panel]:
    for panel in (_load(known, time), _flight(known, time), _devices(known, time), _metric(known, time)):
        if panel.lines:
            yield panel
    replicas = [
        time.line(name, each, is_stepped=True)
        for name in ("desired", "ready")
        for each in known.all(f"{name}_replicas_total")
    ]
    replicas = [replace(line, name=name) for line, name in zip(replicas, ("desired", "ready"), strict=False)]
    if replicas:
        yield Panel(title="replicas", lines=tuple(replicas))
    tokens = _first_tokens(known, time)
    if tokens.lines:
        yield tokens


def _load(known: Known, time: _Time) -> Panel:
    steps = sorted(known.all("load_rate_per_second"), key=lambda each: float(each.times_seconds[0]))
    lines = []
    if steps:
        ends = [np.append(each.times_seconds, each.times_seconds[-1]) for each in steps]
        asked = [np.append(each.values, np.nan) for each in steps]
        signal = Signal(times_seconds=np.concatenate(ends), values=np.concatenate(asked))
        lines.append(time.line("asked", signal, is_stepped=True))
    _, answered = _requests(known)
    if answered.size:
        lines.append(time.line("answered", per_second(answered, width_seconds=1.0), is_stepped=True))
    return Panel(title="load, requests a second", lines=tuple(lines))


def _flight(known: Known, time: _Time) -> Panel:
    starts, ends = _requests(known)
    lines = (time.line("in flight", in_flight(starts, ends), is_stepped=True),) if starts.size else ()
    return Panel(title="requests that are due and not answered yet", lines=lines)


def _requests(known: Known) -> tuple[FloatArray, FloatArray]:
    """When each request was due, and when its answer was complete."""
    found = known.all("request_e2e_seconds")
    if not found:
        return np.empty(0), np.empty(0)
    starts = np.concatenate([each.times_seconds for each in found])
    return starts, np.sort(starts + np.concatenate([each.values for each in found]))


def _devices(known: Known, time: _Time) -> Panel:
    held = known.labels("device_held_total", "uuid")
    lines = [
        time.line(" ".join((short_device(device_of(each)), *_on(each))), each)
        for each in known.all("gpu_busy_time_ratio")
        if not held or device_of(each) in held
    ]
    more = f": {_LINES} of {len(lines)}" if len(lines) > _LINES else ""
    title = f"devices that our pods hold, busy ratio by NVML{more}" if held else f"devices, busy ratio by NVML{more}"
    return Panel(title=title, lines=tuple(lines[:_LINES]))


def _on(reading: Measurement) -> list[str]:
    return [f"on {reading.labels['node']}"] if reading.labels.get("node") else []


def _metric(known: Known, time: _Time) -> Panel:
    """The metric at each place that it passes, added up over our devices as far as it is told by device."""
    held = known.labels("device_held_total", "uuid")
    exported = [each for each in known.all("exporter_metric_value") if "ENERGY" not in each.labels.get("metric", "")]
    stored = [each for each in known.all("prometheus_metric_value") if "ENERGY" not in each.labels.get("__name__", "")]
    lines = [
        time.line(name, found, is_stepped=True)
        for name, found in (
            ("exporter, all our devices", over_devices(exported, held)),
            ("Prometheus, all our devices", over_devices(stored, held)),
        )
        if found is not None
    ]
    served = [("metrics API", each) for each in known.all("metrics_api_metric_value")]
    served += [("HPA, per replica", each) for each in known.all("hpa_metric_value")]
    lines += [time.line(name, each, is_stepped=True) for name, each in served]
    target = known.parameter("target")
    levels = (Level(name="target", value=target),) if target is not None and lines else ()
    return Panel(title="the metric on its way to the autoscaler", lines=tuple(lines[:_LINES]), levels=levels)


def _first_tokens(known: Known, time: _Time) -> Panel:
    pods = known.labels("request_ttft_seconds", "backend")
    shown = sorted(
        pods, key=lambda pod: -sum(each.values.size for each in known.all("request_ttft_seconds", backend=pod))
    )
    lines = []
    for pod in shown[:_LINES]:
        found = known.all("request_ttft_seconds", backend=pod)
        times = np.concatenate([each.times_seconds for each in found]) - time.origin_seconds
        values = np.concatenate([each.values for each in found])
        order = np.argsort(times, kind="stable")
        lines.append(Line(name=short_pod(pod), xs=times[order], ys=values[order], is_marks=True))
    slo = known.parameter("ttft_slo_seconds")
    levels = (Level(name="SLO", value=slo),) if slo and lines else ()
    more = f": {_LINES} of {len(shown)} pods" if len(shown) > _LINES else ""
    return Panel(title=f"time to first token, seconds, by pod{more}", lines=tuple(lines), levels=levels)


def _bands(known: Known, time: _Time) -> Iterator[Band]:
    calibrated = known.all("calibration_seconds") or known.all("calibration_metric_value", of="metrics-api")
    for each in (*calibrated, *known.all("idle_control_seconds")):
        start, end = time.ends(each)
        yield Band(name=each.labels.get("at", "idle"), start=start, end=end)
    for each in known.all("load_rate_per_second"):
        start, end = time.ends(each)
        direction = each.labels.get("direction", "")
        name = f"{direction} {each.labels.get('step', '')}".strip()
        yield Band(name=name, start=start, end=end, is_shaded=direction == "up")


def _strip(told: Sequence[Course], time: _Time) -> Iterator[tuple[str, tuple[Span, ...]]]:
    for direction in ("up", "down"):
        spans = tuple(span for each in told if each.direction == direction for span in each.spans(time.origin_seconds))
        if spans:
            yield direction, tuple(replace(span, name="") for span in spans)


def _close_up(told: Sequence[Course], panels: Sequence[Panel], time: _Time) -> Iterator[Block]:
    """The step that took longest, with its stages as bars on the time of all else."""
    if not told:
        return
    course = max(told, key=lambda each: each.total_seconds)
    spans = course.spans(course.start_seconds)
    start = course.start_seconds - time.origin_seconds
    before, after = 2.0, max([span.end for span in spans] + [course.total_seconds]) * 1.15 + 2.0
    rows = Rows(
        title="stages",
        rows=tuple((stage, (span,)) for stage, span in zip(course.stages, spans, strict=True)),
    )
    clipped = [_within(panel, start, -before, after) for panel in panels]
    figure = Figure(
        title=f"Step {course.step} {course.direction} close up",
        words=f"Step {course.step} {course.direction}, the longest of {len(told)}: "
        + ", ".join(f"{stage} {span.name}" for stage, span in zip(course.stages, spans, strict=True)),
        parts=[rows, *[panel for panel in clipped if panel.lines]],
        start=-before,
        end=after,
        bands=(Band(name="the load changes", start=0.0, end=after),),
        time_label="seconds since the load step",
    )
    caption = f"Step {course.step} {course.direction} close up: the longest of {len(told)}"
    yield Picture(svg=draw_over_time(figure), words=figure.words, caption=caption)


def _within(panel: Panel, shift: float, start: float, end: float) -> Panel:
    lines = (within(replace(line, xs=line.xs - shift), start, end) for line in panel.lines)
    return replace(panel, lines=tuple(line for line in lines if line.xs.size))
