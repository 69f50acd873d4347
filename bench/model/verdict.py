"""
The five verdicts, and how parts make a whole.

Two kinds are never mixed: conformance (does it show the requirement) and performance (numbers against a budget).
"""

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """What is known of a claim; `error` says that the bench broke, and accuses nobody."""

    PASS = "pass"  # noqa: S105  (a verdict)
    SKIPPED = "skipped"
    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"
    ERROR = "error"

    @property
    def severity(self) -> int:
        """Place in the order pass, skipped, inconclusive, fail, error."""
        return _ORDER.index(self)

    @property
    def exit_code(self) -> int:
        """What the command line exits with when this is the worst of a run."""
        return {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.ERROR: 4}.get(self, 3)


_ORDER = (Verdict.PASS, Verdict.SKIPPED, Verdict.INCONCLUSIVE, Verdict.FAIL, Verdict.ERROR)


def worst(parts: Iterable[Verdict]) -> Verdict:
    """The worst of the parts; no parts prove nothing, which is inconclusive."""
    return max(parts, key=lambda each: each.severity, default=Verdict.INCONCLUSIVE)
