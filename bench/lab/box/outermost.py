"""
The two processes of a lab that have a number on the host worth knowing: its keeper, and PID 1 as seen from outside.

Asking the lab is better; this is for one that does not answer.
"""

import contextlib
import os
import signal
from pathlib import Path
from typing import Final

_FILE: Final = "keeper.pid"


def write(root: Path, *, keeper: int, first_process: int) -> None:
    """By the keeper, once it has a child."""
    (root / _FILE).write_text(f"{keeper} {first_process}\n", encoding="ascii")


def kill(root: Path) -> None:
    """
    End PID 1, and with it everything inside.

    Its keeper lives on and cleans up. A number that meanwhile belongs to a process of someone else is left alone: its
    command line does not name this lab's folder.
    """
    try:
        _, first_process = (root / _FILE).read_text(encoding="ascii").split()
        command = Path(f"/proc/{first_process}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return
    if os.fsencode(root) in command:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(first_process), signal.SIGKILL)
