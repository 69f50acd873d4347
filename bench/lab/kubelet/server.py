"""
What nodes serve: the kubelet's API over TLS, as far as logs go, and the list of devices that pods hold.

The API server is the only client of the first: its certificate is asked for. The second is a socket on each node's
root, where an exporter pod finds it by hostPath.
"""

import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from aiohttp import web

from bench.lab.control.files import Pki
from bench.lab.faults.state import Faults
from bench.lab.gpu.devices import Devices
from bench.lab.kubelet import logs, times
from bench.lab.kubelet.logs import LogRequest
from bench.lab.kubelet.pod import Pod
from bench.lab.network import BRIDGE_ADDRESS
from bench.lab.paths import LabPaths
from bench.lab.truth import TruthLog

Find = Callable[[str, str], Pod | None]
"""The pod of this namespace and name."""

_NOT_OFFERED: Final = (
    "exec, attach and port-forward are not offered by a lab's nodes. "
    "Run the command as the container's own, or reach the pod through a Service.\n"
)
_POD_RESOURCES: Final = "var/lib/kubelet/pod-resources"
_SOCKET_PATH_BYTES: Final = 107


class NodeServer:
    """One application behind the port of every node."""

    def __init__(self, paths: LabPaths, devices: Devices, find: Find, truth: TruthLog) -> None:
        self._paths = paths
        self._devices = devices
        self._find = find
        self._truth = truth
        self._faults = Faults(paths.faults)
        self._runners: dict[str, web.AppRunner] = {}
        self._kubelet: web.AppRunner | None = None
        self._sites: dict[str, web.TCPSite] = {}
        self._tls = _tls(Pki(paths.pki))

    async def open(self, node: str, port: int) -> None:
        """Serve for a node that came up."""
        if self._kubelet is None:
            self._kubelet = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.1)
            await self._kubelet.setup()
        site = web.TCPSite(self._kubelet, BRIDGE_ADDRESS, port, ssl_context=self._tls)
        await site.start()
        self._sites[node] = site
        await self._open_pod_resources(node)

    async def close(self, node: str) -> None:
        """The node is gone."""
        site = self._sites.pop(node, None)
        if site is not None:
            await site.stop()
        runner = self._runners.pop(node, None)
        if runner is not None:
            await runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/healthz", _healthy)
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        for verb in ("exec", "attach", "portForward", "run"):
            application.router.add_route("*", f"/{verb}/{{rest:.*}}", _refuse)
        return application

    async def _open_pod_resources(self, node: str) -> None:
        async def pods(_request: web.Request) -> web.Response:
            return web.json_response({"podResources": self._devices.pod_resources(node)})

        async def refreshed(request: web.Request) -> web.Response:
            self._truth.write("exporter-refreshed", node=node, **await request.json())
            return web.Response(status=204)

        async def faults(_request: web.Request) -> web.Response:
            return web.json_response({"faults": [each.told() for each in self._faults.all().values()]})

        application = web.Application()
        application.router.add_get("/pods", pods)
        # Not the kubelet's: the exporter runs in a pod, from where the lab's own files are out of reach.
        application.router.add_post("/exporter-refreshed", refreshed)
        application.router.add_get("/faults", faults)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        folder = self._paths.node_root(node) / _POD_RESOURCES
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "kubelet.sock").unlink(missing_ok=True)
        with _short(folder) as short:
            await web.UnixSite(runner, f"{short}/kubelet.sock").start()
        self._runners[node] = runner

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        where = request.match_info
        pod = self._find(where["namespace"], where["pod"])
        container = pod.container(where["container"]) if pod is not None else None
        if container is None:
            return web.Response(status=404, text=f"container {where['container']} of pod {where['pod']} is not here\n")
        try:
            asked = parse(request.query)
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        path = container.log_path(previous=asked.previous)
        waiting = container.record.state.get("waiting")
        if waiting and not asked.previous and not path.exists():
            said = (
                f'container "{where["container"]}" in pod "{where["pod"]}" is waiting to start: {waiting["reason"]}\n'
            )
            return web.Response(status=400, text=said)
        if not path.exists():
            which = "previous terminated container" if asked.previous else "container"
            return web.Response(status=400, text=f'{which} "{where["container"]}" in pod "{where["pod"]}" not found\n')
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        writer = None if asked.previous else container.log
        async for chunk in logs.stream(path, writer, asked):
            await response.write(chunk)
        await response.write_eof()
        return response


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _refuse(_request: web.Request) -> web.Response:
    return web.Response(status=501, text=_NOT_OFFERED)


def _tls(pki: Pki) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki.ca))
    context.load_cert_chain(pki.kubelet, Pki.key_of(pki.kubelet))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def parse(query: Mapping[str, str]) -> LogRequest:
    """The parameters as the API server passes them on."""
    since = None
    if "sinceSeconds" in query:
        since = datetime.now(UTC) - timedelta(seconds=int(query["sinceSeconds"]))
    elif "sinceTime" in query:
        since = times.parse(query["sinceTime"])
    return LogRequest(
        follow=query.get("follow") == "true",
        previous=query.get("previous") == "true",
        timestamps=query.get("timestamps") == "true",
        tail_lines=int(query["tailLines"]) if "tailLines" in query else None,
        since=since,
        limit_bytes=int(query["limitBytes"]) if "limitBytes" in query else None,
        stream=query.get("stream", "All"),
    )


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A path to a folder that fits a socket address, however deep the folder lies."""
    if len(str(folder)) + len("/kubelet.sock") < _SOCKET_PATH_BYTES:
        yield str(folder)
        return
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
