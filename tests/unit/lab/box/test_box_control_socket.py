"""Asking a lab works however long the name of its folder is, and silence is an error, not a wait."""

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from bench.lab.box import control_socket


async def echo(request: dict[str, Any]) -> dict[str, Any]:
    return {"heard": request}


def test_a_request_is_answered_with_the_number_of_who_answers(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 40)
    folder.mkdir()
    path = folder / "control.sock"

    async def main() -> control_socket.Answered:
        server = await control_socket.serve(path, echo)
        async with server:
            return await asyncio.to_thread(control_socket.ask, path, {"do": "status"}, within_seconds=2)

    answered = asyncio.run(main())

    assert answered.content == {"heard": {"do": "status"}}
    assert answered.pid == os.getpid()
    assert len(str(path)) > 107


def test_nobody_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        control_socket.ask(tmp_path / "control.sock", {}, within_seconds=1)


def test_who_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    released = threading.Event()

    async def never(_: dict[str, Any]) -> dict[str, Any]:
        await asyncio.to_thread(released.wait)
        return {}

    async def main() -> None:
        server = await control_socket.serve(path, never)
        async with server:
            with pytest.raises(TimeoutError):
                await asyncio.to_thread(control_socket.ask, path, {}, within_seconds=0.1)
            released.set()
            await asyncio.sleep(0.05)

    asyncio.run(main())
