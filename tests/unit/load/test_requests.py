"""Requests: lengths by their law, bodies as each protocol wants them, files read or refused with the place."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.errors import WrongUsage
from bench.load.endpoints import Protocol
from bench.load.requests import Lengths, RequestSource, make_templates

PROTOCOLS = [protocol for protocol in Protocol if protocol is not Protocol.PLAIN]


def bodies(source: RequestSource, protocol: Protocol = Protocol.OPENAI_CHAT) -> list[dict[str, object]]:
    return [json.loads(template.body) for template in make_templates(source, protocol=protocol, path="/x", seed=1)]


@pytest.mark.parametrize(
    ("text", "mean", "low", "high"),
    [
        ("40", 40, 40, 40),
        ("uniform:10,30", 20, 10, 30),
        ("normal:100,10", 100, 50, 150),
        ("lognormal:50,0.1", 50, 20, 120),
    ],
)
def test_lengths_follow_their_distribution(text: str, mean: float, low: int, high: int) -> None:
    drawn = Lengths.parse(text).draw(np.random.default_rng(1), 2000)

    assert np.mean(drawn) == pytest.approx(mean, rel=0.03)
    assert low <= min(drawn) <= max(drawn) <= high


@pytest.mark.parametrize("text", ["", "0", "x", "uniform:3", "uniform:5,2", "normal:0,1", "poisson:3,4", "1,2"])
def test_lengths_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(WrongUsage):
        Lengths.parse(text)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_gets_a_prompt_of_the_length_asked_for(protocol: Protocol) -> None:
    body = bodies(RequestSource(prompt_tokens=Lengths.parse("12"), distinct=1), protocol)[0]

    messages = body.get("messages")
    prompt = messages[0]["content"] if isinstance(messages, list) else body.get("prompt", body.get("input"))
    assert len(str(prompt).split()) == 12


def test_a_shared_prefix_is_the_same_in_all_and_the_rest_is_not() -> None:
    source = RequestSource(prompt_tokens=Lengths.parse("30"), shared_prefix_tokens=20, distinct=4)
    prompts = [body["messages"][0]["content"].split() for body in bodies(source)]

    assert len({tuple(prompt[:20]) for prompt in prompts}) == 1
    assert len({tuple(prompt[20:]) for prompt in prompts}) == 4


def test_usage_is_asked_for_in_a_stream() -> None:
    assert bodies(RequestSource(distinct=1))[0]["stream_options"] == {"include_usage": True}
    assert "stream_options" not in bodies(RequestSource(distinct=1, stream=False))[0]


def test_a_template_is_filled_and_stays_json(tmp_path: Path) -> None:
    file = tmp_path / "body.json"
    file.write_text('{"q": "{{prompt}}", "m": "{{model}}", "n": {{output_tokens}}}')

    body = bodies(RequestSource(template_file=file, model='a"b', output_tokens=Lengths.parse("5"), distinct=1))[0]

    assert (body["m"], body["n"]) == ('a"b', 5)


def test_a_file_gives_bodies_requests_and_conversations(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text(
        '{"prompt": "a"}\n\n{"path": "/health", "method": "GET"}\n'
        '{"path": "/y", "body": {"b": 1}, "headers": {"X-A": "1"}}\n{"turns": ["a", "b"]}\n'
    )

    first, second, third, fourth = make_templates(
        RequestSource(file=file), protocol=Protocol.OPENAI_CHAT, path="/x", seed=1
    )

    assert (first.path, json.loads(first.body)) == ("/x", {"prompt": "a"})
    assert (second.method, second.path, second.body) == ("GET", "/health", "")
    assert (third.headers[0], json.loads(third.body)) == (("X-A", "1"), {"b": 1})
    assert len(fourth.turns) == 2
    assert json.loads(fourth.before + fourth.turns[0] + fourth.after)["messages"] == [{"role": "user", "content": "a"}]


@pytest.mark.parametrize("text", ["", "[1]\n", "{broken\n"])
def test_a_file_that_holds_no_requests_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text(text)

    with pytest.raises(WrongUsage):
        make_templates(RequestSource(file=file), protocol=Protocol.OPENAI_CHAT, path="/x", seed=1)
