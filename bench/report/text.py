"""
A run for the terminal: the stamp first, then each scenario with its checks, then what to mind.

Verdicts are words; colour only repeats them.
"""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from bench.evidence.reader import StoredRun
from bench.model.check import Basis, CheckResult
from bench.model.evidence import Outcome, run_verdict
from bench.model.verdict import Verdict
from bench.report.document import stamp

_STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.ERROR: "bold magenta",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.SKIPPED: "dim",
}


def verdict_text(verdict: Verdict) -> str:
    """The verdict as rich markup."""
    return f"[{_STYLES[verdict]}]{verdict.value}[/]"


def render_run(run: StoredRun) -> RenderableType:
    """The whole run."""
    return Group(*_parts(run))


def _parts(run: StoredRun) -> Iterator[RenderableType]:
    record = run.record
    if stamp(record):
        yield f"[bold reverse] {stamp(record)} [/]"
    yield (
        f"Run {escape(record.run_id)} on {escape(record.target)}, Kubernetes {escape(record.server_version)}, "
        f"{record.started:%Y-%m-%d %H:%M} UTC, bench {escape(record.bench_version)}"
    )
    for outcome in run.outcomes:
        yield ""
        yield from render_outcome(outcome)
    if run.warnings:
        yield ""
        yield from (f"[yellow]mind:[/] {escape(warning)}" for warning in run.warnings)
    yield ""
    yield summary_line(run.outcomes)


def render_outcome(outcome: Outcome) -> Iterator[RenderableType]:
    """One scenario: verdict and claim, the checks, the warnings."""
    requirement = f" [dim]({escape(outcome.requirement)})[/]" if outcome.requirement else ""
    yield f"{verdict_text(outcome.verdict)}  [bold]{escape(outcome.scenario)}[/]{requirement}: {escape(outcome.claim)}"
    if outcome.reason:
        yield f"      {escape(outcome.reason)}"
    if outcome.checks:
        yield checks_table(outcome.checks)
    for warning in outcome.warnings:
        yield f"      [yellow]mind:[/] {escape(warning)}"
    for artifact in outcome.artifacts:
        if artifact.path:
            yield f"      [dim]{escape(artifact.title)}: {escape(artifact.path)}[/]"


def checks_table(checks: Sequence[CheckResult]) -> Table:
    """Claim, observed and bound; a check that did not pass tells why, one of ours says that it is stricter."""
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for heading in ("", "check"):
        table.add_column(heading, overflow="fold")
    table.add_column("observed", justify="right")
    table.add_column("bound", overflow="fold")
    table.add_column("basis")
    for check in checks:
        claim = escape(check.claim)
        if check.verdict is not Verdict.PASS:
            claim += f"\n[dim]{escape(check.reason)}{escape(_labels(check))}[/]"
        observed = "-" if check.observed is None else f"{check.observed:g}"
        basis = "ours, stricter" if check.basis is Basis.OURS else check.basis.value
        table.add_row(f"      {verdict_text(check.verdict)}", claim, observed, escape(check.bound), basis)
    return table


def _labels(check: CheckResult) -> str:
    if not check.labels:
        return ""
    return " {" + ", ".join(f"{name}={value}" for name, value in sorted(check.labels.items())) + "}"


def summary_line(outcomes: Sequence[Outcome]) -> str:
    """How many of each verdict, and the whole."""
    counts = {verdict: sum(outcome.verdict is verdict for outcome in outcomes) for verdict in Verdict}
    told = ", ".join(f"{count} {verdict_text(verdict)}" for verdict, count in counts.items() if count)
    return f"{told or 'nothing ran'}; the run: {verdict_text(run_verdict(tuple(outcomes)))}"
