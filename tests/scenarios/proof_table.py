"""What a proof on a lab claimed and saw, as a table that is printed and kept under results."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.lab.bench_lab import machine

Row = tuple[str, str, bool]
"""What was claimed, what was seen, and whether that shows it."""


def keep(folder: Path, title: str, rows: Sequence[Row], beside: Mapping[str, Any], *, more: Sequence[str] = ()) -> bool:
    """Print and write the table, further lines and the machine, and `beside` as JSON; whether all rows are shown."""
    on, at = machine(), f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}"
    lines = ["| claim | seen | shown |", "|---|---|---|"]
    lines += [f"| {what} | {seen} | {'yes' if is_shown else 'NO'} |" for what, seen, is_shown in rows]
    text = "\n".join([f"# {title} on a lab (embedded), {at}", "", *lines, *more, "", f"On {json.dumps(on)}.", ""])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{at}.md").write_text(text, encoding="utf-8")
    (folder / f"{at}.json").write_text(json.dumps({"machine": on, **beside}, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(text)
    return all(is_shown for _, _, is_shown in rows)
