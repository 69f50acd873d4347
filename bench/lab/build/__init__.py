"""
Gets the programs that the lab runs: from the cache, from this machine, or built from pinned Go modules.

What only looks (`find`, `parts_for`) is loaded at once; what builds is loaded by its first use, because the lab's
processes never build.
"""

import importlib
from typing import TYPE_CHECKING, Any

from bench.lab.build.finding import find, parts_for

if TYPE_CHECKING:
    from bench.lab.build.making import build, ensure, ensure_for
    from bench.lab.build.progress import Progress, Quiet, Reporter, reporter_for

__all__ = ["Progress", "Quiet", "Reporter", "build", "ensure", "ensure_for", "find", "parts_for", "reporter_for"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "making" if name in {"build", "ensure", "ensure_for"} else "progress"
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
