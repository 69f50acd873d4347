"""The client of a locust user with tasks of its own: one greenlet switch a request, however many tokens it brings."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

import gevent.event

from bench.load.orders import LoadOrder


class Sending(Protocol):
    """What a client needs of the engine's line in this process."""

    order: LoadOrder
    engine: Any
    waiting: dict[int, Any]
    numbers: Any


class Client:
    """Sends one request and waits for its end."""

    def __init__(self, line: Sending) -> None:
        self._line = line

    def chat(self, prompt: str, *, output_tokens: int = 64, **members: Any) -> Any:
        """A streamed chat completion; gives the finished request: `text`, `ttft_seconds`, `e2e_seconds`, `error`."""
        source = self._line.order.source
        messages = [{"role": "user", "content": prompt}]
        limits = {"max_tokens": output_tokens, "stream": True, "stream_options": {"include_usage": True}}
        body = {"model": source.model, "messages": messages, **limits, **source.extra_body, **members}
        return self.send("POST", self._line.order.endpoint.path, body)

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Any request; the answer is read by the class's protocol."""
        line = self._line
        headers = [*line.order.source.headers, ("content-type", "application/json")]
        request = line.engine.prepare(method, path, headers, json.dumps(body) if body is not None else "")
        number = next(line.numbers)
        result: gevent.event.AsyncResult[Any] = gevent.event.AsyncResult()
        line.waiting[number] = result
        line.engine.submit(request, number)
        return result.get()
