"""
What to know first of a run: what did not hold, by how much, where, and what to look at next.

Every form of the report begins with it, in the same words.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.model.check import CheckResult
from bench.model.evidence import Outcome, run_verdict
from bench.model.verdict import Verdict
from bench.report.known import number, place_of
from bench.report.stage_words import stage_words

_NOTHING_SAID = "The bench broke; this says nothing about the cluster."
# Worst first; what passed is not told one by one.
_TOLD = (Verdict.ERROR, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.SKIPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that did not pass."""

    scenario: str
    verdict: Verdict
    claim: str
    missed: str
    """By how much, or why it is not known."""
    where: str = ""
    look_at: str = ""


def headline(outcomes: Sequence[Outcome]) -> str:
    """The run in one sentence."""
    checks = [check for outcome in outcomes for check in outcome.checks]
    passed = sum(check.verdict is Verdict.PASS for check in checks)
    count = f"{passed} of {len(checks)} checks passed" if checks else "no check was judged"
    scenarios = {verdict: sum(each.verdict is verdict for each in outcomes) for verdict in Verdict}
    told = ", ".join(f"{number} {verdict.value}" for verdict, number in scenarios.items() if number)
    return f"{run_verdict(tuple(outcomes)).value}: {count}; scenarios: {told or 'nothing ran'}"


def findings(outcomes: Iterable[Outcome]) -> list[Finding]:
    """All that did not pass, the worst first."""
    found = [finding for outcome in outcomes for finding in _of_scenario(outcome)]
    return sorted(found, key=lambda finding: _TOLD.index(finding.verdict))


def _of_scenario(outcome: Outcome) -> Iterator[Finding]:
    if outcome.verdict is Verdict.ERROR or (outcome.verdict is not Verdict.PASS and not outcome.checks):
        yield Finding(
            scenario=outcome.scenario,
            verdict=outcome.verdict,
            claim=outcome.claim,
            missed=outcome.reason or "no reason was given",
            look_at=_NOTHING_SAID if outcome.verdict is Verdict.ERROR else "",
        )
    yield from (_of_check(outcome, check) for check in outcome.checks if check.verdict is not Verdict.PASS)


def _of_check(outcome: Outcome, check: CheckResult) -> Finding:
    return Finding(
        scenario=outcome.scenario,
        verdict=check.verdict,
        claim=check.claim,
        missed=missed(check),
        where=place_of(check.labels),
        look_at=_next(outcome, check),
    )


def _next(outcome: Outcome, check: CheckResult) -> str:
    """The stage's own words where one is named, else the check's; the readings where neither says anything."""
    words = stage_words(check.labels.get("stage", "")).look_at or check.look_at
    if words or check.verdict is not Verdict.FAIL:
        return words
    return f"the readings named {check.measurement} in {outcome.scenario}/readings.jsonl"


def missed(check: CheckResult) -> str:
    """By how much a bound was missed; why it is not known where nothing was observed."""
    if check.observed is None or check.verdict is Verdict.INCONCLUSIVE:
        return check.reason
    observed = f"observed {number(check.observed, check.measurement)}, bound: {check.bound}"
    return observed if check.beyond is None else f"{number(check.beyond, check.measurement)} beyond; {observed}"


def together(found: Iterable[Finding]) -> list[tuple[Finding, ...]]:
    """Findings of one scenario that have the same reason and the same next step, as one: one cause is told once."""

    def cause(each: Finding) -> tuple[str, ...]:
        return (each.scenario, each.verdict.value, each.missed, each.look_at)

    groups: dict[tuple[str, ...], list[Finding]] = {}
    for each in found:
        groups.setdefault(cause(each), []).append(each)
    return [tuple(group) for group in groups.values()]
