"""
From readings to a verdict: derive what follows from the readings, then ask every check.

Pure, so that it is the same during a run and from disk years later, with the checks of the day.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.model.check import CheckResult
from bench.model.measurement import Reading, Source
from bench.model.presence import told_away
from bench.model.scenario import Analysed, Scenario
from bench.model.verdict import Verdict, worst

# What arithmetic on odd readings raises. Anything else is a fault of the bench that must be seen.
_ARITHMETIC = (ArithmeticError, ValueError, LookupError, TypeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict with its checks, the readings that were derived on the way, and why where no check gave it."""

    verdict: Verdict
    checks: tuple[CheckResult, ...]
    derived: tuple[Reading, ...] = ()
    reason: str = ""


def judge(scenario: Scenario, readings: Sequence[Reading]) -> Judgement:
    """
    The scenario's checks on the readings; an analysis that breaks is an error of the bench, not of the cluster.

    What an earlier analysis derived and a run kept is left out: it is derived anew.
    """
    measured = tuple(each for each in readings if each.source is not Source.ANALYSIS)
    derived: tuple[Reading, ...] = ()
    if isinstance(scenario, Analysed):
        try:
            derived = tuple(scenario.analyse(measured))
        except _ARITHMETIC as error:
            reason = f"the analysis broke: {type(error).__name__}: {error}"
            return Judgement(verdict=Verdict.ERROR, checks=(), reason=reason)
    known = (*measured, *derived)
    checks = tuple(check.judge(known) for check in scenario.checks())
    reason = told_away(known) if checks else "the scenario has no checks, so nothing is shown"
    return Judgement(verdict=worst(each.verdict for each in checks), checks=checks, derived=derived, reason=reason)
