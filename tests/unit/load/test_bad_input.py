"""What can go wrong with a server is a counted class with an example; the run ends and tells. Both engines."""

import json
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bench.load.arrivals import Arrivals, Process, Shape
from bench.load.endpoints import Endpoint, Protocol
from bench.load.engine import find_native
from bench.load.engines import EngineKind
from bench.load.orders import Identity, Limits, LoadOrder, LoopKind
from bench.load.requests import RequestSource
from bench.load.results import Exit, LoadResult
from bench.load.workers import Means, run
from tests.unit.load.faulty_server import TOKENS, FaultyServer, faulty_server

REQUESTS = 3


@pytest.fixture(params=list(EngineKind))
def kind(request: pytest.FixtureRequest) -> EngineKind:
    if request.param is EngineKind.NATIVE and find_native() is None:
        pytest.skip("the native engine is not built")
    return request.param


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with faulty_server() as server:
        yield server


def order_for(url: str, protocol: Protocol = Protocol.OPENAI_CHAT) -> LoadOrder:
    return LoadOrder(
        endpoint=Endpoint.parse(url, protocol),
        protocol=protocol,
        loop=LoopKind.OPEN,
        shape=Shape.constant(20.0, REQUESTS / 20),
        arrivals=Arrivals(process=Process.CONSTANT),
        source=RequestSource(distinct=2),
        # long beside an answer on a busy machine, short for the one test that waits for it
        limits=Limits(timeout_seconds=1.5, connect_timeout_seconds=1.5, drain_seconds=3.0),
        identity=Identity(prefix="r", backend_header="x-backend"),
    )


def ask(server: FaultyServer, path: str, kind: EngineKind, protocol: Protocol = Protocol.OPENAI_CHAT) -> LoadResult:
    return run(order_for(f"http://127.0.0.1:{server.port}{path}", protocol), Means(kind=kind))


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("/nowhere", "status", "404"),
        ("/401", "status", "who are you"),
        ("/429", "status", "429 Too Many Requests: slow down"),
        ("/500", "status", "oops"),
        ("/cut", "incomplete", "tokens"),
        ("/cut-before", "incomplete", ""),
        ("/no-end", "incomplete", "without [DONE]"),
        ("/malformed", "protocol", "broken"),
        ("/not-sse", "protocol", "what?"),
        ("/html", "protocol", "html"),
        ("/error-event", "protocol", "out of memory"),
        ("/no-http", "protocol", ""),
        ("/never", "timeout", ""),
    ],
)
def test_a_bad_answer_is_counted_in_its_class_with_an_example(
    server: FaultyServer, kind: EngineKind, path: str, error: str, words: str
) -> None:
    told = ask(server, path, kind).to_json()["requests"]

    assert set(told["failed"]) == {error}
    assert told["failed"][error]["count"] == told["planned"] == told["sent"] == REQUESTS
    assert words in told["failed"][error]["example"]
    assert told["ok"] == 0


def test_a_run_with_failures_says_so_by_its_exit_code(server: FaultyServer, kind: EngineKind) -> None:
    assert ask(server, "/500", kind).exit_code is Exit.FAILED


def test_nobody_listens_is_a_failure_to_connect(kind: EngineKind) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        result = run(order_for(f"http://127.0.0.1:{taken.getsockname()[1]}"), Means(kind=kind))

    assert set(result.tally.failures) == {"connect"}
    assert result.tally.sums["sent"] == 0
    assert result.exit_code is Exit.FAILED


def test_a_name_that_does_not_exist_is_a_failure_of_dns(kind: EngineKind) -> None:
    order = replace(order_for("http://nosuch.invalid"), limits=Limits(timeout_seconds=1.5, connect_timeout_seconds=1.5))

    assert set(run(order, Means(kind=kind)).tally.failures) == {"dns"}


