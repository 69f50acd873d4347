"""
Where a run happens: an API server, a Prometheus, a Gateway, and the word that is stamped on its evidence.

A target is made here and nowhere else; what uses one cannot tell which it is.
"""

from dataclasses import dataclass
from pathlib import Path

from bench.model.evidence import Fidelity


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One place to run on. An empty URL is to be found by looking, see `bench inspect`."""

    name: str
    kubeconfig: Path | None
    context: str | None
    prometheus_url: str
    gateway_url: str
    fidelity: Fidelity
