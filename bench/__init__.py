"""
Proof of how GPUs behave on Kubernetes.

This module holds the words that a scenario is written with, and nothing else. Each is loaded when it is first used, so
that a small program of the package does not pay for all of them.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.model import needs
    from bench.model.check import Basis, Check, Kind, Relation, Statistic
    from bench.model.measurement import Absent, Measurement, Reading, Source, Window
    from bench.model.scenario import Footprint, Rig
    from bench.model.units import Unit
    from bench.registry import scenario

_HOMES = {
    "Absent": "bench.model.measurement",
    "Basis": "bench.model.check",
    "Check": "bench.model.check",
    "Footprint": "bench.model.scenario",
    "Kind": "bench.model.check",
    "Measurement": "bench.model.measurement",
    "Reading": "bench.model.measurement",
    "Relation": "bench.model.check",
    "Rig": "bench.model.scenario",
    "Source": "bench.model.measurement",
    "Statistic": "bench.model.check",
    "Unit": "bench.model.units",
    "Window": "bench.model.measurement",
    "scenario": "bench.registry",
}

__all__ = [
    "Absent",
    "Basis",
    "Check",
    "Footprint",
    "Kind",
    "Measurement",
    "Reading",
    "Relation",
    "Rig",
    "Source",
    "Statistic",
    "Unit",
    "Window",
    "needs",
    "scenario",
]


def __getattr__(name: str) -> Any:
    if name == "needs":
        return importlib.import_module("bench.model.needs")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
