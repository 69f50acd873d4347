"""Where requests go, by what protocol, and whether that may be without the user's explicit consent."""

import base64
import ipaddress
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

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
    proxy_authorization: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str, protocol: Protocol, proxy: str | None = None) -> "Endpoint":
        """A URL without a path gets the protocol's own."""
        parts, port = _split(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise WrongUsage(f"URL {url!r}: say http://HOST[:PORT][/PATH] or https://…")
        if parts.username or parts.password:
            raise WrongUsage("a URL with a password in it would be written into reports; use --header or --bearer-file")
        path = parts.path if parts.path not in ("", "/") else protocol.default_path
        by, shown = _proxy(proxy) if proxy else (None, None)
        return cls(
            tls=parts.scheme == "https",
            host=parts.hostname,
            port=port or (443 if parts.scheme == "https" else 80),
            path=path + (f"?{parts.query}" if parts.query else ""),
            proxy=by,
            proxy_authorization=shown,
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
            "proxy_authorization": self.proxy_authorization,
        }


def _split(url: str) -> tuple[SplitResult, int | None]:
    """The URL's parts, and its port where it names one."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise WrongUsage(f"URL {url!r}: {error}") from error
    return parts, port


def _proxy(url: str) -> tuple[str, str | None]:
    """Its place, and what it is told of who asks."""
    try:
        parts, port = _split(url if "//" in url else f"http://{url}")
    except WrongUsage:  # its message would show the password
        raise WrongUsage("the proxy's URL cannot be read: say http://[USER:PASSWORD@]HOST:PORT") from None
    if parts.scheme != "http" or not parts.hostname or not port:
        raise WrongUsage(f"proxy {parts.scheme}://{parts.hostname or ''}: say http://[USER:PASSWORD@]HOST:PORT")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if parts.username is None:
        return f"{host}:{port}", None
    known = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"{host}:{port}", f"Basic {base64.b64encode(known.encode()).decode()}"


def proxy_from(environment: Mapping[str, str], url: str) -> str | None:
    """
    The proxy that `http_proxy`, `https_proxy` or `all_proxy` names for this URL; None where `no_proxy` lets it out.

    Lower case counts before upper case. This machine is never asked for through a proxy.
    """
    parts, _ = _split(url)
    host = (parts.hostname or "").lower()

    def told(name: str) -> str:
        return environment.get(name) or environment.get(name.upper()) or ""

    if not host or is_loopback(host) or _is_let_out(host, told("no_proxy")):
        return None
    return told(f"{parts.scheme}_proxy") or told("all_proxy") or None


def is_loopback(host: str) -> bool:
    """By its name or address alone; nothing is looked up."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def _is_let_out(host: str, listed: str) -> bool:
    names = [name.strip().lower().partition(":")[0].lstrip(".") for name in listed.split(",")]
    return "*" in names or any(name and (host == name or host.endswith(f".{name}")) for name in names)


#: Where Kubernetes puts a pod's own credentials.
_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def inside_cluster() -> bool:
    """This process runs in a pod: it has a service account, or was told of the API server as every container is."""
    return _SERVICE_ACCOUNT.is_dir() or "KUBERNETES_SERVICE_HOST" in os.environ


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
    inside: bool = False,
    resolver: Callable[[str], Iterable[str]] = resolve,
) -> None:
    """
    Load goes to this machine freely, and to Services from inside their cluster; to any other place only if its URL was
    written out a second time.

    A name that has no address passes: nothing can be sent there, and its failure is to be reported as one of DNS.
    """
    host = (endpoint.proxy or "").rpartition(":")[0] or endpoint.host
    addresses = list(resolver(host))
    if all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses):
        return
    if inside and host.endswith((".svc", ".svc.cluster.local")):
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
