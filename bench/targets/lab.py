"""A running lab as a target. Everything that a lab run leaves behind is stamped embedded."""

from bench.lab import status
from bench.model.evidence import Fidelity
from bench.targets import Target


def lab_target(name: str) -> Target:
    """The lab of this name. Raises `LabNotRunning`."""
    found = status.read(name)
    return Target(
        name=f"lab {name}",
        kubeconfig=found.kubeconfig,
        context=None,
        prometheus_url=found.prometheus_url,
        gateway_url=found.gateway_url,
        fidelity=Fidelity.EMBEDDED,
    )