def test_a_server_without_tls_is_a_failure_of_tls(server: FaultyServer, kind: EngineKind) -> None:
    result = run(order_for(f"https://127.0.0.1:{server.port}/good"), Means(kind=kind))

    assert set(result.tally.failures) == {"tls"}


def test_a_good_stream_is_counted_by_the_servers_usage(server: FaultyServer, kind: EngineKind) -> None:
    told = ask(server, "/good", kind).to_json()

    assert told["engine"] == kind.value
    assert (told["requests"]["ok"], told["requests"]["failed"]) == (REQUESTS, {})
    assert told["tokens"]["output"] == REQUESTS * TOKENS
    assert told["tokens"]["output_source"] == "usage"
    assert told["ttft_seconds"]["from_sent"]["count"] == REQUESTS
    assert told["itl_seconds"]["count"] == REQUESTS * (TOKENS - 1)
    assert told["backends"]["pod-1"]["answered"] == REQUESTS


def test_a_stream_without_usage_is_counted_and_marked_so(server: FaultyServer, kind: EngineKind) -> None:
    told = ask(server, "/no-usage", kind).to_json()["tokens"]

    assert (told["output"], told["output_source"]) == (REQUESTS * TOKENS, "counted")


def test_an_answer_in_one_piece_has_tokens_and_no_ttft(server: FaultyServer, kind: EngineKind) -> None:
    told = ask(server, "/whole", kind).to_json()

    assert told["tokens"]["output"] == REQUESTS * 4
    assert told["ttft_seconds"]["from_sent"] == {
        "count": 0, "mean": None, "p50": None, "p90": None, "p99": None, "p999": None, "max": None,
    }  # fmt: skip


def test_ollamas_own_durations_are_kept(server: FaultyServer, kind: EngineKind) -> None:
    told = ask(server, "/ollama", kind, Protocol.OLLAMA_GENERATE).to_json()

    assert told["requests"]["ok"] == REQUESTS
    assert (told["tokens"]["prompt"], told["tokens"]["output"]) == (REQUESTS * 3, REQUESTS * 2)
    assert told["server_total_seconds"]["max"] == pytest.approx(0.002)


def test_plain_bytes_are_counted_and_have_no_tokens(server: FaultyServer, kind: EngineKind) -> None:
    result = ask(server, "/bytes", kind, Protocol.PLAIN)

    assert result.tally.sums["body_bytes"] == REQUESTS * 1000
    assert result.to_json()["tokens"]["output"] == 0


def test_each_request_carries_its_own_id(server: FaultyServer, kind: EngineKind) -> None:
    ask(server, "/good", kind)

    ids = sorted(
        line for head in server.heads for line in head.lower().split("\r\n") if line.startswith("x-request-id")
    )
    assert ids == [f"x-request-id: r-{number}" for number in range(REQUESTS)]


def test_a_conversation_sends_the_answers_back(server: FaultyServer, kind: EngineKind) -> None:
    order = order_for(f"http://127.0.0.1:{server.port}/good")
    order = replace(order, source=RequestSource(distinct=1, turns=2), limits=Limits(drain_seconds=1.5))

    result = run(replace(order, shape=Shape.constant(20.0, 0.05)), Means(kind=kind))

    assert result.tally.sums["ok"] == result.circumstances.planned == 2
    roles = [message["role"] for message in json.loads(server.bodies[-1])["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert json.loads(server.bodies[-1])["messages"][1]["content"] == " 0 1 2 3 4"


def test_both_engines_give_the_same_schema(server: FaultyServer) -> None:
    if find_native() is None:
        pytest.skip("the native engine is not built")

    def shape_of(value: object) -> object:
        return {key: shape_of(one) for key, one in value.items()} if isinstance(value, dict) else None

    told = [ask(server, "/good", kind).to_json() for kind in EngineKind]
    for one in told:
        del one["histograms"], one["clock"]

    assert shape_of(told[0]) == shape_of(told[1])
