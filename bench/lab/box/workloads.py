"""Applies the parts of a lab that are workloads in it, and tells whether they serve."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.lab import parts
from bench.lab.api import ApiClient, ApiError
from bench.lab.box.leash import PartState, Progress
from bench.lab.config import LabConfig
from bench.lab.parts import Manifest, Ready

FIELD_MANAGER: Final = "bench-lab"
_FIRST: Final = ("Namespace", "CustomResourceDefinition")
"""Kinds that others need; applied one after the other and before all others."""
_OWNERS_OF_PODS: Final = ("Deployment", "DaemonSet")
_AT_ONCE: Final = 8
_AGAIN_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadState:
    """One part, as it was when asked."""

    name: str
    version: str
    state: PartState
    owners: tuple[tuple[str, str], ...]
    """Namespace and name of each Deployment or DaemonSet that its pods belong to."""


class Workloads:
    """All parts of one lab."""

    def __init__(self, config: LabConfig, client: ApiClient, tell: Callable[[Progress], None]) -> None:
        self._config = config
        self._client = client
        self._tell = tell
        self._states = dict.fromkeys(config.parts, PartState.STARTING)
        self._resources: dict[str, dict[str, Any]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def apply(self) -> None:
        """Returns when the API server has every object; how long that may take is the caller's to say."""
        manifests = parts.manifests_of(self._config)
        for name in self._config.parts:
            self._become(name, PartState.STARTING)
        await self._apply_all([each for each in manifests if each["kind"] in _FIRST])
        await self._apply_all([each for each in manifests if each["kind"] not in _FIRST])

    async def wait_until_up(self) -> None:
        """Returns when every part serves."""
        async with asyncio.TaskGroup() as group:
            for name in self._config.parts:
                group.create_task(self._wait_for(name))

    def waiting(self) -> list[str]:
        """Parts that were not up when last looked at."""
        return [name for name, state in self._states.items() if state is not PartState.READY]

    async def states(self) -> list[WorkloadState]:
        """How each part is now."""
        return [await self._state_of(name) for name in self._config.parts]

    async def _state_of(self, name: str) -> WorkloadState:
        part = parts.load(name)
        is_up = all([await self._is_up(ready) for ready in part.ready])
        # What was up once and is not now is being started again by its controller.
        down = PartState.RESTARTING if self._states[name] is PartState.READY else PartState.STARTING
        owners = tuple((each.namespace, each.name) for each in part.ready if each.kind in _OWNERS_OF_PODS)
        state = PartState.READY if is_up else down
        return WorkloadState(name=name, version=part.version, state=state, owners=owners)

    async def _is_up(self, ready: Ready) -> bool:
        try:
            return ready.is_met_by(await self._client.get(ready.path))
        except ApiError:
            return False

    def _become(self, name: str, state: PartState) -> None:
        self._states[name] = state
        self._tell(Progress(part=name, state=state))

    async def _wait_for(self, name: str) -> None:
        for ready in parts.ready_of(name, self._config):
            await self._wait_until_up(ready)
        self._become(name, PartState.READY)

    async def _wait_until_up(self, ready: Ready) -> None:
        collection = ready.path.rpartition("/")[0]
        while True:
            try:
                async for event in self._client.watch(collection, {"fieldSelector": f"metadata.name={ready.name}"}):
                    if event.object and ready.is_met_by(event.object):
                        return
            except ApiError as error:
                if error.status != 404:
                    raise
            # The kind is not served yet: its definition was applied a moment ago, or is about to be.
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _apply_all(self, manifests: list[Manifest]) -> None:
        async with asyncio.TaskGroup() as group:
            for manifest in manifests:
                group.create_task(self._apply(manifest))

    async def _apply(self, manifest: Manifest) -> None:
        async with self._slots:
            resource = await self._resource_of(manifest)
        while True:
            try:
                async with self._slots:
                    await self._client.apply(_path(manifest, resource), manifest, field_manager=FIELD_MANAGER)
            except ApiError as error:
                # 404: the definition of the kind, or the namespace, is not seen by every part of the server yet.
                if error.status not in {0, 404, 429} and error.status < 500:
                    raise
            else:
                return
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _resource_of(self, manifest: Manifest) -> dict[str, Any]:
        """What the API server says about a kind: its name in paths, and whether it lies in namespaces."""
        kind, version = manifest["kind"], manifest["apiVersion"]
        while f"{version}/{kind}" not in self._resources:
            try:
                found = await self._client.get(f"/apis/{version}" if "/" in version else f"/api/{version}")
            except ApiError as error:
                if error.status not in {0, 404, 429} and error.status < 500:
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            for each in found["resources"]:
                if "/" not in each["name"]:
                    self._resources[f"{version}/{each['kind']}"] = each
            await asyncio.sleep(0 if f"{version}/{kind}" in self._resources else _AGAIN_SECONDS)
        return self._resources[f"{version}/{kind}"]


def _path(manifest: Mapping[str, Any], resource: Mapping[str, Any]) -> str:
    version, metadata = manifest["apiVersion"], manifest["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    if resource["namespaced"]:
        root += f"/namespaces/{metadata.get('namespace', 'default')}"
    return f"{root}/{resource['name']}/{metadata['name']}"
