"""Plants faults in a running lab and clears them; each is a line of the lab's truth log."""

import asyncio
import contextlib
import fcntl
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from bench.errors import BenchError, LabFailed, WrongUsage
from bench.lab import status
from bench.lab.api import ApiClient, ApiError
from bench.lab.faults import catalogue, state
from bench.lab.faults.changes import Lab, put_back
from bench.lab.faults.planters import planter_of
from bench.lab.faults.state import Planted
from bench.lab.paths import LabPaths
from bench.lab.truth import TruthLog


def plant(lab: str, name: str, given: Mapping[str, str]) -> Planted:
    """Returns when the fault is in effect; `WrongUsage` if it is planted already or the arguments do not fit."""
    fault = catalogue.get(name)
    wanted = Planted(name=name, arguments=fault.read(given), utc_seconds=time.time())
    running = status.read(lab, brief=True)
    paths = LabPaths.of(lab)
    with _alone(paths):
        if any(each.name == name for each in state.read(paths.faults)):
            raise WrongUsage(
                f"The fault {name} is planted in lab {lab} already: `bench lab fault clear {name} --name {lab}` first."
            )
        return asyncio.run(_plant(paths, running.pid, wanted))


def clear(lab: str, name: str | None = None) -> tuple[Planted, ...]:
    """One fault or, without a name, all; those that were cleared. Returns when all is as it was."""
    if name is not None:
        catalogue.get(name)
    running = status.read(lab, brief=True)
    paths = LabPaths.of(lab)
    with _alone(paths):
        # The last one first: where two changed the same object, what was there before the first is to be there again.
        chosen = tuple(each for each in reversed(state.read(paths.faults)) if name in {None, each.name})
        for each in chosen:
            asyncio.run(_clear(paths, running.pid, each))
    return chosen


@contextlib.contextmanager
def planted(lab: str, name: str, **arguments: float | str) -> Iterator[Planted]:
    """The fault for the duration of a block."""
    there = plant(lab, name, {key: str(value) for key, value in arguments.items()})
    try:
        yield there
    finally:
        clear(lab, name)


@contextlib.contextmanager
def _alone(paths: LabPaths) -> Iterator[None]:
    """One at a time: what is read, changed and written down belongs together."""
    with paths.faults.with_suffix(".lock").open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


async def _plant(paths: LabPaths, pid: int, wanted: Planted) -> Planted:
    planter = planter_of(wanted.name)
    async with ApiClient.from_kubeconfig(paths.kubeconfig) as api:
        lab = Lab(api=api, paths=paths, pid=pid)
        try:
            changes = await planter.changes(lab, wanted.arguments)
            undo = [await change.remember(lab) for change in changes]
            there = replace(wanted, undo=tuple(undo))
            # Written down before anything changes, so that whatever happens now can be cleared.
            state.write(paths.faults, (*state.read(paths.faults), there))
            _tell(paths, "fault-planting", there)
            for change in changes:
                await change.make(lab)
            await planter.wait_until_planted(lab, wanted.arguments)
        except (ApiError, BenchError) as error:
            await _take_back(paths, lab, wanted.name)
            raise _failed(f"the fault {wanted.name} could not be planted", error) from error
    _tell(paths, "fault-planted", there)
    return there


async def _take_back(paths: LabPaths, lab: Lab, name: str) -> None:
    for each in state.read(paths.faults):
        if each.name == name:
            for undo in each.undo:
                with contextlib.suppress(ApiError, BenchError):
                    await put_back(lab, undo)
    _forget(paths, name)


async def _clear(paths: LabPaths, pid: int, there: Planted) -> None:
    planter = planter_of(there.name)
    async with ApiClient.from_kubeconfig(paths.kubeconfig) as api:
        lab = Lab(api=api, paths=paths, pid=pid)
        try:
            for undo in there.undo:
                await put_back(lab, undo)
            _forget(paths, there.name)
            await planter.wait_until_cleared(lab)
        except (ApiError, BenchError) as error:
            raise _failed(f"the fault {there.name} could not be cleared", error) from error
    _tell(paths, "fault-cleared", there)


def _forget(paths: LabPaths, name: str) -> None:
    state.write(paths.faults, [each for each in state.read(paths.faults) if each.name != name])


def _failed(what: str, error: Exception) -> BenchError:
    return error if isinstance(error, BenchError) else LabFailed(f"{what}: {error}.")


def _tell(paths: LabPaths, event: str, there: Planted, **facts: Any) -> None:
    truth = TruthLog(paths.truth)
    truth.write(event, fault=there.name, arguments=dict(there.arguments), **facts)
    truth.close()
