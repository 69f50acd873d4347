"""
What planting a fault changes in the cluster, and when that has come into effect.

A fault that is not here is nothing but a line in the state: a process of the lab reads it there and lies.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

from bench.errors import DeadlineExceeded
from bench.lab.api import ApiError
from bench.lab.box.service import become_true
from bench.lab.faults.changes import Change, Edit, Lab
from bench.lab.faults.declaration import Value
from bench.lab.parts import adapter
from bench.lab.parts.objects import Ready

_EFFECT_SECONDS: Final = 60.0

Arguments = Mapping[str, Value]


class Planter(Protocol):
    """One fault's way into the cluster."""

    async def changes(self, lab: Lab, arguments: Arguments) -> Sequence[Change]:
        """What is to be different; only reads."""
        ...

    async def wait_until_planted(self, lab: Lab, arguments: Arguments) -> None:
        """Returns when the changes have come into effect."""
        ...

    async def wait_until_cleared(self, lab: Lab) -> None:
        """Returns when all is as it was."""
        ...


class Told:
    """A fault that a process of the lab reads in the state."""

    async def changes(self, lab: Lab, arguments: Arguments) -> Sequence[Change]:  # noqa: ARG002 - nothing changes
        return ()

    async def wait_until_planted(self, lab: Lab, arguments: Arguments) -> None:
        """At once."""

    async def wait_until_cleared(self, lab: Lab) -> None:
        """At once."""


class AdapterDown:
    """The adapter's Deployment has no replicas."""

    async def changes(self, lab: Lab, arguments: Arguments) -> Sequence[Change]:  # noqa: ARG002 - always the same
        return (Edit(path=_deployment().path, field=("spec", "replicas"), value=0),)

    async def wait_until_planted(self, lab: Lab, arguments: Arguments) -> None:  # noqa: ARG002 - always the same
        async def has_none() -> bool:
            found = await lab.api.get(_deployment().path)
            return not found.get("status", {}).get("replicas") and not await _is_up(lab, adapter.ready[-1])

        await until(has_none, "the adapter's last pod is gone")

    async def wait_until_cleared(self, lab: Lab) -> None:
        await until_up(lab, adapter.ready)


def _deployment() -> Ready:
    return adapter.ready[0]


async def _is_up(lab: Lab, ready: Ready) -> bool:
    try:
        return ready.is_met_by(await lab.api.get(ready.path))
    except ApiError:
        return False


async def until_up(lab: Lab, wanted: Sequence[Ready]) -> None:
    """Returns when all of these objects are up."""

    async def all_are_up() -> bool:
        return all([await _is_up(lab, ready) for ready in wanted])

    await until(all_are_up, "up are " + ", ".join(map(str, wanted)))


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Asks until the answer is yes; several objects, and effects that are none, cannot be watched as one."""
    try:
        async with asyncio.timeout(_EFFECT_SECONDS):
            await become_true(holds)
    except TimeoutError as error:
        raise DeadlineExceeded(f"a fault did not come into effect in {_EFFECT_SECONDS:g} s: {what}.") from error


PLANTERS: Final[Mapping[str, Planter]] = {
    "adapter-down": AdapterDown(),
}


def planter_of(name: str) -> Planter:
    """Of a fault."""
    return PLANTERS.get(name, Told())
