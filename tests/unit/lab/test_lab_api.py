"""The API client against a small server that answers, breaks off and forgets as a real one may."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from bench.lab.api import Access, ApiClient, ApiError, ApiUnreachable, WatchEvent
from bench.lab.control import pki

PATH = "/api/v1/pods"
Handler = Callable[[web.Request], Any]


def pod(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}}


def listed(version: int, *items: dict[str, Any]) -> web.Response:
    body = {"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": str(version)}, "items": list(items)}
    return web.json_response(body)


def line(kind: str, item: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


class Server:
    """Answers lists and watches from prepared turns; a turn is a response or the chunks of a stream."""

    def __init__(self, lists: list[web.Response], watches: list[list[bytes]]) -> None:
        self.lists = lists
        self.watches = watches
        self.versions: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return self.lists.pop(0)
        self.versions.append(request.query["resourceVersion"])
        stream = web.StreamResponse()
        await stream.prepare(request)
        if not self.watches:
            await asyncio.Event().wait()
        for chunk in self.watches.pop(0):
            await stream.write(chunk)
        return stream


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[ApiClient]:
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with ApiClient(Access(server=f"http://127.0.0.1:{port}", ca_pem=CA, token="secret")) as client:
            yield client
    finally:
        await runner.cleanup()


@pytest.fixture(scope="module", autouse=True)
def ca(tmp_path_factory: pytest.TempPathFactory) -> None:
    global CA  # noqa: PLW0603
    folder = tmp_path_factory.mktemp("pki")
    pki.make(folder)
    CA = (folder / "ca.crt").read_text(encoding="ascii")


CA = ""


def watch(server: Server, count: int) -> list[WatchEvent]:
    async def main() -> list[WatchEvent]:
        events: list[WatchEvent] = []
        async with served(server.handle) as client, asyncio.timeout(5):
            async for event in client.watch(PATH):
                events.append(event)
                if len(events) == count:
                    break
        return events

    return asyncio.run(main())


def told(events: list[WatchEvent]) -> list[str]:
    return [f"{event.kind} {event.object['metadata']['name']}" if event.object else str(event.kind) for event in events]


class TestWatching:
    def test_what_is_there_comes_first_and_is_ended_by_synced(self) -> None:
        server = Server([listed(7, pod("a", 3), pod("b", 5))], [[line("MODIFIED", pod("a", 8))]])

        events = watch(server, 4)

        assert told(events) == ["ADDED a", "ADDED b", "SYNCED", "MODIFIED a"]
        assert events[0].object["kind"] == "Pod"
        assert server.versions == ["7"]

    def test_a_lost_connection_goes_on_where_it_was(self) -> None:
        bookmark = {"metadata": {"resourceVersion": "20"}}
        server = Server(
            [listed(7, pod("a", 3))],
            [[line("MODIFIED", pod("a", 9)), line("BOOKMARK", bookmark)], [line("DELETED", pod("a", 21))]],
        )

        events = watch(server, 4)

        assert told(events) == ["ADDED a", "SYNCED", "MODIFIED a", "DELETED a"]
        assert server.versions == ["7", "20"]

    def test_after_an_expired_version_what_vanished_meanwhile_is_told(self) -> None:
        gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
        server = Server(
            [listed(7, pod("a", 3), pod("b", 4), pod("c", 5)), listed(30, pod("b", 4), pod("c", 25), pod("d", 26))],
            [[line("ERROR", gone)], [line("MODIFIED", pod("d", 31))]],
        )

        events = watch(server, 9)

        assert told(events)[:4] == ["ADDED a", "ADDED b", "ADDED c", "SYNCED"]
        assert told(events)[4:] == ["DELETED a", "MODIFIED c", "ADDED d", "SYNCED", "MODIFIED d"]

    def test_an_object_larger_than_any_buffer_arrives(self) -> None:
        large = pod("large", 8) | {"data": "x" * (1 << 20)}
        whole = line("ADDED", large)
        server = Server([listed(7)], [[whole[:1000], whole[1000:500_000], whole[500_000:]]])

        events = watch(server, 2)

        assert len(events[1].object["data"]) == 1 << 20

    def test_a_server_that_is_away_for_a_while_is_asked_again(self) -> None:
        server = Server([web.Response(status=503, text="starting"), listed(7, pod("a", 3))], [])

        assert told(watch(server, 2)) == ["ADDED a", "SYNCED"]

    def test_what_is_forbidden_is_not_asked_again(self) -> None:
        server = Server([web.json_response({"reason": "Forbidden", "message": "no"}, status=403)], [])

        with pytest.raises(ApiError) as caught:
            watch(server, 1)

        assert (caught.value.status, caught.value.reason) == (403, "Forbidden")


class TestCalling:
    def call(self, handler: Handler, call: Callable[[ApiClient], Any]) -> Any:
        async def main() -> Any:
            async with served(handler) as client:
                return await call(client)

        return asyncio.run(main())

    def test_a_call_carries_token_body_and_kind_of_patch(self) -> None:
        async def echo(request: web.Request) -> web.Response:
            headers = {name: request.headers[name] for name in ("Authorization", "Content-Type")}
            return web.json_response({"headers": headers, "body": await request.json(), "query": dict(request.query)})

        seen = self.call(echo, lambda client: client.apply(f"{PATH}/a", {"kind": "Pod"}, field_manager="me"))

        assert seen == {
            "headers": {"Authorization": "Bearer secret", "Content-Type": "application/apply-patch+yaml"},
            "body": {"kind": "Pod"},
            "query": {"fieldManager": "me", "force": "true"},
        }

    @pytest.mark.parametrize("body", ['{"reason": "Conflict", "message": "changed"}', "plain words", "[1]"])
    def test_an_error_keeps_its_status_whatever_its_body(self, body: str) -> None:
        async def refuse(_: web.Request) -> web.Response:
            return web.Response(status=409, text=body)

        with pytest.raises(ApiError) as caught:
            self.call(refuse, lambda client: client.create(PATH, {}))

        assert caught.value.status == 409
        assert caught.value.reason == "Conflict"

    def test_no_answer_is_an_error_of_its_own(self) -> None:
        async def hang_up(request: web.Request) -> web.Response:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        with pytest.raises(ApiUnreachable) as caught:
            self.call(hang_up, lambda client: client.get(PATH))

        assert caught.value.status == 0
