"""What is asked: bodies with drawn lengths, a file of real requests, a template; made once, sent again and again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import WrongUsage
from bench.load.endpoints import Protocol
from bench.load.files import read_text

#: Short words that tokenizers of today hold as one token each, so that N words are close to N tokens.
# fmt: off
_WORDS = (
    "the", "of", "and", "to", "in", "is", "was", "for", "that", "with", "as", "on", "be", "at", "by", "this", "had",
    "not", "are", "but", "from", "or", "have", "an", "they", "which", "one", "you", "were", "all", "her", "she",
    "there", "would", "their", "we", "him", "been", "has", "when", "who", "will", "no", "more", "if", "out", "so",
    "up", "said", "what", "its", "about", "than", "into", "them", "can", "only", "other", "time", "new", "some",
    "could", "these", "two", "may", "first", "then", "do", "any", "like", "my", "now", "over", "such", "our", "man",
    "me", "even", "most", "made", "after",
)
# fmt: on

#: Tokens of one prompt or answer, and of all prompts of a run together, which are kept in memory.
LONGEST_TOKENS = 10_000_000
_ALL_TOKENS_MAX = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """A distribution of token counts."""

    kind: str
    first: float
    second: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Lengths":
        """`N`, `uniform:LOW,HIGH`, `normal:MEAN,DEVIATION` or `lognormal:MEDIAN,SIGMA`."""
        name, colon, rest = text.partition(":")
        try:
            numbers = [float(number) for number in (rest if colon else name).split(",")]
        except ValueError:
            numbers = []
        numbers = numbers if all(number <= LONGEST_TOKENS for number in numbers) else []
        if not colon and len(numbers) == 1 and numbers[0] >= 1:
            return cls(kind="constant", first=numbers[0])
        sound = len(numbers) == 2 and numbers[0] >= 1 and numbers[1] >= 0
        if name in ("uniform", "normal", "lognormal") and sound and (name != "uniform" or numbers[0] <= numbers[1]):
            return cls(kind=name, first=numbers[0], second=numbers[1])
        raise WrongUsage(
            f"token count {text!r}: say N, uniform:LOW,HIGH, normal:MEAN,DEVIATION or lognormal:MEDIAN,SIGMA, "
            f"with numbers up to {LONGEST_TOKENS}"
        )

    def draw(self, generator: np.random.Generator, count: int) -> list[int]:
        if self.kind == "constant":
            return [round(self.first)] * count
        if self.kind == "uniform":
            return [int(n) for n in generator.integers(round(self.first), round(self.second) + 1, size=count)]
        if self.kind == "normal":
            drawn = generator.normal(self.first, self.second, size=count)
        else:
            drawn = generator.lognormal(np.log(self.first), self.second, size=count)
        if drawn.max(initial=0.0) > LONGEST_TOKENS:
            raise WrongUsage(
                f"token counts {self.kind}:{self.first:g},{self.second:g}: {drawn.max():g} was drawn, "
                f"{LONGEST_TOKENS} are the most; make the spread smaller"
            )
        return [max(1, round(float(n))) for n in drawn]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One request, ready to be sent; a session where `turns` is not empty."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    turns: tuple[str, ...] = ()
    before: str = ""
    after: str = ""
    think_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {"method": self.method, "path": self.path, "headers": self.headers, "body": self.body}
        if self.turns:
            think_ns = round(self.think_seconds * 1e9)
            told["session"] = {"before": self.before, "after": self.after, "turns": self.turns, "think_ns": think_ns}
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSource:
    """From what requests are made."""

    model: str = "default"
    prompt_tokens: Lengths = field(default_factory=lambda: Lengths(kind="constant", first=32))
    output_tokens: Lengths = field(default_factory=lambda: Lengths(kind="constant", first=64))
    shared_prefix_tokens: int = 0
    distinct: int = 256
    turns: int = 1
    think_seconds: float = 0.0
    stream: bool = True
    file: Path | None = None
    template_file: Path | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "POST"


def make_templates(source: RequestSource, *, protocol: Protocol, path: str, seed: int) -> tuple[Template, ...]:
    """All distinct requests of a run; the same source and seed give the same."""
    if source.file is not None:
        return _from_file(source, protocol, path)
    if protocol is Protocol.PLAIN and source.template_file is None and source.turns == 1:
        return (Template(method="GET", path=path, headers=source.headers),)
    generator = np.random.default_rng([seed, 3])
    shared = _words(generator, source.shared_prefix_tokens)
    lengths = source.prompt_tokens.draw(generator, source.distinct * source.turns)
    _require_room(source, lengths)
    prompts = [
        " ".join(filter(None, (shared, _words(generator, max(1, length - source.shared_prefix_tokens)))))
        for length in lengths
    ]
    outputs = source.output_tokens.draw(generator, source.distinct)
    if source.turns > 1:
        groups = [prompts[at * source.turns : (at + 1) * source.turns] for at in range(source.distinct)]
        pairs = zip(groups, outputs, strict=True)
        return tuple(_session(source, protocol, path, turns, output) for turns, output in pairs)
    text = read_text(source.template_file, named_by="--template") if source.template_file else None
    return tuple(
        _template(
            source, path, _filled(text, source, prompt, output) if text else _body(source, protocol, prompt, output)
        )
        for prompt, output in zip(prompts, outputs, strict=True)
    )


def _require_room(source: RequestSource, lengths: Sequence[int]) -> None:
    tokens = sum(max(length, source.shared_prefix_tokens) for length in lengths)
    if tokens > _ALL_TOKENS_MAX:
        raise WrongUsage(
            f"the {len(lengths)} different prompts have {tokens:g} tokens together, {_ALL_TOKENS_MAX:g} are the most; "
            "lower --distinct, --turns, --prompt-tokens or --shared-prefix-tokens"
        )


def _words(generator: np.random.Generator, count: int) -> str:
    return " ".join(_WORDS[at] for at in generator.integers(0, len(_WORDS), size=count))


def _template(source: RequestSource, path: str, body: str) -> Template:
    return Template(method=source.method, path=path, headers=_headers(source), body=body)


def _headers(source: RequestSource) -> tuple[tuple[str, str], ...]:
    named = {name.lower() for name, _ in source.headers}
    added = (
        ("content-type", "application/json"),
        ("accept", "text/event-stream, application/x-ndjson, application/json"),
    )
    return source.headers + tuple(pair for pair in added if pair[0] not in named)


def _limits(source: RequestSource, protocol: Protocol, output: int) -> dict[str, Any]:
    if protocol in (Protocol.OLLAMA_GENERATE, Protocol.OLLAMA_CHAT):
        return {"stream": source.stream, "options": {"num_predict": output}}
    limits: dict[str, Any] = {"max_tokens": output, "stream": source.stream}
    return limits | ({"stream_options": {"include_usage": True}} if source.stream else {})


def _body(source: RequestSource, protocol: Protocol, prompt: str, output: int) -> str:
    if protocol is Protocol.OPENAI_EMBEDDINGS:
        return json.dumps({"model": source.model, "input": prompt, **source.extra_body})
    if protocol in (Protocol.OPENAI_CHAT, Protocol.OLLAMA_CHAT):
        asked: dict[str, Any] = {"messages": [{"role": "user", "content": prompt}]}
    else:
        asked = {"prompt": prompt}
    return json.dumps({"model": source.model, **asked, **_limits(source, protocol, output), **source.extra_body})


def _session(source: RequestSource, protocol: Protocol, path: str, turns: Sequence[str], output: int) -> Template:
    if protocol not in (Protocol.OPENAI_CHAT, Protocol.OLLAMA_CHAT):
        raise WrongUsage(f"{protocol} has no conversations; sessions need openai-chat or ollama-chat")
    body = {"model": source.model, **_limits(source, protocol, output), **source.extra_body}
    return Template(
        method="POST",
        path=path,
        headers=_headers(source),
        before=json.dumps(body)[:-1] + ', "messages": [',
        after="]}",
        turns=tuple(json.dumps({"role": "user", "content": turn}) for turn in turns),
        think_seconds=source.think_seconds,
    )


def _filled(text: str, source: RequestSource, prompt: str, output: int) -> str:
    """`{{prompt}}`, `{{model}}` go in as the inside of a JSON string, `{{output_tokens}}` as a number."""
    body = text.replace("{{prompt}}", json.dumps(prompt)[1:-1]).replace("{{model}}", json.dumps(source.model)[1:-1])
    return body.replace("{{output_tokens}}", str(output))


def _from_file(source: RequestSource, protocol: Protocol, path: str) -> tuple[Template, ...]:
    """A JSON object a line: a body, `{"body": …, "path": …, "method": …, "headers": {…}}`, or `{"turns": ["…", …]}`."""
    file = source.file or Path()
    templates: list[Template] = []
    for place, line in enumerate(read_text(file, named_by="--requests").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
        except json.JSONDecodeError as error:
            raise WrongUsage(f"{file}, line {place}: {error}") from error
        if not isinstance(told, dict):
            raise WrongUsage(f"{file}, line {place}: no JSON object")
        try:
            templates.append(_from_line(source, protocol, path, told))
        except WrongUsage as error:
            raise WrongUsage(f"{file}, line {place}: {error}") from error
    if not templates:
        raise WrongUsage(f"{file} holds no request")
    return tuple(templates)


def _from_line(source: RequestSource, protocol: Protocol, path: str, told: dict[str, Any]) -> Template:
    if "turns" in told:
        output = told.get("output_tokens", round(source.output_tokens.first))
        turns = told["turns"]
        if not isinstance(turns, list) or not turns or not isinstance(output, int):
            raise WrongUsage('"turns" is a list of at least one text, "output_tokens" a whole number')
        return _session(source, protocol, path, [str(turn) for turn in turns], output)
    if "body" not in told and "path" not in told:
        return _template(source, path, json.dumps(told))
    body, own, path = told.get("body", ""), told.get("headers", {}), str(told.get("path", path))
    if not isinstance(own, dict) or not path.startswith("/"):
        raise WrongUsage('"headers" is an object of texts, "path" begins with /')
    headers = source.headers + tuple((str(name), str(value)) for name, value in own.items())
    named = {name.lower() for name, _ in headers}
    if body and "content-type" not in named:
        headers += (("content-type", "application/json"),)
    return Template(
        method=str(told.get("method", "POST" if body else "GET")),
        path=path,
        headers=headers,
        body=body if isinstance(body, str) else json.dumps(body),
    )
