"""Clear one fault of a running lab, or all of them; returns when everything is as it was."""

import argparse
import sys

from bench.lab import names
from bench.lab.faults import planting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The fault, and the lab."""
    parser.add_argument("fault", nargs="?", metavar="NAME", help="without it: all that are planted")
    parser.add_argument("--name", default="default", help="the lab")


def run(arguments: argparse.Namespace) -> int:
    """Success also when it was not planted."""
    cleared = planting.clear(names.checked(arguments.name), arguments.fault)
    for each in cleared:
        print(f"cleared in lab {arguments.name}: {each}", file=sys.stderr)
    if not cleared:
        what = f"the fault {arguments.fault} is not" if arguments.fault else "no fault is"
        print(f"{what} planted in lab {arguments.name}: nothing to do", file=sys.stderr)
    return 0
