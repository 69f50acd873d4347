"""
A run as one HTML page that needs nothing beside it.

The stamp comes first, then what did not hold and where to look, then each scenario. No script and no font from
elsewhere; narrow screens and paper get the same text. The page itself is `page.html`, a Jinja template that escapes all
that it is given but figures, which are drawn here and escape their own words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from bench.evidence.reader import StoredRun
from bench.model.evidence import Outcome, run_verdict
from bench.report.blocks import Block, Cell, Code, Picture, Prose, Section, Table, verdict_cell
from bench.report.document import stamp
from bench.report.known import Known
from bench.report.reproduce import command, facts
from bench.report.sections import sections_of
from bench.report.summary import Finding, findings, headline


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """One scenario of the page."""

    outcome: Outcome
    sections: Sequence[Section]


def render(run: StoredRun) -> str:
    """The page."""
    warnings = list(run.warnings)
    chapters = [
        Chapter(
            outcome=outcome,
            sections=tuple(sections_of(Known(outcome, run.readings(outcome.scenario, warnings)))),
        )
        for outcome in run.outcomes
    ]
    found = findings(run.outcomes)
    return _page().render(
        run=run,
        stamp=stamp(run.record),
        verdict=run_verdict(run.outcomes),
        headline=headline(run.outcomes),
        findings=_findings(found) if found else None,
        scenarios=_scenarios(run.outcomes),
        chapters=chapters,
        warnings=warnings,
        command=command(run),
        facts=Table(headings=("what", "value"), rows=list(facts(run).items()), is_named=True),
    )


def _page() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["kind"] = _kind
    environment.filters["drawn"] = Markup  # of our own figures only
    return environment.get_template("page.html")


_KINDS: dict[type, str] = {Table: "table", Picture: "picture", Prose: "prose", Code: "code"}


def _kind(block: Block) -> str:
    return _KINDS[type(block)]


def _findings(found: Sequence[Finding]) -> Table:
    return Table(
        headings=("verdict", "what", "by how much, or why", "where", "look at"),
        rows=[
            (
                verdict_cell(each.verdict),
                Cell(text=each.claim, note=each.scenario),
                each.missed,
                each.where or "-",
                each.look_at or "-",
            )
            for each in found
        ],
    )


def _scenarios(outcomes: Sequence[Outcome]) -> Table:
    return Table(
        headings=("verdict", "scenario", "requirement", "claim"),
        rows=[
            (
                verdict_cell(outcome.verdict),
                Cell(text=outcome.scenario, href=f"#{outcome.scenario}"),
                outcome.requirement or "-",
                outcome.claim,
            )
            for outcome in outcomes
        ],
    )
