"""Programs that are on this machine already: official release binaries in the folder BENCH_LAB_ASSETS, or on PATH."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.lab.build.catalogue import Part, VersionQuestion
from bench.lab.build.progress import Reporter

ANSWER_SECONDS: Final = 20.0


def find_assets(part: Part, report: Reporter) -> Mapping[str, Path] | None:
    """All programs of the part, each of a version that serves; `None` if one is missing or too old (then said)."""
    if not part.questions or set(part.questions) != set(part.programs):
        return None
    found: dict[str, Path] = {}
    for program, question in part.questions.items():
        path = _find(program)
        if path is None:
            return None
        answer = _ask(path, question)
        if not re.search(question.answer, answer):
            first = answer.strip().splitlines()[0] if answer.strip() else "nothing"
            report.say(f"{path} is not used: asked for its version it says {first!r}, {part.version} is needed")
            return None
        found[program] = path
    report.say(f"{part.name}: using {', '.join(str(path) for path in found.values())}")
    return found


def _find(program: str) -> Path | None:
    folder = os.environ.get("BENCH_LAB_ASSETS")
    path = (folder and shutil.which(program, path=folder)) or shutil.which(program)
    return Path(path).absolute() if path else None


def _ask(path: Path, question: VersionQuestion) -> str:
    try:
        done = subprocess.run(
            [path, *question.arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=ANSWER_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout + done.stderr
