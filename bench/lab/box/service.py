"""One program that is kept running: started, watched until it serves, started again when it ends."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from bench.errors import LabFailed
from bench.lab.box.leash import PartState
from bench.lab.box.reaper import Child, Reaper
from bench.lab.control.programs import Program

_FIRST_PAUSE_SECONDS: Final = 0.2
_LAST_PAUSE_SECONDS: Final = 10.0
_STEADY_SECONDS: Final = 60.0
"""A program that ran this long starts with the shortest pause again."""
_FIRST_STARTS: Final = 3
"""So often a program may end before it ever served; then the lab has failed to come up."""
_FIRST_LOOK_SECONDS: Final = 0.02
_LAST_LOOK_SECONDS: Final = 0.25

Probe = Callable[[], Awaitable[bool]]

_log = logging.getLogger(__name__)


async def become_true(probe: Probe) -> None:
    """Ask until the answer is yes. For what cannot be watched: a program that does not listen yet."""
    pause_seconds = _FIRST_LOOK_SECONDS
    while not await probe():
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(1.5 * pause_seconds, _LAST_LOOK_SECONDS)


async def _nothing_to_do() -> None:
    return


class Service:
    """
    Keeps one program running.

    `on_change` is told every new state; `after_end` is awaited after each end, before the next start.
    """

    def __init__(self, program: Program, *, probe: Probe, on_change: Callable[["Service"], None]) -> None:
        self.program = program
        self.state = PartState.STARTING
        self.restarts = 0
        self.child: Child | None = None
        self.after_end: Callable[[], Awaitable[None]] = _nothing_to_do
        self._probe = probe
        self._on_change = on_change
        self._first_ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait_until_ready(self) -> None:
        """Until it served for the first time; raises `LabFailed` if it ended too often before."""
        await asyncio.shield(self._first_ready)

    async def run(self, reaper: Reaper, *, environment: Mapping[str, str], logs: Path) -> None:
        """Start it, and start it again whenever it ends, until cancelled."""
        pause_seconds = _FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        log = logs / f"{self.program.name}.log"
        while True:
            began = loop.time()
            self.child = reaper.start(self.program.command, environment=environment, log=log, keep=self.program.keep)
            exit_status = await self._watch(self.child)
            if loop.time() - began > _STEADY_SECONDS:
                pause_seconds = _FIRST_PAUSE_SECONDS
            self.restarts += 1
            _log.warning("%s ended with %s, restart %s", self.program.name, exit_status, self.restarts)
            if not self._first_ready.done() and self.restarts >= _FIRST_STARTS:
                self._fail(exit_status, log)
                return
            self._become(PartState.RESTARTING)
            await self.after_end()
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LAST_PAUSE_SECONDS)

    async def _watch(self, child: Child) -> int:
        looking = asyncio.create_task(self._look())
        try:
            return await child.wait()
        finally:
            looking.cancel()

    async def _look(self) -> None:
        await become_true(self._probe)
        self._become(PartState.READY)
        if not self._first_ready.done():
            self._first_ready.set_result(None)

    def _fail(self, exit_status: int, log: Path) -> None:
        self._become(PartState.FAILED)
        self._first_ready.set_exception(
            LabFailed(
                f"{self.program.name} ended {self.restarts} times before it served, last with status {exit_status}. "
                f"Its last words: {last_words(log)}"
            )
        )

    def _become(self, state: PartState) -> None:
        self.state = state
        self._on_change(self)


def last_words(log: Path) -> str:
    """The last lines of a log that say something, on one line."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return "none"
    return " / ".join(line.strip()[:300] for line in lines[-3:]) or "none"
