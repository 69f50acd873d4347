"""
The plan: what would run, with which parameters, and why the rest would not.

Pure: made of declarations, settings and an inventory; nothing is touched, so a plan can be shown, tested and refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bench.errors import BadParameter
from bench.model.evidence import Plan, Step
from bench.model.inventory import Inventory
from bench.model.rights import Right, Rights, distinct
from bench.model.scenario import Weighed
from bench.registry import Declaration, parameter_text

Settings = Mapping[str, Mapping[str, str]]


def parse_settings(assignments: Iterable[str], declarations: Sequence[Declaration]) -> dict[str, dict[str, str]]:
    """
    ``scenario.key=value`` as given with ``--set``, by scenario.

    Raises:
        BadParameter: not of that form, or a scenario that is not among the chosen.

    """
    settings: dict[str, dict[str, str]] = {}
    chosen = {declaration.id for declaration in declarations}
    for assignment in assignments:
        place, equals, value = assignment.partition("=")
        scenario_id, dot, key = place.strip().partition(".")
        if not (equals and dot and scenario_id and key):
            raise BadParameter(f"--set {assignment!r}: the form is scenario.key=value.")
        if scenario_id not in chosen:
            names = ", ".join(sorted(chosen)) or "none"
            raise BadParameter(f"--set {assignment!r}: {scenario_id!r} is not among the chosen scenarios ({names}).")
        settings.setdefault(scenario_id, {})[key] = value
    return settings


def make_plan(declarations: Sequence[Declaration], settings: Settings, inventory: Inventory) -> Plan:
    """
    One step a declaration, in their order.

    Raises:
        BadParameter: a parameter that a scenario does not have, or a value that it does not take.

    """
    steps = [_step(declaration, settings.get(declaration.id, {}), inventory) for declaration in declarations]
    return Plan(steps=tuple(steps))


def _step(declaration: Declaration, settings: Mapping[str, str], inventory: Inventory) -> Step:
    scenario = declaration.make(settings)
    reasons = (need.unmet_by(inventory) for need in scenario.needs())
    return Step(
        scenario=declaration.id,
        requirement=declaration.requirement,
        claim=declaration.claim,
        parameters={each.name: parameter_text(getattr(scenario, each.name)) for each in declaration.parameters},
        unmet=tuple(reason for reason in reasons if reason),
        footprint=scenario.footprint() if isinstance(scenario, Weighed) else None,
    )


def rights_of(steps: Iterable[Step]) -> Rights:
    """What the scenarios of these steps use, each right once."""
    return distinct(right for step in steps if step.footprint for right in step.footprint.all_rights)


def without_rights(plan: Plan, missing: Iterable[Right]) -> Plan:
    """The plan when these rights are missing: what uses one of them cannot run."""
    lacking = frozenset(missing)
    return Plan(steps=tuple(_without(step, lacking) for step in plan.steps))


def _without(step: Step, missing: frozenset[Right]) -> Step:
    found = [right for right in rights_of([step]) if right in missing]
    if not found:
        return step
    return replace(step, unmet=(*step.unmet, missing_text(found)))


def missing_text(missing: Sequence[Right]) -> str:
    """A sentence that names the first right with verb and resource, and how many more there are."""
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    return f"the right to {missing[0]} is missing{more}"
