"""A result as one HTML page that stands by itself: figures, errors, plots."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from bench.load.knee import Knee, Trial
from bench.load.orders import LoadOrder
from bench.load.plots import Line, Plot, draw
from bench.load.results import LoadResult

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .2rem .7rem; text-align: right; }
th:first-child, td:first-child { text-align: left; } tr + tr { border-top: 1px solid #ddd; }
svg { width: 100%; height: auto; font-size: 11px; } .grid { stroke: #e3e3e3; } .flag { color: #a40000; }
"""
_STATISTICS = ("count", "mean", "p50", "p90", "p99", "p999", "max")


def page(result: LoadResult) -> str:
    """The whole page; everything from the server is escaped."""
    told = result.to_json(with_histograms=False)
    requests = told["requests"]
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        f"<title>Load on {escape(told['target']['url'])}</title><style>{_STYLE}</style>",
        f"<h1>Load on {escape(told['target']['url'])}</h1>",
        (
            f"<p>{told['loop']} loop, protocol {told['target']['protocol']}, HTTP/{told['http']}, "
            f"engine {told['engine']}, {told['workers']} worker(s), seed {told['seed']}, started {told['started_at']}, "
            f"receive stamps: {escape(told['clock']['receive'])}, clocks in doubt by "
            f"{_doubt(told['clock']['bound_seconds'])}.</p>"
        ),
        *(f'<p class="flag">Cannot be judged: {escape(flag)}.</p>' for flag in told["flags"]),
        _rows(("requests", ""), [(name, requests[name]) for name in ("planned", "sent", "not_sent", "ok")]),
        _distributions(told),
        _failures(requests["failed"]),
        _backends(told["backends"]),
        *(f"<h2>{escape(plot.title)}</h2>{draw(plot)}" for plot in _plots(result, told["seconds"])),
        "</html>",
    ]
    return "\n".join(parts)


def knee_page(knee: Knee, order: LoadOrder) -> str:
    """The search for the rate at which the objectives break: what each rate gave, run by run."""
    url = escape(f"{order.endpoint.origin}{order.endpoint.path}")
    asked = ", ".join(f"{name} {bound:g} s" for name, bound in order.objectives.bounds.items())
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        f"<title>Where {url} breaks</title><style>{_STYLE}</style><h1>Where {url} breaks</h1>",
        f"<p>Asked of {order.objectives.share_ratio:.0%} of the requests, from when each was due: {escape(asked)}.</p>",
        f"<p>{escape(_found(knee))}</p>",
        *(f"<h2>{escape(plot.title)}</h2>{draw(plot)}" for plot in _knee_plots(knee)),
        _rows(
            ("requests a second", "good", "TTFT p99 (s)", "E2E p99 (s)", "it"),
            [
                (
                    each.rate,
                    each.good_ratio,
                    each.ttft_p99_seconds,
                    each.e2e_p99_seconds,
                    {True: "holds", False: "breaks", None: f"cannot be judged: {each.reason}"}[each.held],
                )
                for each in knee.trials
            ],
        ),
        "</html>",
    ]
    return "\n".join(parts)


def _found(knee: Knee) -> str:
    if knee.found:
        return f"They hold at {knee.holds_at:.4g} requests a second and break at {knee.breaks_at:.4g}."
    if knee.holds_at is not None:
        return f"They hold at {knee.holds_at:.4g} requests a second; a rate at which they break was not found."
    return "A rate at which they hold was not found."


def _knee_plots(knee: Knee) -> list[Plot]:
    """By rate; repeats of a rate stand above each other."""
    trials = sorted(knee.trials, key=lambda trial: trial.rate)
    values: dict[str, Callable[[Trial], float | None]] = {
        "good": lambda trial: trial.good_ratio,
        "TTFT p99": lambda trial: trial.ttft_p99_seconds,
        "E2E p99": lambda trial: trial.e2e_p99_seconds,
    }

    def line(name: str) -> Line:
        told = [(trial.rate, values[name](trial)) for trial in trials]
        return Line(name=name, points=[(rate, value) for rate, value in told if value is not None])

    return [
        Plot(
            title="Share of good requests",
            x_label="requests a second",
            y_label="share",
            lines=[line("good")],
            log_x=True,
        ),
        Plot(
            title="Latency, from intended",
            x_label="requests a second",
            y_label="seconds",
            lines=[line("TTFT p99"), line("E2E p99")],
            log_x=True,
        ),
    ]


