"""Runs a command with a lab's addresses in its environment, on the host or inside of the lab. Replaces this process."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from bench.errors import MissingTools, WrongUsage
from bench.lab import preflight, status
from bench.lab.box import namespaces
from bench.lab.paths import LabPaths


def on_host(name: str, command: Sequence[str]) -> NoReturn:
    """KUBECONFIG, PROMETHEUS_URL and GATEWAY_URL are set, and the lab's kubectl is found first."""
    lab = status.read(name, brief=True)
    environment = {
        **os.environ,
        "KUBECONFIG": str(lab.kubeconfig),
        "PATH": f"{lab.bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    # What the lab does not have is no address, and not the one that another target left in the environment.
    for variable, url in (("PROMETHEUS_URL", lab.prometheus_url), ("GATEWAY_URL", lab.gateway_url)):
        environment.pop(variable, None)
        if url:
            environment[variable] = url
    _become(command, environment)


def inside(name: str, command: Sequence[str]) -> NoReturn:
    """In the lab's namespaces, as its root: its processes, its network, its mounts."""
    lab = status.read(name, brief=True)
    environment = {
        **os.environ,
        "KUBECONFIG": str(LabPaths.of(name).inner_kubeconfig),
        "PATH": f"{lab.bin}{os.pathsep}{preflight.search_path()}",
    }
    enter = entering(lab.pid, "--mount", "--net", "--ipc", "--pid")
    _become([*enter, f"--wdns={os.getcwd()}", "--", *command], environment)


def entering(pid: int, *kinds: str) -> list[str]:
    """The words that run what follows them in a lab's namespaces of these kinds; `pid` is its first process."""
    nsenter = preflight.find_tool("nsenter")
    if nsenter is None:
        raise MissingTools("nsenter is missing; it is part of the package util-linux.")
    # What has all rights here made no user namespace for the lab, and may not enter the one that it is in.
    own = ["--user", "--preserve-credentials"] if namespaces.needs_user_namespace() else []
    return [nsenter, f"--target={pid}", *own, *kinds]


def _become(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    program = shutil.which(command[0], path=environment["PATH"])
    if program is None:
        raise WrongUsage(f"{command[0]}: no such program on {environment['PATH']}")
    os.execve(Path(program), list(command), environment)  # noqa: S606 (a shell has no business here)
