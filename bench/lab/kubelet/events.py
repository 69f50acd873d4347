"""Events: written beside the work, never before it, and counted up where they repeat."""

import asyncio
import collections
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.lab.api import ApiClient, ApiError
from bench.lab.kubelet import times

_QUEUE: Final = 5000
_WRITERS: Final = 2
_REMEMBERED: Final = 2000
"""Events that a repetition counts up instead of writing anew."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing to tell about one object, as of now."""

    about: Mapping[str, Any]
    """An ObjectReference: kind, name, namespace, uid …"""
    kind: str
    reason: str
    message: str
    node: str
    time: str

    @property
    def key(self) -> tuple[str, ...]:
        """Events with the same key are one event that happened several times."""
        about = (str(self.about.get("uid", "")), str(self.about.get("fieldPath", "")))
        return (*about, self.kind, self.reason, self.message, self.node)


@dataclass(slots=True, kw_only=True)
class _Written:
    name: str
    count: int


class EventRecorder:
    """The agent's only writer of Events."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._queue: asyncio.Queue[Event] = asyncio.Queue(_QUEUE)
        self._written: collections.OrderedDict[tuple[str, ...], _Written] = collections.OrderedDict()

    def tell(self, event: Event) -> None:
        """Never waits; when too much is to be told, the newest is lost, as upstream."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            _log.warning("too many events, lost: %s %s", event.reason, event.message)

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_WRITERS):
                group.create_task(self._write_all())

    async def _write_all(self) -> None:
        while True:
            event = await self._queue.get()
            try:
                await self._write(event)
            except ApiError as error:
                # A namespace that is going takes no events any more; that is no fault of anyone.
                _log.debug("event not written: %s", error)

    async def _write(self, event: Event) -> None:
        namespace = event.about.get("namespace") or "default"
        path = f"/api/v1/namespaces/{namespace}/events"
        known = self._written.get(event.key)
        if known is not None:
            known.count += 1
            body = {"count": known.count, "lastTimestamp": event.time}
            try:
                await self._api.patch(f"{path}/{known.name}", body)
            except ApiError as error:
                if error.status != 404:
                    raise
                del self._written[event.key]
            else:
                return
        await self._create(path, namespace, event)

    async def _create(self, path: str, namespace: str, event: Event) -> None:
        name = f"{event.about['name']}.{uuid.uuid4().hex[:16]}"
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": dict(event.about),
            "type": event.kind,
            "reason": event.reason,
            "message": event.message,
            "source": {"component": "kubelet", "host": event.node},
            "reportingComponent": "kubelet",
            "reportingInstance": event.node,
            "firstTimestamp": event.time,
            "lastTimestamp": event.time,
            "count": 1,
        }
        self._written[event.key] = _Written(name=name, count=1)
        if len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)
        await self._api.create(path, body)


def about_pod(pod: Mapping[str, Any], field_path: str = "") -> dict[str, Any]:
    """The ObjectReference of a Pod, or of one of its containers (``spec.containers{main}``)."""
    metadata = pod["metadata"]
    reference = {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "uid": metadata["uid"],
        "resourceVersion": metadata.get("resourceVersion", ""),
    }
    return {**reference, "fieldPath": field_path} if field_path else reference


def about_node(name: str) -> dict[str, Any]:
    """The ObjectReference of a Node: the kubelet uses the name as the uid."""
    return {"apiVersion": "v1", "kind": "Node", "name": name, "uid": name}


def event(about: Mapping[str, Any], kind: str, reason: str, message: str, node: str) -> Event:
    """One that happens now."""
    return Event(about=about, kind=kind, reason=reason, message=message, node=node, time=times.now())
