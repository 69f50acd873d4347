"""
PID 1 of a lab: brings the cluster up, answers `status` and `down`, and takes everything with it when it ends.

Arguments: the state folder, the keeper's process number on the host, then ``name=descriptor``: ``lock``, ``keeper``
(a pipe that closes when the keeper dies), ``leash`` (see there), and the listening sockets ``api``, ``prometheus``
and ``gateway``.
"""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.errors import BenchError, DeadlineExceeded
from bench.lab.box import control_socket, leash, remains
from bench.lab.box.cluster import Box, Cluster
from bench.lab.box.leash import PartState
from bench.lab.box.reaper import Reaper
from bench.lab.config import LabConfig
from bench.lab.paths import LabPaths

if TYPE_CHECKING:
    from bench.lab.api import ApiClient
    from bench.lab.box.workloads import Workloads

_UP_SECONDS: Final = 180.0
_GRACE_SECONDS: Final = 1.0
_LISTENERS: Final = ("api", "prometheus", "gateway")

_log = logging.getLogger(__name__)


class Supervisor:
    """One lab's life."""

    def __init__(self, box: Box, *, keeper_pid: int, descriptors: Mapping[str, int]) -> None:
        self._box = box
        self._keeper_pid = keeper_pid
        self._keeper_pipe = descriptors["keeper"]
        self._leash = leash.Held(descriptors["leash"])
        self._reaper = Reaper()
        self._cluster = Cluster(box, self._reaper, self._leash.tell)
        self._client: ApiClient | None = None
        self._workloads: Workloads | None = None
        self._ending: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._keeper_is_gone = False
        self._is_ready = False

    async def run(self) -> int:
        """The exit status of the lab: 0 when it was asked to go down."""
        self._reaper.install()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._end, number.name)
        loop.add_reader(self._keeper_pipe, self._lose_keeper)
        await self._leash.open()
        failure = await self._live_until_the_end()
        if failure:
            _log.error("the lab failed: %s", failure)
            self._leash.tell(leash.Failed(message=failure))
        else:
            self._leash.tell(leash.Ended(by=self._ending.result()))
        await self._end_everything()
        if self._keeper_is_gone:
            remains.remove(self._box.paths.root, keep_logs=True)
        await self._leash.close()
        return 1 if failure else 0

    async def _live_until_the_end(self) -> str:
        """Why it ended, empty if it was asked to."""
        living = asyncio.create_task(self._live())
        leashed = asyncio.create_task(self._watch_leash())
        either: set[asyncio.Future[Any]] = {living, self._ending}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        self._cluster.stop()
        leashed.cancel()
        failure = ""
        if living.done() and (error := living.exception()) is not None:
            failure = _told(error)
            _log.error("what went wrong", exc_info=error)
        living.cancel()
        await asyncio.gather(living, leashed, return_exceptions=True)
        return failure

    async def _live(self) -> None:
        async with contextlib.AsyncExitStack() as resources:
            server = await control_socket.serve(self._box.paths.control_socket, self._answer)
            resources.push_async_callback(_close, server)
            try:
                async with asyncio.timeout(_UP_SECONDS):
                    await self._come_up(resources)
            except TimeoutError as error:
                raise DeadlineExceeded(self._what_is_missing()) from error
            await asyncio.Event().wait()

    async def _come_up(self, resources: contextlib.AsyncExitStack) -> None:
        client = self._client = await self._cluster.bring_up(resources)
        from bench.lab.box.workloads import Workloads  # noqa: PLC0415  (imported while the API server starts)

        self._workloads = Workloads(self._box.config, client, self._leash.tell)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._cluster.complete(client))
            group.create_task(self._workloads.apply())
        # Not before the nodes are there: a DaemonSet that no node matches yet looks complete.
        await self._workloads.wait_until_up()
        self._is_ready = True
        self._leash.tell(leash.Ready())

    async def _watch_leash(self) -> None:
        if await self._leash.was_dropped():
            self._end("the command that holds this lab has ended")

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("do") == "down":
            self._end("bench lab down")
            return {"keeper_pid": self._keeper_pid}
        if request.get("do") != "status":
            return {"error": f"unknown request {request.get('do')!r}"}
        facts = {
            "name": self._box.config.name,
            "is_ready": self._is_ready,
            "keeper_pid": self._keeper_pid,
            "ports": dict(self._box.ports),
            "asked_for": list(self._box.config.parts),
        }
        return facts if request.get("brief") else facts | await self._describe()

    async def _describe(self) -> dict[str, Any]:
        from bench.lab.box import describe  # noqa: PLC0415  (imported when first asked for)

        known = tuple(self._cluster.services.values())
        sample = await describe.Sample.take()
        described = describe.services(sample, known)
        if self._workloads is not None and self._client is not None:
            states = await self._workloads.states()
            described += await describe.workloads(sample, states, known, self._client)
        return {"parts": described, "not_enforced": describe.not_enforced(self._box.paths)}

    def _what_is_missing(self) -> str:
        waiting = [name for name, each in self._cluster.services.items() if each.state is not PartState.READY]
        waiting += self._workloads.waiting() if self._workloads else []
        return f"not everything was ready after {_UP_SECONDS:g} s: {', '.join(waiting) or 'the first node'}"

    def _end(self, why: str) -> None:
        if not self._ending.done():
            _log.info("ending: %s", why)
            self._ending.set_result(why)

    def _lose_keeper(self) -> None:
        asyncio.get_running_loop().remove_reader(self._keeper_pipe)
        self._keeper_is_gone = True
        self._end("the keeper has died")

    async def _end_everything(self) -> None:
        """As PID 1, a signal to -1 reaches every process of the namespace and no other."""
        for number, patience_seconds in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, 10 * _GRACE_SECONDS)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, number)
            try:
                async with asyncio.timeout(patience_seconds):
                    await self._reaper.wait_until_none_left()
            except TimeoutError:
                continue
            return


async def _close(server: asyncio.Server) -> None:
    server.close()


def _told(error: BaseException) -> str:
    """One sentence; of several errors at once the first that we raised on purpose."""
    if isinstance(error, BaseExceptionGroup):
        known = error.subgroup(BenchError)
        first: BaseException = (known or error).exceptions[0]
        return _told(first)
    return str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"


async def _main(root: Path, keeper_pid: int, descriptors: dict[str, int]) -> int:
    paths = LabPaths(root)
    listeners = {name: descriptors[name] for name in _LISTENERS}
    box = Box(
        config=LabConfig.read(paths.config),
        paths=paths,
        listeners=listeners,
        ports={name: _port_of(descriptor) for name, descriptor in listeners.items()},
        environment=dict(os.environ),
    )
    return await Supervisor(box, keeper_pid=keeper_pid, descriptors=descriptors).run()


def _port_of(descriptor: int) -> int:
    with socket.socket(fileno=os.dup(descriptor)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _raise_limits() -> None:
    """A login shell's 1024 open files are too few for an agent with hundreds of pods; containers have more, too."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> int:
    """Live one lab."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    _raise_limits()
    root, keeper_pid, *named = sys.argv[1:]
    descriptors = {}
    for argument in named:
        name, _, descriptor = argument.partition("=")
        descriptors[name] = int(descriptor)
        os.set_inheritable(int(descriptor), False)
    return asyncio.run(_main(Path(root), int(keeper_pid), descriptors))


if __name__ == "__main__":
    sys.exit(main())