def _doubt(bound_seconds: float | None) -> str:
    return "an unknown time" if bound_seconds is None else f"at most {bound_seconds * 1e6:.3g} microseconds"


def _rows(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def cell(value: Any) -> str:
        return escape("-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value))

    first = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><tr>{first}</tr>{body}</table>"


def _distributions(told: Mapping[str, Any]) -> str:
    named = {
        "TTFT from intended": told["ttft_seconds"]["from_intended"],
        "TTFT from sent": told["ttft_seconds"]["from_sent"],
        "ITL": told["itl_seconds"],
        "TPOT": told["tpot_seconds"],
        "E2E from intended": told["e2e_seconds"]["from_intended"],
        "E2E from sent": told["e2e_seconds"]["from_sent"],
        "own lateness": told["lateness_seconds"],
        "connect": told["connect_seconds"],
    }
    rows = [(name, *(summary[key] for key in _STATISTICS)) for name, summary in named.items()]
    return _rows(("seconds", *_STATISTICS), rows)


def _failures(failed: Mapping[str, Any]) -> str:
    rows = [(name, failure["count"], failure["example"]) for name, failure in failed.items()]
    return _rows(("error", "count", "example"), rows) if rows else ""


def _backends(backends: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            told["answered"],
            told["failed"],
            told["ttft_seconds"]["p50"],
            told["ttft_seconds"]["p99"],
            told["itl_seconds"]["p50"],
        )
        for name, told in sorted(backends.items())
    ]
    return _rows(("backend", "answered", "failed", "TTFT p50", "TTFT p99", "ITL p50"), rows) if rows else ""


def _over_time(
    seconds: Sequence[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], float | None]
) -> list[tuple[float, float]]:
    points = [(float(second["second"]), value(second)) for second in seconds]
    return [(at, known) for at, known in points if known is not None]


def _plots(result: LoadResult, seconds: Sequence[Mapping[str, Any]]) -> list[Plot]:
    def quantile(name: str, key: str) -> Line:
        return Line(
            name=f"{name} {key}", points=_over_time(seconds, lambda second: second[f"{name.lower()}_seconds"][key])
        )

    def count(name: str, label: str) -> Line:
        return Line(name=label, points=_over_time(seconds, lambda second: float(second[name])))

    series = result.tally.series
    latency = [quantile(name, key) for name in ("TTFT", "E2E") for key in ("p50", "p99")]
    curves = {
        "TTFT intended": series["ttft_from_intended"],
        "TTFT sent": series["ttft_from_sent"],
        "E2E intended": series["e2e_from_intended"],
        "E2E sent": series["e2e_from_sent"],
        "ITL": series["itl"],
    }
    rates = [count("due", "intended"), count("sent", "sent"), count("answered", "answered"), count("failed", "failed")]
    backends = result.tally.backends.items()
    plots = [
        Plot(title="Latency over time, from intended", x_label="second", y_label="seconds", lines=latency),
        Plot(title="Rates", x_label="second", y_label="requests a second", lines=rates),
        Plot(
            title="Distributions",
            x_label="seconds",
            y_label="share at or below",
            lines=[
                Line(name=name, points=histogram.cumulative()) for name, histogram in curves.items() if histogram.count
            ],
            log_x=True,
        ),
        Plot(
            title="Gaps between tokens",
            x_label="second",
            y_label="seconds",
            lines=[quantile("ITL", "p50"), quantile("ITL", "p99")],
        ),
        Plot(
            title="Lateness of the generator", x_label="second", y_label="seconds", lines=[quantile("lateness", "p99")]
        ),
        Plot(title="Tokens", x_label="second", y_label="tokens a second", lines=[count("output_tokens", "output")]),
    ]
    split = [
        Line(name=name, points=backend.series["ttft_from_sent"].cumulative())
        for name, backend in sorted(backends)
        if backend.series["ttft_from_sent"].count
    ]
    if split:
        plots.append(
            Plot(title="TTFT by backend", x_label="seconds", y_label="share at or below", lines=split, log_x=True)
        )
    return plots
