"""
The programs of a lab in the order in which they can start: each as soon as what it needs serves, not after a while.

Used by PID 1 only. What is applied as workloads is `bench.lab.box.workloads`.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.lab import network
from bench.lab.box import interfaces, processes
from bench.lab.box.leash import PartState, Progress
from bench.lab.box.reaper import Reaper
from bench.lab.box.service import Probe, Service
from bench.lab.config import LabConfig
from bench.lab.control import programs
from bench.lab.control.files import Identity, Pki
from bench.lab.control.kubeconfig import Kubeconfig
from bench.lab.control.programs import ControlPlane, Program
from bench.lab.paths import LabPaths

if TYPE_CHECKING:
    from bench.lab.api import ApiClient

FORWARDER: Final = "forwarder"
_TARGETS: Final = {
    "api": f"127.0.0.1:{network.API_PORT}",
    "prometheus": f"{network.PROMETHEUS_SERVICE_ADDRESS}:9090",
    "gateway": f"{network.GATEWAY_SERVICE_ADDRESS}:80",
}
"""Where the forwarder leads. Services have addresses of their own before they exist: a caller is refused until then."""
_END_ROUNDS: Final = 250
_END_PAUSE_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """What PID 1 was given."""

    config: LabConfig
    paths: LabPaths
    listeners: Mapping[str, int]
    """Listening sockets of the host's 127.0.0.1, by what they forward to: api, prometheus, gateway."""
    ports: Mapping[str, int]
    """On the host, by the same names."""
    environment: Mapping[str, str]


class Cluster:
    """Starts the programs and knows their states."""

    def __init__(self, box: Box, reaper: Reaper, tell: Callable[[Progress], None]) -> None:
        self.services: dict[str, Service] = {}
        self._box = box
        self._reaper = reaper
        self._tell = tell
        self._programs = ControlPlane(box.config, box.paths)
        self._pki = Pki(box.paths.pki)
        self._running: set[asyncio.Task[None]] = set()
        self._client: ApiClient | None = None

    async def bring_up(self, resources: contextlib.AsyncExitStack) -> "ApiClient":
        """Start everything; returns when the API server serves. `resources` closes what stays open."""
        interfaces.set_up()
        await self._start(self._programs.etcd(), self._etcd_is_ready)
        self._write_credentials()
        apiserver = await self._start(self._programs.apiserver(), self._api_is_ready)
        await self._start_forwarder()
        # Imported while etcd and the API server start: it takes as long as etcd does.
        from bench.lab.api import ApiClient  # noqa: PLC0415

        client = await resources.enter_async_context(ApiClient.from_kubeconfig(self._box.paths.inner_kubeconfig))
        self._client = client
        await apiserver.wait_until_ready()
        agent = await self._start(self._programs.agent(), self._nodes_are_ready)
        agent.after_end = self._end_pods
        await self._start(self._programs.controller_manager(), self._controllers_run)
        await self._start(self._programs.scheduler(), self._scheduler_is_ready)
        return client

    async def complete(self, client: "ApiClient") -> None:
        """Returns when every program serves, kube-proxy too, which wants to be told a node that exists."""
        async with asyncio.TaskGroup() as group:
            for service in tuple(self.services.values()):
                group.create_task(service.wait_until_ready())
            group.create_task(self._complete_with_proxy(client))

    async def _complete_with_proxy(self, client: "ApiClient") -> None:
        async for event in client.watch("/api/v1/nodes"):
            if event.object:
                program = self._programs.proxy(event.object["metadata"]["name"])
                service = await self._start(program, self._proxy_is_ready)
                await service.wait_until_ready()
                return

    def stop(self) -> None:
        """Start nothing again."""
        for task in self._running:
            task.cancel()

    async def _start(self, program: Program, probe: Probe) -> Service:
        service = Service(program, probe=probe, on_change=self._changed)
        self.services[program.name] = service
        self._tell(Progress(part=program.name, state=PartState.STARTING))
        running = service.run(self._reaper, environment=self._box.environment, logs=self._box.paths.logs)
        self._running.add(asyncio.create_task(running, name=program.name))
        # Its process runs before anything else that this coroutine does, such as an import.
        await asyncio.sleep(0)
        return service

    def _changed(self, service: Service) -> None:
        detail = f"restart {service.restarts}" if service.restarts else ""
        self._tell(Progress(part=service.program.name, state=service.state, detail=detail))

    async def _start_forwarder(self) -> None:
        ways = tuple(f"{descriptor}={_TARGETS[name]}" for name, descriptor in self._box.listeners.items())
        command = (sys.executable, "-m", "bench.lab.box.forwarder", *ways)
        keep = tuple(self._box.listeners.values())
        await self._start(Program(name=FORWARDER, command=command, keep=keep, address="127.0.0.1"), _at_once)

    async def _end_pods(self) -> None:
        """The agent has died and its successor knows none of its processes: end them, so that pods begin anew."""
        ours = [service.child.pid for service in self.services.values() if service.child]
        for _ in range(_END_ROUNDS):
            table = processes.read_table()
            # Not from our parent's children: who entered by `exec --inside` descends from no process in here.
            pods = processes.with_descendants(table, [os.getpid()], but_not=ours) - {os.getpid()}
            alive = [pid for pid in pods if not table[pid].is_zombie]
            if not alive:
                return
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(_END_PAUSE_SECONDS)

    def _write_credentials(self) -> None:
        from bench.lab.control import pki  # noqa: PLC0415  (imported while etcd starts)

        tokens = pki.make(self._box.paths.pki)
        ca_pem = self._pki.ca.read_bytes()
        context = f"bench-lab-{self._box.config.name}"
        for identity, token in tokens.items():
            server = f"https://127.0.0.1:{network.API_PORT}"
            inner = Kubeconfig(context=context, server=server, ca_pem=ca_pem, user=identity, token=token)
            inner.write(self._pki.kubeconfig(identity))
        Kubeconfig(
            context=context,
            server=f"https://127.0.0.1:{self._box.ports['api']}",
            ca_pem=ca_pem,
            user=f"{context}-admin",
            token=tokens[Identity.ADMIN],
        ).write(self._box.paths.kubeconfig)

    async def _etcd_is_ready(self) -> bool:
        from bench.lab.box import probes  # noqa: PLC0415  (imported while etcd starts)

        return await probes.answers(f"http://127.0.0.1:{programs.ETCD_PORT}/readyz")

    async def _api_is_ready(self) -> bool:
        from bench.lab.box import probes  # noqa: PLC0415

        return self._client is not None and await probes.api_is_ready(self._client)

    async def _nodes_are_ready(self) -> bool:
        from bench.lab.box import probes  # noqa: PLC0415

        return self._client is not None and await probes.nodes_are_ready(self._client, self._box.config.nodes)

    async def _proxy_is_ready(self) -> bool:
        from bench.lab.box import probes  # noqa: PLC0415

        return await probes.answers(f"http://127.0.0.1:{programs.PROXY_HEALTH_PORT}/healthz")

    async def _controllers_run(self) -> bool:
        from bench.lab.box import probes  # noqa: PLC0415

        return self._client is not None and await probes.controllers_run(self._client)

    async def _scheduler_is_ready(self) -> bool:
        from bench.lab.box import probes  # noqa: PLC0415

        return await probes.answers(f"https://127.0.0.1:{programs.SCHEDULER_PORT}/readyz", ca=self._pki.ca)


async def _at_once() -> bool:
    return True
