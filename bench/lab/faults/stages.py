"""The stages between load and relief that can be slowed down, by the names that a timeline has for them."""

from typing import Final

STAGES: Final = (
    "exporter",
    "prometheus",
    "metrics-api",
    "decision",
    "pod-created",
    "scheduled",
    "started",
    "ready",
    "serving",
    "pod-deleted",
    "last-answer",
    "device-free",
)
"""Not the device's own, which is physical, and not the node's: a lab of fixed size waits for none."""
