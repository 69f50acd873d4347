"""
Proof of how GPUs behave on Kubernetes.

This module holds the words that a scenario is written with, and nothing else. They are fetched when they are asked for:
every process of a lab imports this package, and needs none of them.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bench.analysis import autoscaling, fidelity, isolation
    from bench.errors import BadParameter, BenchError
    from bench.model import needs, rights
    from bench.model.check import Basis, Check, Kind, Relation, Statistic
    from bench.model.inventory import Inventory
    from bench.model.measurement import Absent, Measurement, Reading, Source, Window
    from bench.model.scenario import Footprint, LoadWorkers, Rig, ScaledMetric
    from bench.model.units import Unit, kubernetes_quantity
    from bench.registry import scenario

__all__ = [
    "Absent",
    "BadParameter",
    "Basis",
    "BenchError",
    "Check",
    "Footprint",
    "Inventory",
    "Kind",
    "LoadWorkers",
    "Measurement",
    "Reading",
    "Relation",
    "Rig",
    "ScaledMetric",
    "Source",
    "Statistic",
    "Unit",
    "Window",
    "autoscaling",
    "fidelity",
    "isolation",
    "kubernetes_quantity",
    "needs",
    "rights",
    "scenario",
]

_HOMES: Final = {
    "bench.analysis": ("autoscaling", "fidelity", "isolation"),
    "bench.model": ("needs", "rights"),
    "bench.model.check": ("Basis", "Check", "Kind", "Relation", "Statistic"),
    "bench.model.inventory": ("Inventory",),
    "bench.model.measurement": ("Absent", "Measurement", "Reading", "Source", "Window"),
    "bench.errors": ("BadParameter", "BenchError"),
    "bench.model.scenario": ("Footprint", "LoadWorkers", "Rig", "ScaledMetric"),
    "bench.model.units": ("Unit", "kubernetes_quantity"),
    "bench.registry": ("scenario",),
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if home in ("bench.analysis", "bench.model"):
        return importlib.import_module(f"{home}.{name}")
    return getattr(importlib.import_module(home), name)
