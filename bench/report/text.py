"""
A run for the terminal: the stamp, what did not hold and where to look, each scenario with its checks, what to mind.

Verdicts are words; colour only repeats them.
"""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from bench.evidence.reader import StoredRun
from bench.model.check import Basis, CheckResult
from bench.model.evidence import Outcome
from bench.model.verdict import Verdict
from bench.report.document import stamp
from bench.report.known import number, place_of
from bench.report.summary import Finding, findings, headline, together

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
    yield from render_findings(run.outcomes)
    for outcome in run.outcomes:
        yield ""
        yield from render_outcome(outcome)
    if run.warnings:
        yield ""
        yield from (f"[yellow]mind:[/] {escape(warning)}" for warning in run.warnings)
    yield ""
    yield escape(headline(run.outcomes))


def render_findings(outcomes: Sequence[Outcome]) -> Iterator[RenderableType]:
    """What did not hold: by how much, where, and what to look at next; nothing where all passed."""
    groups = together(findings(outcomes))
    if groups:
        yield ""
        yield "[bold]What did not hold, and where to look[/]"
    for group in groups:
        yield _finding(group)


def _finding(group: Sequence[Finding]) -> RenderableType:
    first = group[0]
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    table.add_column(justify="right", min_width=12)
    table.add_column(overflow="fold")
    table.add_row(verdict_text(first.verdict), f"{escape(first.scenario)}: [bold]{escape(first.claim)}[/]")
    for other in group[1:]:
        table.add_row("[dim]and[/]", f"[bold]{escape(other.claim)}[/]")
    table.add_row("[dim]by[/]" if first.verdict is Verdict.FAIL else "[dim]why[/]", escape(first.missed))
    where = "; ".join(dict.fromkeys(each.where for each in group if each.where))
    for heading, words in (("where", where), ("look at", first.look_at)):
        if words:
            table.add_row(f"[dim]{heading}[/]", escape(words))
    return table


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
    for check in checks:
        claim = escape(check.claim) + ("[dim] (ours, stricter)[/]" if check.basis is Basis.OURS else "")
        if check.verdict is not Verdict.PASS:
            where = place_of(check.labels)
            claim += f"\n[dim]{escape(check.reason)}{escape(f', at {where}' if where else '')}[/]"
        observed = "-" if check.observed is None else number(check.observed, check.measurement)
        table.add_row(f"  {verdict_text(check.verdict)}", claim, observed, escape(check.bound))
    return table
