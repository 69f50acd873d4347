"""
A run as JUnit XML: a suite a scenario, a case a check.

Not named ``junit.xml`` by us anywhere: that name belongs to the programme's own test suite.
"""

import re
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree as ET

from bench.evidence.reader import StoredRun
from bench.model.check import CheckResult
from bench.model.evidence import Outcome
from bench.model.verdict import Verdict
from bench.report.document import stamp
from bench.report.known import place_of
from bench.report.summary import missed


def render_junit(run: StoredRun) -> str:
    """The document; a scenario without checks is one case with its verdict, so that nothing goes missing."""
    root = ET.Element("testsuites", name=f"bench {run.record.run_id}")
    for outcome in run.outcomes:
        root.append(_suite(run, outcome))
    for element, totals in ((each, _totals(each)) for each in [root, *root]):
        element.attrib.update(totals)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + _legal(ET.tostring(root, encoding="unicode")) + "\n"


def _suite(run: StoredRun, outcome: Outcome) -> ET.Element:
    suite = ET.Element(
        "testsuite",
        name=outcome.scenario,
        timestamp=outcome.started.replace(tzinfo=None).isoformat(timespec="seconds"),
        time=f"{(outcome.ended - outcome.started).total_seconds():.3f}",
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(run, outcome):
        ET.SubElement(properties, "property", name=name, value=value)
    for check in outcome.checks:
        suite.append(_case(outcome, check))
    if not outcome.checks or outcome.verdict in (Verdict.ERROR, Verdict.SKIPPED):
        suite.append(_verdict_case(outcome))
    return suite


def _properties(run: StoredRun, outcome: Outcome) -> Iterator[tuple[str, str]]:
    yield "fidelity", run.record.fidelity.value
    if stamp(run.record):
        yield "stamp", stamp(run.record)
    yield "requirement", outcome.requirement
    yield "server_version", run.record.server_version
    yield "is_complete", str(outcome.is_complete).lower()
    for name, value in outcome.parameters.items():
        yield f"parameter.{name}", value


def _case(outcome: Outcome, check: CheckResult) -> ET.Element:
    case = ET.Element("testcase", classname=outcome.scenario, name=check.claim)
    where = place_of(check.labels)
    told = {
        "missed": missed(check),
        "where": where,
        "look at": check.look_at,
        "because": check.because,
        "basis": check.basis.value,
        "measurement": check.measurement,
    }
    _mark(case, check.verdict, f"{check.reason}{f', at {where}' if where else ''} [basis: {check.basis}]", told)
    return case


def _verdict_case(outcome: Outcome) -> ET.Element:
    case = ET.Element("testcase", classname=outcome.scenario, name=outcome.claim)
    _mark(case, outcome.verdict, outcome.reason or outcome.verdict.value, {})
    return case


# JUnit has no word for "not known": it is told as skipped, since neither the cluster nor the bench failed.
_MARKS = {
    Verdict.FAIL: "failure",
    Verdict.ERROR: "error",
    Verdict.SKIPPED: "skipped",
    Verdict.INCONCLUSIVE: "skipped",
}


def _mark(case: ET.Element, verdict: Verdict, message: str, details: Mapping[str, str]) -> None:
    if verdict in _MARKS:
        told = message if verdict is not Verdict.INCONCLUSIVE else f"inconclusive: {message}"
        element = ET.SubElement(case, _MARKS[verdict], message=told, type=verdict.value)
        element.text = "\n".join(f"{name}: {value}" for name, value in details.items() if value) or None


def _totals(element: ET.Element) -> dict[str, str]:
    cases = element.findall(".//testcase")
    return {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
        "skipped": str(sum(case.find("skipped") is not None for case in cases)),
    }


# What XML 1.0 cannot hold at all: control characters, halves of surrogate pairs, and two that are no characters.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def _legal(text: str) -> str:
    """Readable XML whatever a pod wrote into its log."""
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)
