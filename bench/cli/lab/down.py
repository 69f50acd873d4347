"""
Take a lab down; returns when nothing of it is left.

A lab that hangs is ended, and what one that was killed left behind is removed.
"""

import argparse
import sys

from bench.lab import names
from bench.lab.down import Outcome, take_down

_TOLD = {
    Outcome.WENT_DOWN: "lab {name} is down",
    Outcome.WAS_DEAD: "lab {name} was killed before; what it left has been removed",
    Outcome.WAS_NOT_THERE: "no lab {name} is running: nothing to do",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The lab."""
    parser.add_argument("--name", default="default")


def run(arguments: argparse.Namespace) -> int:
    """Success whenever no such lab is there in the end."""
    name = names.checked(arguments.name)
    print(_TOLD[take_down(name)].format(name=name), file=sys.stderr)
    return 0
