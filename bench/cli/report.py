"""
Tell a stored run, as text, JSON, JUnit, HTML or Markdown.

Reads the folder of the run and nothing else. The exit code is 0 when the report was written, whatever it tells.
"""

import argparse
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

from rich.console import Console

from bench.errors import WrongUsage
from bench.evidence.reader import StoredRun, find_run, load_run
from bench.report.document import run_document
from bench.report.junit import render_junit
from bench.report.text import render_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("run", metavar="RUN", help="id of a run, or its folder")
    parser.add_argument("--as", dest="form", choices=sorted(_FORMS), default="text", help="default: text")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there instead of to standard output")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="where runs lie")


def run(arguments: argparse.Namespace) -> int:
    """Tell."""
    stored = load_run(find_run(arguments.run, arguments.results))
    if arguments.form == "text" and arguments.out is None:
        Console().print(render_run(stored))
        return 0
    told = _FORMS[arguments.form](stored)
    if arguments.out is None:
        sys.stdout.write(told)
        return 0
    try:
        arguments.out.write_text(told, encoding="utf-8")
    except OSError as error:
        raise WrongUsage(f"{arguments.out} cannot be written: {error.strerror}. Name another file.") from error
    return 0


def _text(stored: StoredRun) -> str:
    page = StringIO()
    Console(file=page, width=120, no_color=True).print(render_run(stored))
    return page.getvalue()


def _json(stored: StoredRun) -> str:
    return json.dumps(run_document(stored.record, stored.outcomes, stored.folder, stored.warnings), indent=1) + "\n"


def _module(name: str) -> Callable[[StoredRun], str]:
    """A form that is loaded when it is asked for: its libraries are slow to load."""

    def render(stored: StoredRun) -> str:
        told: str = importlib.import_module(f"bench.report.{name}").render(stored)
        return told

    return render


_FORMS: dict[str, Callable[[StoredRun], str]] = {
    "text": _text,
    "json": _json,
    "junit": render_junit,
}
# Forms with libraries of their own.
_FORMS |= {name: _module(name) for name in ("html", "markdown") if importlib.util.find_spec(f"bench.report.{name}")}
