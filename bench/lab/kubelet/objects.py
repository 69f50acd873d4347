"""ConfigMaps, Secrets and Services as the API server has them: three watches for all pods of all nodes."""

import asyncio
import base64
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.lab.api import ApiClient, ApiError, EventKind

_PATHS: Final = {"configMap": "configmaps", "secret": "secrets", "service": "services"}


@dataclass(frozen=True, slots=True)
class Name:
    """Which object: ``configMap``, ``secret`` or ``service``, and where."""

    kind: str
    namespace: str
    name: str


class Objects:
    """A view that follows the API server by some milliseconds; what is not in it is asked for."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._known: dict[Name, dict[str, Any]] = {}
        self._listeners: dict[Name, set[Callable[[], None]]] = defaultdict(set)
        self._synced = {kind: asyncio.Event() for kind in _PATHS}

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in _PATHS:
                group.create_task(self._follow(kind))

    async def wait_until_known(self) -> None:
        """The first lists are in."""
        for event in self._synced.values():
            await event.wait()

    async def _follow(self, kind: str) -> None:
        async for event in self._api.watch(f"/api/v1/{_PATHS[kind]}"):
            if event.kind is EventKind.SYNCED:
                self._synced[kind].set()
                continue
            metadata = event.object["metadata"]
            name = Name(kind, metadata["namespace"], metadata["name"])
            if event.kind is EventKind.DELETED:
                self._known.pop(name, None)
            else:
                self._known[name] = event.object
            for listener in tuple(self._listeners.get(name, ())):
                listener()

    async def find(self, name: Name) -> dict[str, Any] | None:
        """The object; one just made may not have come by the watch, so its absence is checked."""
        known = self._known.get(name)
        if known is not None:
            return known
        try:
            return await self._api.get(f"/api/v1/namespaces/{name.namespace}/{_PATHS[name.kind]}/{name.name}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def services(self) -> list[Mapping[str, Any]]:
        """All Services of the cluster."""
        return [value for name, value in self._known.items() if name.kind == "service"]

    def listen(self, name: Name, listener: Callable[[], None]) -> None:
        """Call back at every change of one object, its appearance and its removal too."""
        self._listeners[name].add(listener)

    def forget(self, name: Name, listener: Callable[[], None]) -> None:
        """The end of `listen`."""
        self._listeners[name].discard(listener)
        if not self._listeners[name]:
            del self._listeners[name]


def entries(found: Mapping[str, Any]) -> dict[str, bytes]:
    """The data of a ConfigMap or of a Secret."""
    data = found.get("data") or {}
    if found.get("kind") == "Secret":
        return {key: base64.b64decode(value) for key, value in data.items()}
    binary = {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}
    return {**{key: value.encode() for key, value in data.items()}, **binary}
