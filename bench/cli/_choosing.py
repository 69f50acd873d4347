"""The options by which a verb is told its scenarios and their parameters; the same for every verb that takes them."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from bench.plan import Settings, parse_settings
from bench.registry import Declaration, Registry, discover


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The scenarios that were asked for, what was set of them, and the registry that they are from."""

    registry: Registry
    declarations: Sequence[Declaration]
    settings: Settings


def add_scenario_arguments(parser: argparse.ArgumentParser) -> None:
    """The scenarios and `--set`."""
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO", help="ids as `bench list` shows them; none: all")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SCENARIO.KEY=VALUE", help="a parameter; may be given again"
    )


def chosen(arguments: argparse.Namespace) -> Chosen:
    """
    The scenarios that were named, each once, or all.

    Raises:
        UnknownScenario: there is none of that name.
        BadParameter: a setting of another form, or of a scenario that was not named.

    """
    registry = discover()
    named = dict.fromkeys(arguments.scenario)
    declarations = [registry.get(each) for each in named] if named else list(registry)
    settings = parse_settings(arguments.set, declarations)
    return Chosen(registry=registry, declarations=declarations, settings=settings)
