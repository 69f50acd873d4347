"""Where requests go, by what protocol, and whether that may be without the user's explicit consent."""

import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.errors import WrongUsage


class Protocol(StrEnum):
    """What is spoken above HTTP."""

    OPENAI_CHAT = "openai-chat"
    OPENAI_COMPLETIONS = "openai-completions"
    OPENAI_EMBEDDINGS = "openai-embeddings"
    OLLAMA_GENERATE = "ollama-generate"
    OLLAMA_CHAT = "ollama-chat"
    PLAIN = "plain"

    @property
    def default_path(self) -> str:
        return _PATHS[self]

    @property
    def streams(self) -> bool:
        """A streamed answer can be asked for."""
        return self not in (Protocol.OPENAI_EMBEDDINGS, Protocol.PLAIN)


_PATHS = {
    Protocol.OPENAI_CHAT: "/v1/chat/completions",
    Protocol.OPENAI_COMPLETIONS: "/v1/completions",
    Protocol.OPENAI_EMBEDDINGS: "/v1/embeddings",
    Protocol.OLLAMA_GENERATE: "/api/generate",
    Protocol.OLLAMA_CHAT: "/api/chat",
    Protocol.PLAIN: "/",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """How the server is believed, and who we are to it."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    insecure: bool = False

    def to_json(self) -> dict[str, Any]:
        def told(file: Path | None) -> str | None:
            return str(file) if file else None

        return {
            "ca_file": told(self.ca_file),
            "certificate_file": told(self.certificate_file),
            "key_file": told(self.key_file),
            "insecure": self.insecure,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A URL, taken apart."""

    tls: bool
    host: str
    port: int
    path: str
    proxy: str | None = None

    @classmethod
    def parse(cls, url: str, protocol: Protocol, proxy: str | None = None) -> "Endpoint":
        """A URL without a path gets the protocol's own."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise WrongUsage(f"URL {url!r}: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise WrongUsage(f"URL {url!r}: say http://HOST[:PORT][/PATH] or https://…")
        if parts.username or parts.password:
            raise WrongUsage("a URL with a password in it would be written into reports; use --header or --bearer-file")
        path = parts.path if parts.path not in ("", "/") else protocol.default_path
        return cls(
            tls=parts.scheme == "https",
            host=parts.hostname,
            port=port or (443 if parts.scheme == "https" else 80),
            path=path + (f"?{parts.query}" if parts.query else ""),
            proxy=_proxy(proxy) if proxy else None,
        )

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    def to_json(self) -> dict[str, Any]:
        return {
            "tls": self.tls,
            "host": self.host,
            "port": self.port,
            "authority": self.authority,
            "proxy": self.proxy,
        }


def _proxy(url: str) -> str:
    parts = urlsplit(url if "//" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname or not parts.port:
        raise WrongUsage(f"proxy {url!r}: say http://HOST:PORT")
    return f"{parts.hostname}:{parts.port}"


def resolve(host: str) -> list[str]:
    """Addresses of a name; none if it is not found."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(entry[4][0]) for entry in found]


def require_consent(
    endpoint: Endpoint,
    *,
    consent: str | None,
    inside_cluster: bool = False,
    resolver: Callable[[str], Iterable[str]] = resolve,
) -> None:
    """
    Load goes to this machine freely; to any other only if its URL was written out a second time.

    A name that has no address passes: nothing can be sent there, and its failure is to be reported as one of DNS.
    """
    host = (endpoint.proxy or "").rpartition(":")[0] or endpoint.host
    addresses = list(resolver(host))
    if all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses):
        return
    if inside_cluster and host.endswith((".svc", ".svc.cluster.local")):
        return
    if consent is not None and consent.rstrip("/") in (
        endpoint.origin,
        f"{endpoint.origin}{endpoint.path}".rstrip("/"),
    ):
        return
    raise WrongUsage(
        f"{endpoint.origin} is another machine ({', '.join(addresses[:3])}); an unexpected load is an attack. "
        f"If it is yours to load, add: --yes-really {endpoint.origin}"
    )
