"""
The Kubernetes API as the lab's own processes speak it: JSON over HTTP, one session a client.

Deliberately not the client library that the product uses: the lab may share no code with the clients it answers.
"""

import asyncio
import base64
import json
import logging
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import yaml

MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
"""Server-side apply; wants the parameter ``fieldManager``. JSON is YAML, so bodies are written the same way."""

_WATCH_SECONDS: Final = 300
_FIRST_RETRY_SECONDS: Final = 0.05
_LAST_RETRY_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)

Body = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class ApiError(Exception):
    """The API server's answer was not a success. `status` is the HTTP status (404, 409 …), 0 without any answer."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class ApiUnreachable(ApiError):
    """No answer came: the connection was refused, broke, or took too long. Asking again may help."""

    def __init__(self, message: str) -> None:
        super().__init__(0, "Unreachable", message)


class EventKind(StrEnum):
    """What happened to an object; `SYNCED` ends a (re-)list: everything that was there has been told."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    SYNCED = "SYNCED"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent:
    """One change; `object` is the whole object as it is now (as it last was, for `DELETED`; empty for `SYNCED`)."""

    kind: EventKind
    object: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where an API server is and who asks."""

    server: str
    ca_pem: str
    token: str

    @classmethod
    def read(cls, kubeconfig: Path) -> Self:
        """The current context of a kubeconfig that carries its CA inline and a token, as those of a lab do."""
        raw = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        contexts = {each["name"]: each["context"] for each in raw["contexts"]}
        context = contexts[raw["current-context"]]
        cluster = next(each["cluster"] for each in raw["clusters"] if each["name"] == context["cluster"])
        user = next(each["user"] for each in raw["users"] if each["name"] == context["user"])
        ca_pem = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return cls(server=cluster["server"], ca_pem=ca_pem, token=user["token"])


class ApiClient:
    """An asynchronous context manager; all calls of one client share one session."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Self:
        """A client of the current context of a lab's kubeconfig."""
        return cls(Access.read(path))

    async def __aenter__(self) -> Self:
        tls = ssl.create_default_context(cadata=self._access.ca_pem)
        # Watches hold a connection each, so the default of 100 would be used up by them.
        connector = aiohttp.TCPConnector(ssl=tls, limit=512)
        self._session = aiohttp.ClientSession(
            base_url=self._access.server,
            connector=connector,
            headers={"Authorization": f"Bearer {self._access.token}", "Accept": "application/json"},
            timeout=aiohttp.ClientTimeout(total=60),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """One object, or a list of them."""
        return await self._call("GET", path, params=params)

    async def text(self, path: str, params: Mapping[str, str] | None = None) -> str:
        """What is no JSON: ``/readyz``, logs."""
        try:
            async with self._open_session.get(path, params=params, headers={"Accept": "*/*"}) as response:
                content = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnreachable(f"GET {path}: {error}") from error
        if response.status >= 400:
            raise _error_of(response.status, response.reason, content)
        return content

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST to a collection (or to a subresource such as ``…/binding`` or ``…/token``)."""
        return await self._call("POST", path, body=body)

    async def replace(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PUT; a conflict (409) unless the body carries the current resourceVersion or none."""
        return await self._call("PUT", path, body=body)

    async def patch(
        self,
        path: str,
        body: Body,
        content_type: str = MERGE_PATCH,
        params: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Any of the four kinds of patch; `content_type` is one of this module's constants."""
        return await self._call("PATCH", path, params=params, body=body, content_type=content_type)

    async def apply(self, path: str, body: Mapping[str, Any], *, field_manager: str) -> dict[str, Any]:
        """Server-side apply that takes over fields of others: the lab's manifests are what the lab says."""
        params = {"fieldManager": field_manager, "force": "true"}
        return await self._call("PATCH", path, params=params, body=body, content_type=APPLY_PATCH)

    async def delete(
        self, path: str, params: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Ask for deletion; `body` are DeleteOptions (preconditions, gracePeriodSeconds …)."""
        return await self._call("DELETE", path, params=params, body=body)

    async def watch(self, path: str, params: Mapping[str, str] | None = None) -> AsyncIterator[WatchEvent]:
        """
        All objects of a collection, then what happens to them, without end.

        A lost connection or a resourceVersion that is too old leads to a new list; what changed meanwhile comes as
        events, so that a consumer never misses a deletion. Raises `ApiError` where asking again cannot help (4xx).
        """
        watch = _Watch(self._open_session, path, params or {})
        retry_seconds = _FIRST_RETRY_SECONDS
        while True:
            try:
                async for event in watch.once():
                    retry_seconds = _FIRST_RETRY_SECONDS
                    yield event
            except ApiError as error:
                if error.status not in {0, 410, 429} and error.status < 500:
                    raise
                _log.debug("watch of %s begins anew: %s", path, error)
            await asyncio.sleep(retry_seconds)
            retry_seconds = min(2 * retry_seconds, _LAST_RETRY_SECONDS)

    @property
    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("ApiClient is used outside its `async with`")
        return self._session

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Body | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        headers = {"Content-Type": content_type} if data is not None else {}
        try:
            async with self._open_session.request(method, path, params=params, data=data, headers=headers) as response:
                content = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnreachable(f"{method} {path}: {error}") from error
        if response.status >= 400:
            raise _error_of(response.status, response.reason, content)
        answer: dict[str, Any] = json.loads(content)
        return answer


class _Watch:
    """The state of one watch over its connections: the last resourceVersion, and which objects are known."""

    def __init__(self, session: aiohttp.ClientSession, path: str, params: Mapping[str, str]) -> None:
        self._session = session
        self._path = path
        self._params = dict(params)
        self._version = ""
        self._known: dict[str, dict[str, Any]] = {}

    async def once(self) -> AsyncIterator[WatchEvent]:
        """List if there is no version to go on from, then follow one connection until it ends."""
        try:
            if not self._version:
                for event in self._changes_of(await self._list()):
                    yield event
            async for event in self._follow():
                yield event
        except ApiError as error:
            if error.status != 0:
                self._version = ""
            raise

    async def _list(self) -> dict[str, Any]:
        try:
            async with self._session.get(self._path, params=self._params) as response:
                content = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnreachable(f"list {self._path}: {error}") from error
        if response.status >= 400:
            raise _error_of(response.status, response.reason, content)
        listed: dict[str, Any] = json.loads(content)
        return listed

    def _changes_of(self, listed: dict[str, Any]) -> list[WatchEvent]:
        events = []
        current: dict[str, dict[str, Any]] = {}
        for item in listed.get("items") or ():
            # Items of a list carry neither; a consumer should not have to know where an object came from.
            item.setdefault("apiVersion", listed["apiVersion"])
            item.setdefault("kind", listed["kind"].removesuffix("List"))
            current[item["metadata"]["uid"]] = item
        events += [
            WatchEvent(kind=EventKind.DELETED, object=gone) for uid, gone in self._known.items() if uid not in current
        ]
        for uid, item in current.items():
            before = self._known.get(uid)
            if before is None:
                events.append(WatchEvent(kind=EventKind.ADDED, object=item))
            elif before["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                events.append(WatchEvent(kind=EventKind.MODIFIED, object=item))
        self._known = current
        self._version = listed["metadata"]["resourceVersion"]
        return [*events, WatchEvent(kind=EventKind.SYNCED, object={})]

    async def _follow(self) -> AsyncIterator[WatchEvent]:
        params = {
            **self._params,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_WATCH_SECONDS + 30)
        try:
            async with self._session.get(self._path, params=params, timeout=timeout) as response:
                if response.status >= 400:
                    raise _error_of(response.status, response.reason, await response.text())
                async for line in _lines(response.content):
                    event = self._take(json.loads(line))
                    if event is not None:
                        yield event
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnreachable(f"watch {self._path}: {error}") from error

    def _take(self, raw: dict[str, Any]) -> WatchEvent | None:
        seen: dict[str, Any] = raw["object"]
        if raw["type"] == "ERROR":
            raise ApiError(seen.get("code", 500), seen.get("reason", ""), seen.get("message", ""))
        self._version = seen["metadata"]["resourceVersion"]
        if raw["type"] == "BOOKMARK":
            return None
        kind = EventKind(raw["type"])
        if kind is EventKind.DELETED:
            self._known.pop(seen["metadata"]["uid"], None)
        else:
            self._known[seen["metadata"]["uid"]] = seen
        return WatchEvent(kind=kind, object=seen)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: the reader's own `readline` gives up beyond its buffer, and objects may be a megabyte."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line


def _error_of(status: int, phrase: str | None, content: str) -> ApiError:
    try:
        told = json.loads(content)
    except ValueError:
        return ApiError(status, phrase or "", content.strip()[:500])
    if not isinstance(told, dict):
        return ApiError(status, phrase or "", content.strip()[:500])
    return ApiError(status, told.get("reason") or phrase or "", told.get("message") or "")
