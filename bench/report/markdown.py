"""
A run as Markdown, for an issue or a merge request: the stamp, what did not hold, and each scenario's short sections.

Pictures, and what is long (absences, parameters), are left to the page; what is beside the checks is folded away.
"""

import re
from collections.abc import Iterator, Sequence
from html import escape

from bench.evidence.reader import StoredRun
from bench.model.evidence import Outcome, run_verdict
from bench.model.verdict import Verdict
from bench.report.blocks import Block, Cell, Code, Prose, Section, Table
from bench.report.document import stamp
from bench.report.known import Known
from bench.report.reproduce import command, facts
from bench.report.sections import sections_of
from bench.report.summary import Finding, findings, headline

# What would be read as markup, as a mention of somebody, or as the end of a cell.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~@])")


def render(run: StoredRun) -> str:
    """The text."""
    return "\n".join(_parts(run)) + "\n"


def _parts(run: StoredRun) -> Iterator[str]:
    record = run.record
    yield f"## bench run {_plain(record.run_id)}: {run_verdict(run.outcomes).value}"
    yield ""
    if stamp(record):
        yield f"> **{_plain(stamp(record))}**"
        yield ""
    yield f"{_plain(headline(run.outcomes))}. On {_plain(record.target)}, Kubernetes {_plain(record.server_version)}."
    yield from _findings(findings(run.outcomes))
    warnings = list(run.warnings)
    for outcome in run.outcomes:
        yield from _scenario(outcome, Known(outcome, run.readings(outcome.scenario, warnings)))
    if warnings:
        yield from ("", "### To mind", "", *(f"- {_plain(each)}" for each in warnings))
    yield from ("", "### Do it again", "", *_code(command(run)), "")
    yield ", ".join(f"{_plain(name)} {_plain(value)}" for name, value in facts(run).items())


def _findings(found: Sequence[Finding]) -> Iterator[str]:
    if not found:
        return
    yield from ("", "**What did not hold, and where to look**", "")
    for each in found:
        yield f"- **{each.verdict.value}** {_plain(each.claim)} (`{each.scenario}`): {_plain(each.missed)}"
        if each.where:
            yield f"  - where: {_plain(each.where)}"
        if each.look_at:
            yield f"  - look at: {_plain(each.look_at)}"


def _scenario(outcome: Outcome, known: Known) -> Iterator[str]:
    yield from ("", f"### {_plain(outcome.scenario)}: {outcome.verdict.value}", "", _plain(outcome.claim))
    if outcome.reason:
        yield from ("", f"**{_plain(outcome.reason)}**")
    for section in sections_of(known):
        if section.is_long:
            continue
        if section.is_first:
            yield from _blocks(section)
        else:
            yield from ("", f"<details><summary>{escape(section.title)}</summary>", *_blocks(section), "", "</details>")


def _blocks(section: Section) -> Iterator[str]:
    for block in section.blocks:
        told = list(_block(block))
        if told:
            yield from ("", *told)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Table():
            yield from _table(block)
        case Prose(text=text, is_strong=is_strong):
            yield f"**{_plain(text)}**" if is_strong else _plain(text)
        case Code(text=text):
            yield from _code(text)


def _table(table: Table) -> Iterator[str]:
    if table.caption:
        yield from (f"{_plain(table.caption)}:", "")
    yield f"| {' | '.join(_plain(each) for each in table.headings)} |"
    yield f"|{'---|' * len(table.headings)}"
    for row in table.cells():
        yield f"| {' | '.join(_cell(each) for each in row)} |"


def _cell(cell: Cell) -> str:
    is_told = cell.verdict is not None and cell.verdict is not Verdict.PASS
    words = f"**{cell.text}**" if is_told else _plain(cell.text)
    if cell.is_code:
        words = f"`{cell.text.replace('|', ' ').replace('`', ' ')}`"
    return f"{words}<br><sub>{_plain(cell.note)}</sub>" if cell.note else words


def _code(text: str) -> Iterator[str]:
    yield from ("```console", text, "```")


def _plain(text: str) -> str:
    """Words of a cluster as words: no markup, no mention, no line break."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split())).replace("\\@", "@\N{ZERO WIDTH SPACE}")
