"""The faults that a lab knows; what each needs beyond being told is in `planters`."""

from typing import Final

from bench.errors import WrongUsage
from bench.lab.faults.declaration import Argument, Fault, Kind

_AUTOSCALING: Final = "pod-autoscaling"

CATALOGUE: Final = (
    Fault(
        name="adapter-down",
        does="No metrics adapter runs: the metrics API answers 503, and the autoscaler is given nothing.",
        must_fail=((_AUTOSCALING, "replicas_short_of_predicted_total"),),
    ),
    Fault(
        name="exporter-slow",
        does="The exporter collects less often than its configuration says, which stays as it is.",
        arguments=(
            Argument(
                name="factor",
                kind=Kind.NUMBER,
                default=10.0,
                help="how many configured intervals pass from one to the next",
            ),
        ),
        must_fail=((_AUTOSCALING, "collect_interval_measured_to_configured_ratio"),),
    ),
)


def get(name: str) -> Fault:
    """The fault of this name; `WrongUsage` that names the way to see those that exist."""
    for fault in CATALOGUE:
        if fault.name == name:
            return fault
    raise WrongUsage(f"There is no fault {name!r}: `bench lab fault list` shows those that exist.")
