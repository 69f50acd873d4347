"""
Watches that do not end: list, watch from there, list again when the server has forgotten the place (410) or was away.

The time of each event is the time of its receipt here, on one clock: API timestamps have a resolution of one second.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import urllib3

from bench.cluster.client import Cluster
from bench.cluster.objects import Object
from bench.errors import ApiRefused, Unreachable

GONE: Final = 410
SERVER_TIMEOUT_SECONDS: Final = 290
"""After which the server is asked to end a watch: below the 5 minutes at which load balancers drop what is quiet."""
STALL_SECONDS: Final = 2.0
"""The longest that a stop goes unseen on a watch where nothing happens."""
AWAY_SECONDS: Final = 60.0
"""How long a server may be away before a watch gives up: longer than a restart of an API server."""


class Change(StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change of one object, and when this process heard of it."""

    change: Change
    object: Object
    received_monotonic_seconds: float
    received_utc_seconds: float
    relisted: bool
    """Learnt from a list and not from a watch: it happened at some time before the receipt."""


@dataclass(slots=True)
class Watch:
    """One collection, followed until `stop` is set. Iterate once."""

    cluster: Cluster
    path: str
    label_selector: str = ""
    field_selector: str = ""
    stop: threading.Event | None = None
    monotonic: Callable[[], float] = time.monotonic

    def __iter__(self) -> Iterator[Event]:
        known: dict[str, Object] = {}
        away_since: float | None = None
        stop = self.stop or threading.Event()
        pause_seconds = 0.1
        while not stop.is_set():
            try:
                version = yield from self._list(known)
                away_since, pause_seconds = None, 0.1
                yield from self._follow(known, version, stop)
            except Unreachable:
                away_since = away_since or self.monotonic()
                if self.monotonic() - away_since > AWAY_SECONDS:
                    raise
                stop.wait(pause_seconds)
                pause_seconds = min(2 * pause_seconds, 2.0)

    def _list(self, known: dict[str, Object]) -> Generator[Event, None, str]:
        listing = self.cluster.list(
            self.path, label_selector=self.label_selector, field_selector=self.field_selector, is_patient=False
        )
        current = {_uid(item): item for item in listing.items}
        for uid in known.keys() - current.keys():
            yield self._event(Change.DELETED, known.pop(uid), relisted=True)
        for uid, item in current.items():
            before = known.get(uid)
            if before is None or _version(before) != _version(item):
                known[uid] = item
                yield self._event(Change.MODIFIED if before else Change.ADDED, item, relisted=True)
        return listing.resource_version

    def _follow(self, known: dict[str, Object], version: str, stop: threading.Event) -> Iterator[Event]:
        """Until the server forgets the place or goes away; a watch that it ends in good order is taken up again."""
        while not stop.is_set():
            for change, found in self._lines(version, stop):
                if change == "ERROR":
                    if found.get("code") == GONE:
                        return
                    raise ApiRefused(f"watch {self.path}: {found.get('message')}", status=int(found.get("code", 0)))
                version = _version(found)
                if change == "BOOKMARK":
                    continue
                event = self._event(Change(change), found, relisted=False)
                if event.change is Change.DELETED:
                    known.pop(_uid(found), None)
                else:
                    known[_uid(found)] = found
                yield event

    def _lines(self, version: str, stop: threading.Event) -> Iterator[tuple[str, Object]]:
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(SERVER_TIMEOUT_SECONDS),
            "labelSelector": self.label_selector,
            "fieldSelector": self.field_selector,
        }
        given = {name: value for name, value in query.items() if value}
        try:
            answer = self.cluster.stream(self.path, query=given, read_timeout_seconds=SERVER_TIMEOUT_SECONDS + 15)
        except ApiRefused as refused:
            if refused.status == GONE:
                yield "ERROR", {"code": GONE}
                return
            raise
        closer = _close_when(stop, answer)
        try:
            for line in _split(answer):
                parsed: dict[str, Any] = json.loads(line)
                yield parsed["type"], parsed["object"]
        except (urllib3.exceptions.HTTPError, OSError, AttributeError, ValueError) as error:
            if not stop.is_set():
                raise Unreachable(f"The watch of {self.path} broke off: {error}.") from error
        finally:
            closer.set()
            answer.close()

    def _event(self, change: Change, found: Object, *, relisted: bool) -> Event:
        return Event(
            change=change,
            object=found,
            received_monotonic_seconds=self.monotonic(),
            received_utc_seconds=time.time(),
            relisted=relisted,
        )


def _split(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    rest = b""
    for piece in answer.stream(amt=None, decode_content=True):
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line for line in lines if line.strip())


def _close_when(stop: threading.Event, answer: urllib3.BaseHTTPResponse) -> threading.Event:
    """Shut the connection down when `stop` is set, since a read of a quiet watch cannot look at it."""
    finished = threading.Event()

    def wait() -> None:
        while not finished.is_set():
            if stop.wait(STALL_SECONDS):
                with contextlib.suppress(OSError, ValueError, RuntimeError):  # closed meanwhile
                    answer.shutdown()
                return

    threading.Thread(target=wait, name="watch-closer", daemon=True).start()
    return finished


def _uid(found: Object) -> str:
    return str(found["metadata"]["uid"])


def _version(found: Object) -> str:
    return str(found["metadata"]["resourceVersion"])
