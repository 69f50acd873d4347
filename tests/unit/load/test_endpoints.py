"""URLs, and the consent that a load on another machine needs."""

import pytest

from bench.errors import WrongUsage
from bench.load.endpoints import Endpoint, Protocol, require_consent


def endpoint(url: str) -> Endpoint:
    return Endpoint.parse(url, Protocol.OPENAI_CHAT)


def test_a_url_without_a_path_gets_the_protocols() -> None:
    assert endpoint("http://h:81").path == "/v1/chat/completions"
    assert Endpoint.parse("https://h/", Protocol.OLLAMA_CHAT).path == "/api/chat"
    assert endpoint("http://h/x?y=1").path == "/x?y=1"


def test_an_origin_is_written_as_browsers_do() -> None:
    assert endpoint("https://h:443/x").origin == "https://h"
    assert endpoint("http://[::1]:8000").authority == "[::1]:8000"


@pytest.mark.parametrize("url", ["h:80", "ftp://h", "http://", "http://h:99999", "http://u:p@h/"])
def test_a_url_that_cannot_be_asked_is_refused(url: str) -> None:
    with pytest.raises(WrongUsage):
        endpoint(url)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["::1", "127.0.0.9"], []])
def test_this_machine_and_nobody_need_no_consent(addresses: list[str]) -> None:
    require_consent(endpoint("http://name"), consent=None, resolver=lambda _: addresses)


@pytest.mark.parametrize("consent", [None, "yes", "http://other", "https://name"])
def test_another_machine_is_refused_without_its_url_spelt_out(consent: str | None) -> None:
    with pytest.raises(WrongUsage, match="--yes-really http://name"):
        require_consent(endpoint("http://name/x"), consent=consent, resolver=lambda _: ["127.0.0.1", "203.0.113.1"])


@pytest.mark.parametrize("consent", ["http://name", "http://name/", "http://name/x"])
def test_another_machine_may_be_loaded_with_its_url_spelt_out(consent: str) -> None:
    require_consent(endpoint("http://name/x"), consent=consent, resolver=lambda _: ["203.0.113.1"])


def test_a_proxy_is_who_needs_the_consent() -> None:
    proxied = Endpoint.parse("http://name", Protocol.PLAIN, "http://proxy:3128")

    with pytest.raises(WrongUsage):
        require_consent(proxied, consent=None, resolver=lambda host: ["203.0.113.1"] if host == "proxy" else [])
