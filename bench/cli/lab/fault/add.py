"""
Plant a fault in a running lab; returns when it is in effect.

It stays until `bench lab fault clear`, or until the lab goes down.
"""

import argparse
import sys

from bench.errors import WrongUsage
from bench.lab import names
from bench.lab.faults import planting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The fault, its arguments, and the lab."""
    parser.add_argument("fault", metavar="NAME", help="one of `bench lab fault list`")
    parser.add_argument("given", nargs="*", metavar="KEY=VALUE", help="its arguments; each has one value")
    parser.add_argument("--name", default="default", help="the lab")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 2 for a fault or an argument that is none."""
    there = planting.plant(names.checked(arguments.name), arguments.fault, _pairs(arguments.given))
    print(f"planted in lab {arguments.name}: {there}", file=sys.stderr)
    return 0


def _pairs(given: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals or not key:
            raise WrongUsage(f"{each!r} is no argument of a fault: write KEY=VALUE.")
        if key in pairs:
            raise WrongUsage(f"The argument {key} is given twice.")
        pairs[key] = value
    return pairs
