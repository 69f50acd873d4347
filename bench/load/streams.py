"""Streams in Python, for where the native engine was not built: bytes to events, events to tokens."""

import json
from dataclasses import dataclass, field
from typing import Any

from bench.load.endpoints import Protocol

_OLLAMA = (Protocol.OLLAMA_GENERATE, Protocol.OLLAMA_CHAT)


class MalformedStream(Exception):
    """What came is no stream of the kind that its content type says."""


@dataclass(slots=True)
class Splitter:
    """Cuts a body into events; the same events for any cut of the bytes."""

    content_type: str
    plain: bool = False
    _held: bytes = b""
    _data: list[bytes] = field(default_factory=list)
    _after_cr: bool = False

    @property
    def is_sse(self) -> bool:
        return self.content_type == "text/event-stream"

    @property
    def is_lines(self) -> bool:
        return self.content_type in ("application/x-ndjson", "application/jsonl", "application/json-lines")

    @property
    def is_whole(self) -> bool:
        return not self.is_sse and not self.is_lines

    def feed(self, read: bytes) -> list[bytes]:
        if self.is_whole:
            self._held += b"" if self.plain else read
            return []
        if self.is_lines:
            *lines, self._held = (self._held + read).split(b"\n")
            return [line.strip() for line in lines if line.strip()]
        if self._after_cr and read:
            read = read.removeprefix(b"\n")
            self._after_cr = False
        if read.endswith(b"\r"):
            self._after_cr = True
        text = self._held + read.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, self._held = text.split(b"\n")
        events = (self._line(line) for line in lines)
        return [event for event in events if event is not None]

    def finish(self) -> list[bytes]:
        last = b"" if self.is_sse else self._held.strip()
        return [last] if last else []

    def _line(self, line: bytes) -> bytes | None:
        name, _, value = line.removeprefix(b"\xef\xbb\xbf").partition(b":")
        if not line:
            event = b"\n".join(self._data) if self._data else None
            self._data.clear()
            return event
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name not in (b"", b"event", b"id", b"retry"):
            raise MalformedStream(f"no field of an event stream: {line[:160]!r}")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTimes:
    """What ollama says of its own time, in nanoseconds."""

    load: int | None = None
    prompt_eval: int | None = None
    eval: int | None = None
    total: int | None = None

    @property
    def prefill(self) -> int | None:
        """Loading and the prompt; what the request waited for before is not in it."""
        return None if self.prompt_eval is None else self.prompt_eval + (self.load or 0)

    def to_json(self) -> dict[str, float | None]:
        named = {"load": self.load, "prompt_eval": self.prompt_eval, "eval": self.eval, "total": self.total}
        return {f"{name}_seconds": None if value is None else value / 1e9 for name, value in named.items()}


@dataclass(slots=True)
class Meaning:
    """Reads the events of one answer: which carry text, what was counted, whether the end came."""

    protocol: Protocol
    whole: bool = True
    backend_member: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    server_times: ServerTimes | None = None
    error: str | None = None
    backend: str | None = None
    text: str = ""
    ended: bool = False

    def event(self, payload: bytes) -> bool:
        """True: the event carries generated text."""
        if self.protocol is Protocol.PLAIN:
            return True
        if payload == b"[DONE]":
            self.ended = True
            return False
        try:
            value = json.loads(payload)
        except ValueError as error:
            raise MalformedStream(f"{error}: {payload[:160]!r}") from error
        if not isinstance(value, dict):
            raise MalformedStream(f"no JSON object: {payload[:160]!r}")
        self._learn(value)
        return not self.whole and self.error is None and self._carries_text(value)

    def missing_end(self) -> str | None:
        """What a whole stream would have had and this one has not."""
        if self.whole or self.ended or self.protocol is Protocol.PLAIN:
            return None
        end = "an object with done: true" if self.protocol in _OLLAMA else "[DONE] or a finish_reason"
        return f"the stream ended without {end}"

    def _learn(self, value: dict[str, Any]) -> None:
        if error := value.get("error"):
            self.error = str(error.get("message", error) if isinstance(error, dict) else error)
        if self.backend_member and self.backend is None and self.backend_member in value:
            self.backend = str(value[self.backend_member])
        if self.protocol in _OLLAMA:
            self._learn_ollama(value)
            return
        usage = value.get("usage") or {}
        self.prompt_tokens = usage.get("prompt_tokens", self.prompt_tokens)
        self.output_tokens = usage.get("completion_tokens", self.output_tokens)
        self.ended |= isinstance(_choice(value).get("finish_reason"), str)

    def _learn_ollama(self, value: dict[str, Any]) -> None:
        if value.get("done") is not True:
            return
        self.ended = True
        self.prompt_tokens = value.get("prompt_eval_count")
        self.output_tokens = value.get("eval_count")
        self.server_times = ServerTimes(
            load=value.get("load_duration"),
            prompt_eval=value.get("prompt_eval_duration"),
            eval=value.get("eval_duration"),
            total=value.get("total_duration"),
        )

    def _carries_text(self, value: dict[str, Any]) -> bool:
        choice = _choice(value)
        delta = choice.get("delta") or value.get("message") or {}
        found = [delta.get("content"), delta.get("reasoning_content"), delta.get("reasoning"), delta.get("thinking")]
        found += [choice.get("text"), value.get("response"), value.get("thinking")]
        self.text += next((text for text in found if isinstance(text, str)), "")
        return any(found) or bool(delta.get("tool_calls"))


def _choice(value: dict[str, Any]) -> dict[str, Any]:
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    return first if isinstance(first, dict) else {}
