"""
Finds the verbs of a command: every module beside this one is one, a package is a verb with verbs of its own. A module
whose name begins with an underscore serves the others.

A verb's module has a docstring (its first line is the help), ``add_arguments(parser)`` and ``run(arguments) -> int``.
Only the module of the verb that was asked for is imported: `bench lab status` does not wait for numpy.
"""

import argparse
import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import NoReturn

from bench.errors import WrongUsage


class _Refusing(argparse.ArgumentParser):
    """Tells what was wrong in one sentence; the options are what `--help` is for."""

    def error(self, message: str) -> NoReturn:
        raise WrongUsage(f"{message}; `{self.prog} --help` lists what can be said")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A command and the package that holds its verbs."""

    program: str
    package: str

    def names(self) -> dict[str, str]:
        """Verb → module."""
        path = importlib.import_module(self.package).__path__
        found = (each.name for each in pkgutil.iter_modules(path))
        return {name.replace("_", "-"): name for name in sorted(found) if not name.startswith("_")}


def run(tree: Tree, argv: Sequence[str]) -> int:
    """Parse and run the verb named first; usage errors exit with 2 (argparse)."""
    names = tree.names()
    if not argv or argv[0] not in names:
        return _explain(tree, names, argv)
    verb = argv[0]
    module = importlib.import_module(f"{tree.package}.{names[verb]}")
    if hasattr(module, "__path__"):
        return run(Tree(program=f"{tree.program} {verb}", package=module.__name__), argv[1:])
    parser = _Refusing(
        prog=f"{tree.program} {verb}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    status: int = module.run(parser.parse_args(argv[1:]))
    return status


def _explain(tree: Tree, names: dict[str, str], argv: Sequence[str]) -> int:
    """The list of verbs, or what was wrong about the one that was asked for."""
    package = importlib.import_module(tree.package)
    parser = argparse.ArgumentParser(prog=tree.program, description=package.__doc__, allow_abbrev=False)
    subparsers = parser.add_subparsers(metavar="VERB", required=True)
    for verb, name in names.items():
        subparsers.add_parser(verb, help=_first_line(importlib.import_module(f"{tree.package}.{name}")))
    parser.parse_args(argv)
    return 2


def _first_line(module: ModuleType) -> str:
    return (module.__doc__ or "").strip().partition("\n")[0].rstrip(".").replace("%", "%%")
