"""A cluster as a target: a context of a kubeconfig, and the addresses that only its owner knows."""

from pathlib import Path

from bench.model.evidence import Fidelity
from bench.targets import Target


def cluster_target(
    context: str, *, kubeconfig: Path | None = None, prometheus_url: str = "", gateway_url: str = ""
) -> Target:
    """The context, not yet looked at: it is opened by who uses it."""
    return Target(
        name=context,
        kubeconfig=kubeconfig,
        context=context,
        prometheus_url=prometheus_url,
        gateway_url=gateway_url,
        fidelity=Fidelity.CLUSTER,
    )
