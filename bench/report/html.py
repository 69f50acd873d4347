"""
A run as one HTML page that needs nothing beside it: the stamp, verdicts, plots, how to do it again, on what it ran.

No script and no font from elsewhere; narrow screens and paper get the same text.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from bench.evidence.reader import StoredRun
from bench.model.check import Basis, CheckResult
from bench.model.evidence import Outcome, run_verdict
from bench.model.measurement import Absent, Measurement, Reading
from bench.report.document import stamp
from bench.report.svg import Bar, Line, Panel, bars, panels

_STYLE = """
:root{color-scheme:light}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;color:#111;
background:#fff}h1{font-size:1.5rem}h2{font-size:1.2rem;border-top:2px solid #222;padding-top:.6rem;margin-top:2rem}
h3{font-size:1rem;margin-bottom:.3rem}table{border-collapse:collapse;width:100%;font-size:.9rem}
td,th{text-align:left;vertical-align:top;padding:.3rem .5rem;border-bottom:1px solid #ccc;overflow-wrap:break-word}
th{white-space:nowrap}.stamp{border:3px solid #111;padding:.6rem;font-weight:700}.v{font-weight:700;white-space:nowrap}
.pass{color:#17601b}.fail,.error{color:#a10f0f}.inconclusive{color:#7a5200}.skipped{color:#555}
.why{color:#444;font-size:.85rem}svg{width:100%;height:auto}code,pre{font-size:.85rem;white-space:pre-wrap}
@media(max-width:40rem){table,tbody,tr,td{display:block}thead{display:none}tr{border-bottom:2px solid #888}
td{border:0;padding:.1rem .3rem}td[data-h]::before{content:attr(data-h) ": ";color:#555}}
@media print{h2{break-after:avoid}tr,svg{break-inside:avoid}}
"""

# Which readings are drawn, panel by panel: title, and the names that belong together.
_PANELS = (
    ("load, requests per second", ("load_rate_per_second",)),
    ("device busy, ratio", ("gpu_busy_time_ratio", "gpu_engine_active_ratio")),
    ("metric as exported and stored", ("exporter_metric_value", "prometheus_metric_value", "metrics_api_metric_value")),
    ("replicas", ("desired_replicas_total", "ready_replicas_total")),
    ("time to first token, seconds", ("request_ttft_seconds",)),
    ("power, watts", ("gpu_power_watts",)),
)
_STEPPED = frozenset({"desired_replicas_total", "ready_replicas_total", "load_rate_per_second"})
# More lines in one panel cannot be told apart.
_LINES = 6


def render(run: StoredRun) -> str:
    """The page."""
    title = f"bench run {run.record.run_id}"
    body = "".join(_body(run, title))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )


def _body(run: StoredRun, title: str) -> Iterator[str]:
    if stamp(run.record):
        yield f'<p class="stamp">{escape(stamp(run.record))}</p>'
    verdict = run_verdict(run.outcomes).value
    yield f'<h1>{escape(title)}: <span class="v {verdict}">{verdict}</span></h1>'
    yield _summary(run.outcomes)
    warnings = list(run.warnings)
    for outcome in run.outcomes:
        yield from _scenario(outcome, run.readings(outcome.scenario, warnings))
    if warnings:
        yield "<h2>To mind</h2><ul>" + "".join(f"<li>{escape(each)}</li>" for each in warnings) + "</ul>"
    yield from _reproduce(run)


def _summary(outcomes: Sequence[Outcome]) -> str:
    rows = [
        (
            _verdict(outcome.verdict.value),
            f'<a href="#{escape(outcome.scenario)}">{escape(outcome.scenario)}</a>',
            escape(outcome.requirement or "-"),
            escape(outcome.claim),
        )
        for outcome in outcomes
    ]
    return _table(("verdict", "scenario", "requirement", "claim"), rows)


def _verdict(value: str) -> str:
    return f'<span class="v {value}">{value}</span>'


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in headings)
    body = "".join(f"<tr>{_cells(headings, row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(headings: Sequence[str], row: Sequence[str]) -> str:
    pairs = zip(headings, row, strict=True)
    return "".join(f'<td data-h="{escape(heading)}">{cell}</td>' for heading, cell in pairs)


def _scenario(outcome: Outcome, readings: Sequence[Reading]) -> Iterator[str]:
    yield f'<h2 id="{escape(outcome.scenario)}">{escape(outcome.scenario)} {_verdict(outcome.verdict.value)}</h2>'
    yield f"<p>{escape(outcome.claim)}</p>"
    if outcome.reason:
        yield f"<p><strong>{escape(outcome.reason)}</strong></p>"
    for warning in outcome.warnings:
        yield f'<p class="why">{escape(warning)}</p>'
    if outcome.checks:
        yield _table(("verdict", "check", "observed", "bound", "basis"), [_check(each) for each in outcome.checks])
    measured = [each for each in readings if isinstance(each, Measurement)]
    plot = panels(_panels(measured), title=f"{outcome.scenario} over time")
    if plot:
        yield f"<h3>What happened</h3>{plot}"
    yield from _stage_plots(measured)
    yield from _absences(readings)
    if outcome.parameters:
        yield "<h3>Parameters</h3>" + _table(
            ("name", "value"), [(escape(name), escape(value)) for name, value in outcome.parameters.items()]
        )


def _check(check: CheckResult) -> tuple[str, ...]:
    labels = ", ".join(f"{name}={value}" for name, value in sorted(check.labels.items()))
    why = f"{check.reason}{f' ({labels})' if labels else ''}. Because: {check.because}"
    basis = "ours, stricter than the programme" if check.basis is Basis.OURS else check.basis.value
    return (
        _verdict(check.verdict.value),
        f'{escape(check.claim)}<div class="why">{escape(why)}</div>',
        "-" if check.observed is None else f"{check.observed:g}",
        escape(check.bound),
        escape(basis),
    )


def _panels(measured: Sequence[Measurement]) -> list[Panel]:
    found = []
    for title, names in _PANELS:
        lines = [
            Line(
                name=_line_name(each),
                times_seconds=each.times_seconds,
                values=each.values,
                is_stepped=each.name in _STEPPED,
            )
            for each in measured
            if each.name in names and each.times_seconds.size > 1 and not _counts(each)
        ]
        if lines:
            longest = sorted(lines, key=lambda line: -line.values.size)[:_LINES]
            more = f", {len(longest)} of {len(lines)} series" if len(lines) > _LINES else ""
            found.append(Panel(title=title + more, lines=tuple(longest)))
    return found


def _counts(reading: Measurement) -> bool:
    """A counter among gauges would flatten them; its growth is in the analysis."""
    return "ENERGY" in reading.labels.get("metric", "")


def _line_name(reading: Measurement) -> str:
    label = next(
        (reading.labels[key] for key in ("pod", "backend", "uuid", "UUID", "node") if key in reading.labels), ""
    )
    short = label if len(label) <= 16 else f"…{label[-12:]}"
    return f"{reading.source.value} {short}".strip()


def _stage_plots(measured: Sequence[Measurement]) -> Iterator[str]:
    durations: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    beyond = {}
    for each in measured:
        key = (each.labels.get("direction", ""), each.labels.get("stage", ""))
        if each.name == "stage_seconds":
            durations[key[0]][key[1]].append(float(each.values[0]))
        elif each.name == "stage_beyond_its_worst_seconds" and float(each.values[0]) > 0:
            beyond[key] = float(each.values[0])
    for direction, stages in durations.items():
        shown = [
            Bar(
                name=stage,
                median_seconds=float(np.median(values)),
                least_seconds=min(values),
                most_seconds=max(values),
                note=f"GUILTY: {beyond[direction, stage]:.2f} s too long" if (direction, stage) in beyond else "",
            )
            for stage, values in stages.items()
        ]
        count = max(len(values) for values in stages.values())
        heading = f"Stages of a load step {direction}: median of {count}, from least to most"
        yield f"<h3>{escape(heading)}</h3>{bars(shown, title=heading)}"


def _absences(readings: Sequence[Reading]) -> Iterator[str]:
    """What was looked for and not found; the same reason once."""
    reasons = sorted({(each.name, each.reason) for each in readings if isinstance(each, Absent)})
    if reasons:
        rows = [(f"<code>{escape(name)}</code>", escape(reason)) for name, reason in reasons[:50]]
        yield f"<h3>Looked for and absent</h3>{_table(('reading', 'because'), rows)}"


def _reproduce(run: StoredRun) -> Iterator[str]:
    record = run.record
    target = "" if record.target == "lab" else f" --target {record.target}"
    settings = "".join(
        f" \\\n  --set {outcome.scenario}.{name}={value}"
        for outcome in run.outcomes
        for name, value in outcome.parameters.items()
        if value
    )
    names = " ".join(outcome.scenario for outcome in run.outcomes)
    command = f"bench run {names}{target}{settings}\nbench judge {record.run_id}"
    yield f"<h2>Do it again</h2><pre>{escape(command)}</pre>"
    facts = {
        "target": record.target,
        "fidelity": record.fidelity.value,
        "Kubernetes": record.server_version,
        "cluster uid": record.cluster_uid,
        "bench": record.bench_version,
        "started": record.started.isoformat(timespec="seconds"),
        "ended": record.ended.isoformat(timespec="seconds") if record.ended else "not ended",
        **record.environment,
    }
    yield "<h2>What it ran on</h2>" + _table(
        ("what", "value"), [(escape(name), escape(value)) for name, value in facts.items()]
    )
