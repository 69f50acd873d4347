"""
Build the programs that a lab runs, into the user's cache; what is there already is not built again.

`bench lab up` does the same for what it needs. An interrupted build goes on where it was.
"""

import argparse

from bench.lab import build as lab_build
from bench.lab.build.catalogue import PARTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The parts."""
    known = ", ".join(part.name for part in PARTS)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"without any: what labs commonly need. Known: {known}"
    )
    parser.add_argument("--thorough", action="store_true", help="read every cached file again and compare its SHA-256")


def run(arguments: argparse.Namespace) -> int:
    """Programs and their paths on standard output."""
    for program, path in lab_build.build(arguments.parts, thorough=arguments.thorough).items():
        print(f"{program}\t{path}")
    return 0
