"""How far exported metrics are from the devices: age, agreement, coverage, attribution; one module a question."""

from bench.analysis.fidelity.checks import checks
from bench.analysis.fidelity.devices import HOLDING, scrape_interval_seconds
from bench.analysis.fidelity.holders import holder_readings
from bench.analysis.fidelity.looking import LOOK_AT
from bench.analysis.fidelity.placing import alone, crowded, is_shared
from bench.analysis.fidelity.summary import Settings, fidelity_readings
from bench.analysis.fidelity.view import METRIC

__all__ = [
    "HOLDING",
    "LOOK_AT",
    "METRIC",
    "Settings",
    "alone",
    "checks",
    "crowded",
    "fidelity_readings",
    "holder_readings",
    "is_shared",
    "scrape_interval_seconds",
]
