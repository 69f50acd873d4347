"""
The truth log: what really happened in a lab, one JSON object a line.

Written by the lab's processes, read by tests. Product code never reads it: a contract in pyproject.toml says so.
"""

import json
import os
import time
from pathlib import Path
from typing import Any


class TruthLog:
    """Appends events; several processes may write to one file, each line is one `write` below PIPE_BUF."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def write(self, event: str, **facts: Any) -> None:
        """One event, stamped with CLOCK_MONOTONIC and UTC of this machine, both in seconds."""
        line = {"event": event, "monotonic_seconds": time.monotonic(), "utc_seconds": time.time(), **facts}
        os.write(self._fd, (json.dumps(line, separators=(",", ":")) + "\n").encode())

    def close(self) -> None:
        os.close(self._fd)
