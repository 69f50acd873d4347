"""The checks of a scenario: claim, what was observed, the bound with its reason, and who demands it."""

from collections.abc import Iterator

from bench.model.check import Basis, CheckResult, Kind
from bench.model.verdict import Verdict
from bench.report.blocks import Block, Cell, Table, verdict_cell
from bench.report.known import Known, number, place_of

_BASES = {
    Basis.CHECKLIST: "checklist",
    Basis.KAR: "KAR",
    Basis.UPSTREAM_TEST: "upstream test",
    Basis.OURS: "ours, stricter",
}


def blocks(known: Known) -> Iterator[Block]:
    """One table."""
    if known.outcome.checks:
        headings = ("verdict", "check", "observed", "bound", "basis")
        yield Table(headings=headings, rows=[_row(each) for each in known.outcome.checks])


def _row(check: CheckResult) -> tuple[Cell | str, ...]:
    where = place_of(check.labels)
    told = [f"because: {check.because}"]
    if check.verdict is not Verdict.PASS:
        told = [check.reason, *([f"at {where}"] if where else []), *told]
    observed = "-" if check.observed is None else number(check.observed, check.measurement)
    return (
        verdict_cell(check.verdict),
        Cell(text=check.claim, note=". ".join(told)),
        observed,
        check.bound,
        Cell(text=_BASES[check.basis], note=check.kind.value if check.kind is Kind.PERFORMANCE else ""),
    )
