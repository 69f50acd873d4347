"""How far exported metrics are from the devices: age, agreement, coverage, attribution; one module a question."""

from bench.analysis.fidelity.summary import Settings, fidelity_readings

__all__ = ["Settings", "fidelity_readings"]
