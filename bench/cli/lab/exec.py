"""
Run a command against a lab: KUBECONFIG, PROMETHEUS_URL and GATEWAY_URL are set, and kubectl is the lab's.

With --inside, the command runs in the lab's namespaces, where its processes, its network and its mounts are seen.
"""

import argparse

from bench.errors import WrongUsage
from bench.lab import exec as lab_exec
from bench.lab import names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The lab, where, and the command."""
    parser.add_argument("--name", default="default")
    parser.add_argument("--inside", action="store_true", help="enter the lab's namespaces")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND …", help="after --, if it has options")


def run(arguments: argparse.Namespace) -> int:
    """Does not return: the exit code is the command's."""
    name = names.checked(arguments.name)
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise WrongUsage("bench lab exec: no command is given, for instance `bench lab exec -- kubectl get nodes`.")
    run_it = lab_exec.inside if arguments.inside else lab_exec.on_host
    run_it(name, command)
