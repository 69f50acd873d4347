"""
The sections of a scenario's report, in their order; one module each.

A section is driven by the names of readings and not by the scenario: where there are no such readings, it is not there.
"""

from collections.abc import Callable, Iterator

from bench.report.blocks import Block, Prose, Section, Table
from bench.report.known import Known
from bench.report.sections import (
    absences,
    advice,
    attempts,
    attribution,
    latencies,
    numbers,
    reach,
    reactions,
    stages,
    timeline,
    truth,
    verdicts,
)

_SECTIONS: tuple[tuple[str, Callable[[Known], Iterator[Block]], bool], ...] = (
    ("Checks", verdicts.blocks, False),
    ("In numbers", numbers.blocks, False),
    ("What happened", timeline.blocks, True),
    ("Stages", stages.blocks, False),
    ("Reaction times", reactions.blocks, True),
    ("Which replica counts can be reached", reach.blocks, True),
    ("Latencies", latencies.blocks, False),
    ("What was seen and tried", attempts.blocks, False),
    ("Truth against samples", truth.blocks, False),
    ("Whose device it was", attribution.blocks, False),
    ("What to change", advice.blocks, False),
    ("Looked for and absent", absences.blocks, True),
)


def sections_of(known: Known) -> Iterator[Section]:
    """What there is to tell of the scenario."""
    for title, blocks, is_long in _SECTIONS:
        told = [block for block in blocks(known) if not (isinstance(block, Prose) and not block.text)]
        if told:
            yield Section(title=title, blocks=told, is_first=blocks is verdicts.blocks, is_long=is_long)
    parameters = known.outcome.parameters
    if parameters:
        rows = tuple((name, value) for name, value in parameters.items())
        table = Table(headings=("name", "value"), rows=rows, is_named=True)
        yield Section(title="Parameters", blocks=[table], is_long=True)
