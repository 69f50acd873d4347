"""The engine of one class of locust users in a process, and the greenlet that tells its requests to locust."""

import itertools
import json
import time
from typing import Any

import gevent
import gevent.event
import gevent.socket

from bench.errors import WrongUsage
from bench.load.engine import find_native
from bench.load.orders import LoadOrder, Share

#: Finished requests are told to locust's listeners at this pace.
_TELL_SECONDS = 1.0


class RequestFailed(Exception):
    """A request that the engine counted as failed; the class stands before the message."""


class Line:
    """The engine of one class of users in this process, and the greenlet that tells its requests to locust."""

    def __init__(self, environment: Any, order: LoadOrder, share: Share) -> None:
        native = find_native()
        if native is None:
            raise WrongUsage("the locust users need the native engine; build it: python -m bench.load.engine.build")
        self.environment, self.order, self.share = environment, order, share
        self.waiting: dict[int, gevent.event.AsyncResult[Any]] = {}
        self.numbers = itertools.count()
        self.users = 0
        self.engine = native.Engine(json.dumps(share.config), share.offsets.tobytes(), share.numbers.tobytes())
        self._names = [template["path"].partition("?")[0] for template in share.config["templates"]]
        self._kind = {"open": "OPEN", "closed": "CLOSED", "submitted": "POST"}[share.config["loop"]]
        # Wall time of the engine's origin, for the events' start_time.
        self._epoch = time.time() - time.monotonic()
        self._over = False
        self._pump = gevent.spawn(self._tell_by_bell if share.config["loop"] == "submitted" else self._tell_by_clock)

    def change_users(self, by: int) -> None:
        self.users += by
        self.engine.set_users(max(0, self.users))

    def _tell_by_clock(self) -> None:
        while not self._over:
            gevent.sleep(_TELL_SECONDS)
            self._tell_all()

    def _tell_by_bell(self) -> None:
        while not self._over:
            gevent.socket.wait_read(self.engine.fileno())
            self._tell_all()

    def _tell_all(self) -> None:
        while finished := self.engine.take(1024):
            for one in finished:
                self._tell(one)

    def _tell(self, finished: Any) -> None:
        error = RequestFailed(f"{finished.error_class}: {finished.error}") if finished.error_class else None
        waiter = self.waiting.pop(finished.number, None)
        self.environment.events.request.fire(
            request_type=self._kind,
            name=self._names[finished.template] if self._names else self.order.endpoint.path.partition("?")[0],
            response_time=finished.e2e_seconds * 1e3,
            response_length=finished.body_bytes,
            exception=error,
            context={},
            start_time=self._epoch + finished.intended_monotonic_seconds,
            response=finished,
        )
        if waiter is not None:
            waiter.set(finished)

    def finish(self) -> None:
        """Stops sending, lets what is open end, tells the rest. The hub goes on meanwhile."""
        if self._over:
            return
        self.engine.stop()
        limit = self.order.limits.drain_seconds + 2.0
        gevent.get_hub().threadpool.apply(self.engine.wait, (limit,))
        self._over = True
        self._pump.kill()
        self._tell_all()

    def tally(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.engine.results())
        return told
