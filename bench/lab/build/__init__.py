"""Gets the programs that the lab runs: from the cache, from this machine, or built from pinned Go modules."""

from bench.lab.build.making import build, ensure, ensure_for, find, parts_for
from bench.lab.build.progress import Progress, Quiet, Reporter, reporter_for

__all__ = ["Progress", "Quiet", "Reporter", "build", "ensure", "ensure_for", "find", "parts_for", "reporter_for"]
