"""A program is started again when it ends, is ready when its probe says so, and gives up only before it ever served."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bench.errors import LabFailed
from bench.lab.box.leash import PartState
from bench.lab.box.reaper import Reaper
from bench.lab.box.service import Service, last_words
from bench.lab.control.programs import Program

Check = Callable[[Service], Awaitable[None]]


def run(tmp_path: Path, script: str, check: Check, *, serves: Callable[[], bool] = lambda: True) -> list[PartState]:
    """The states that a shell script went through while something was checked about it."""
    states: list[PartState] = []

    async def probe() -> bool:
        return serves()

    async def main() -> None:
        reaper = Reaper()
        reaper.install()
        program = Program(name="program", command=("sh", "-c", script))
        service = Service(program, probe=probe, on_change=lambda each: states.append(each.state))
        running = asyncio.create_task(service.run(reaper, environment=os.environ, logs=tmp_path))
        async with asyncio.timeout(5):
            await check(service)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        if service.child and not service.child.has_ended:
            service.child.send(9)
            await service.child.wait()

    asyncio.run(main())
    return states


def test_ready_is_what_the_probe_says(tmp_path: Path) -> None:
    answers = iter([False, False, True])

    async def check(service: Service) -> None:
        await service.wait_until_ready()
        assert service.restarts == 0

    assert run(tmp_path, "exec sleep 9", check, serves=lambda: next(answers)) == [PartState.READY]


def test_a_program_that_ends_is_started_again_and_counted(tmp_path: Path) -> None:
    ended_once = asyncio.Event()

    async def check(service: Service) -> None:
        await service.wait_until_ready()
        first = service.child
        assert first is not None
        ended_before_restart: list[bool] = []

        async def after_end() -> None:
            ended_before_restart.append(first.has_ended)
            ended_once.set()

        service.after_end = after_end
        first.send(9)
        await ended_once.wait()
        assert ended_before_restart == [True]
        assert service.restarts == 1

    states = run(tmp_path, "exec sleep 9", check)

    assert states[:2] == [PartState.READY, PartState.RESTARTING]


def test_a_program_that_never_served_is_a_failure_with_its_last_words(tmp_path: Path) -> None:
    async def check(service: Service) -> None:
        with pytest.raises(LabFailed, match=r"ended 3 times before it served, last with status 3.*no such flag"):
            await service.wait_until_ready()

    states = run(tmp_path, "echo no such flag; exit 3", check, serves=lambda: False)

    assert states[-1] is PartState.FAILED


def test_last_words_of_a_silent_program_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty.log").touch()

    assert last_words(tmp_path / "empty.log") == "none"
    assert last_words(tmp_path / "missing.log") == "none"
