"""Tells the API server what pods are: one patch for each real change, few at a time."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.lab.api import STRATEGIC_PATCH, ApiClient, ApiError

_AT_ONCE: Final = 8
SETTLE_SECONDS: Final = 0.005
"""Changes that come together are told together."""
START_TOGETHER_SECONDS: Final = 0.2
"""While containers of one pod start one after the other, the report of the first would be in the way of the last's."""
_FIRST_RETRY_SECONDS: Final = 0.2
_LAST_RETRY_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


class Publisher:
    """What all pods share of it: the connection, and how many may speak at once."""

    def __init__(self, api: ApiClient) -> None:
        self.api = api
        self.slots = asyncio.Semaphore(_AT_ONCE)


class StatusReport:
    """The status of one pod on its way to the API server."""

    def __init__(
        self, publisher: Publisher, metadata: Mapping[str, Any], compose: Callable[[], dict[str, Any]]
    ) -> None:
        self._publisher = publisher
        self._path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        self._uid = metadata["uid"]
        self._compose = compose
        self._dirty = False
        self._told: dict[str, Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._sending: asyncio.Task[None] | None = None
        self.gone = False
        """The API server has this pod no more."""

    def touch(self, within_seconds: float = SETTLE_SECONDS) -> None:
        """Something changed; tell it soon. Nearer dates win."""
        loop = asyncio.get_running_loop()
        due = loop.time() + within_seconds
        self._dirty = True
        if self._timer is not None:
            if due >= self._due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = loop.call_at(due, self._start)

    async def flush(self) -> None:
        """Returns when the present status is told, or cannot be told any more."""
        self._dirty = True
        self._start()
        if self._sending is not None:
            await self._sending

    def close(self) -> None:
        """Nothing is to be told any more."""
        self.gone = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        retry_seconds = _FIRST_RETRY_SECONDS
        while self._dirty and not self.gone:
            self._dirty = False
            status = self._compose()
            if status == self._told:
                continue
            if await self._send(status):
                self._told = status
                retry_seconds = _FIRST_RETRY_SECONDS
            elif not self.gone:
                self._dirty = True
                await asyncio.sleep(retry_seconds)
                retry_seconds = min(2 * retry_seconds, _LAST_RETRY_SECONDS)

    async def _send(self, status: dict[str, Any]) -> bool:
        body = {"metadata": {"uid": self._uid}, "status": status}
        try:
            async with self._publisher.slots:
                await self._publisher.api.patch(f"{self._path}/status", body, content_type=STRATEGIC_PATCH)
        except ApiError as error:
            if error.status in {404, 409}:
                self.gone = True
            else:
                _log.warning("status of %s not told yet: %s", self._path, error)
            return False
        return True

    async def remove(self) -> None:
        """Take the object away: its containers are gone, and its final status is told."""
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self._uid}}
        retry_seconds = _FIRST_RETRY_SECONDS
        while not self.gone:
            try:
                async with self._publisher.slots:
                    await self._publisher.api.delete(self._path, body=body)
            except ApiError as error:
                if error.status not in {404, 409}:
                    await asyncio.sleep(retry_seconds)
                    retry_seconds = min(2 * retry_seconds, _LAST_RETRY_SECONDS)
                    continue
            self.gone = True
