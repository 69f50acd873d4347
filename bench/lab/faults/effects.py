"""Waiting until a change of the cluster shows, where no single object can be watched for it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from bench.errors import DeadlineExceeded
from bench.lab.api import ApiError
from bench.lab.box.service import become_true
from bench.lab.faults.changes import Lab
from bench.lab.parts.objects import Ready

_EFFECT_SECONDS: Final = 60.0


async def is_up(lab: Lab, ready: Ready) -> bool:
    """False too while the object is not there."""
    try:
        return ready.is_met_by(await lab.api.get(ready.path))
    except ApiError:
        return False


async def until_up(lab: Lab, wanted: Sequence[Ready]) -> None:
    """Returns when all of these objects are up."""

    async def all_are_up() -> bool:
        return all([await is_up(lab, ready) for ready in wanted])

    await until(all_are_up, "up are " + ", ".join(map(str, wanted)))


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Asks until the answer is yes."""
    try:
        async with asyncio.timeout(_EFFECT_SECONDS):
            await become_true(holds)
    except TimeoutError as error:
        raise DeadlineExceeded(f"a change did not come into effect in {_EFFECT_SECONDS:g} s: {what}.") from error
