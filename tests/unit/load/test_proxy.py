"""Through a proxy: whole URLs in the clear, a tunnel for TLS, who asks, and a proxy that refuses. Both engines."""

import asyncio
import contextlib
from dataclasses import dataclass, field, replace

import pytest

from bench.errors import WrongUsage
from bench.load.endpoints import Endpoint, Protocol, TlsOptions, proxy_from
from bench.load.engines import EngineKind
from bench.load.results import LoadResult
from bench.load.workers import Means, run
from tests.unit.load.faulty_server import faulty_server, served
from tests.unit.load.test_bad_input import REQUESTS, kind, order_for  # noqa: F401 -- a fixture
from tests.unit.load.test_tls import context_for, issue  # noqa: F401 -- a fixture


@dataclass(slots=True)
class Proxy:
    """Forwards what it is asked for, and remembers the heads."""

    refuses: bool = False
    port: int = 0
    heads: list[str] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        method, place, _ = head.split("\r\n", 1)[0].split(" ")
        if self.refuses:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
            writer.close()
            return
        authority = place if method == "CONNECT" else place.split("/")[2]
        host, _, port = authority.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        self.writers.append(far_writer)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            far_writer.write(head.replace(f"http://{authority}", "", 1).encode())
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer))


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while read := await reader.read(65_536):
            writer.write(read)
            await writer.drain()
    writer.close()


def through(proxy: Proxy, url: str, engine: EngineKind, tls: TlsOptions | None = None) -> LoadResult:
    endpoint = Endpoint.parse(url, Protocol.OPENAI_CHAT, f"http://me:s%40x@127.0.0.1:{proxy.port}")
    return run(replace(order_for(url), endpoint=endpoint, tls=tls or TlsOptions()), Means(kind=engine))


def test_a_request_in_the_clear_is_asked_for_by_its_whole_url(kind: EngineKind) -> None:  # noqa: F811
    with faulty_server() as server, served(Proxy()) as proxy:
        result = through(proxy, f"http://127.0.0.1:{server.port}/good", kind)

    assert result.tally.sums["ok"] == REQUESTS
    assert proxy.heads[0].startswith(f"POST http://127.0.0.1:{server.port}/good HTTP/1.1\r\n")
    assert "proxy-authorization: basic bwu6c0b4" in proxy.heads[0].lower()


def test_tls_goes_through_a_tunnel(issue: object, kind: EngineKind) -> None:  # noqa: F811
    with faulty_server(context_for(issue)) as server, served(Proxy()) as proxy:  # type: ignore[arg-type]
        result = through(proxy, f"https://127.0.0.1:{server.port}/good", kind, TlsOptions(insecure=True))

    assert result.tally.sums["ok"] == REQUESTS
    assert proxy.heads[0].startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n")
    assert "proxy-authorization: basic bwu6c0b4" in proxy.heads[0].lower()
    assert "proxy-authorization" not in "".join(server.heads).lower()


def test_a_proxy_that_refuses_the_tunnel_is_a_failure_to_connect(kind: EngineKind) -> None:  # noqa: F811
    with served(Proxy(refuses=True)) as proxy:
        result = through(proxy, "https://far.invalid/good", kind)

    assert set(result.tally.failures) == {"connect"}
    assert "407" in result.tally.failures["connect"].example


def test_the_password_of_a_proxy_is_not_told(kind: EngineKind) -> None:  # noqa: F811
    with served(Proxy(refuses=True)) as proxy:
        result = through(proxy, "https://far.invalid/good", kind)

    told = str(result.to_json()) + repr(result.order)
    assert "s@x" not in told
    assert "bWU6c0B4" not in told


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({"http_proxy": "http://p:1"}, "http://far/", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "http://far/", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "https://far/", None),
        ({"https_proxy": "http://q:2", "all_proxy": "http://p:1"}, "https://far/", "http://q:2"),
        ({"all_proxy": "http://p:1", "no_proxy": "x,.far.org"}, "http://a.far.org/", None),
        ({"all_proxy": "http://p:1", "no_proxy": "far.org"}, "http://notfar.org/", "http://p:1"),
        ({"all_proxy": "http://p:1", "no_proxy": "*"}, "http://far/", None),
        ({"all_proxy": "http://p:1"}, "http://127.0.0.1:80/", None),
        ({"all_proxy": "http://p:1"}, "http://localhost/", None),
        ({}, "http://far/", None),
    ],
)
def test_the_environment_names_the_proxy_and_who_is_let_out(
    environment: dict[str, str], url: str, proxy: str | None
) -> None:
    assert proxy_from(environment, url) == proxy


@pytest.mark.parametrize("proxy", ["socks5://h:1", "http://h", "h", "http://h:99999"])
def test_a_proxy_that_cannot_be_asked_is_refused(proxy: str) -> None:
    with pytest.raises(WrongUsage):
        Endpoint.parse("http://far", Protocol.PLAIN, proxy)
