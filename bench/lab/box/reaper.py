"""
Waiting for children as PID 1: our own processes by their exit status, adopted orphans so that no zombie stays.

All waiting goes through here. A second waiter (`subprocess.wait`, an asyncio child watcher) would steal exit statuses
from this one or have them stolen.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class Child:
    """A process that we started; `exit_status` is negative for the signal that ended it."""

    def __init__(self, process: "subprocess.Popen[bytes]", ended: "asyncio.Future[int]") -> None:
        self._process = process
        self._ended = ended

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._ended.done()

    async def wait(self) -> int:
        """The exit status, once it has ended."""
        return await asyncio.shield(self._ended)

    def send(self, number: signal.Signals) -> None:
        """A signal, unless the process has been reaped: its number may be another's by then."""
        if not self.has_ended:
            os.kill(self.pid, number)

    def finish(self, exit_status: int) -> None:
        """For the reaper: it has waited for this process."""
        self._process.returncode = exit_status
        if not self._ended.done():
            self._ended.set_result(exit_status)


class Reaper:
    """Starts processes and waits for everything that ends in the PID namespace."""

    def __init__(self) -> None:
        self._children: dict[int, Child] = {}
        self._none_left: asyncio.Event = asyncio.Event()
        self.orphans_reaped = 0

    def install(self) -> None:
        """Reap at each SIGCHLD from now on, in the running loop."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.reap)

    def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        keep: Sequence[int] = (),
    ) -> Child:
        """Start a program whose output is appended to a file; `keep` are descriptors that it inherits."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=tuple(keep),
                start_new_session=True,
            )
        child = Child(process, asyncio.get_running_loop().create_future())
        self._children[process.pid] = child
        self._none_left.clear()
        return child

    def reap(self) -> None:
        """Wait for all that has ended by now; ours are told, others are forgotten."""
        # The loop ends: each round removes one zombie, and only so many can exist at a time.
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._none_left.set()
                return
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is None:
                self.orphans_reaped += 1
            else:
                child.finish(os.waitstatus_to_exitcode(status))

    async def wait_until_none_left(self) -> None:
        """Until this process has no children. As PID 1 that means: until it is alone in its namespace."""
        self._none_left.clear()
        self.reap()
        await self._none_left.wait()
