"""The options by which a verb names its target; the same for every verb that has one."""

import argparse
from pathlib import Path

from bench.targets import Target
from bench.targets.kubeconfig import cluster_target
from bench.targets.lab import lab_target


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """`--target` and what goes with it. A real cluster is never the default."""
    group = parser.add_argument_group("target")
    group.add_argument(
        "--target",
        default="lab",
        metavar="lab|CONTEXT",
        help="`lab` (default), `lab:NAME` for a lab of that name, or a context of the kubeconfig",
    )
    group.add_argument("--kubeconfig", type=Path, metavar="FILE", help="instead of $KUBECONFIG or ~/.kube/config")
    group.add_argument("--prometheus", default="", metavar="URL", help="instead of looking for its Service")
    group.add_argument("--gateway", default="", metavar="URL", help="instead of the Gateway's own address")


def target_of(arguments: argparse.Namespace) -> Target:
    """The target that was named. Raises `LabNotRunning` where a lab was named that does not run."""
    kind, _, name = arguments.target.partition(":")
    if kind == "lab":
        return lab_target(name or "default")
    return cluster_target(
        arguments.target,
        kubeconfig=arguments.kubeconfig,
        prometheus_url=arguments.prometheus,
        gateway_url=arguments.gateway,
    )
