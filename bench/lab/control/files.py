"""Where the credentials of a lab's control plane lie. `bench.lab.control.pki` makes them."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Identity(StrEnum):
    """Who asks the API server, each by a token of its own."""

    ADMIN = "admin"
    AGENT = "agent"
    SCHEDULER = "scheduler"
    CONTROLLER_MANAGER = "controller-manager"
    PROXY = "proxy"


@dataclass(frozen=True, slots=True)
class Pki:
    """The files, by what they are for; every ``x.crt`` has its ``x.key`` beside it."""

    folder: Path

    @property
    def ca(self) -> Path:
        """Signs the server's, the kubelet's and the kubelet client's certificates."""
        return self.folder / "ca.crt"

    @property
    def server(self) -> Path:
        """Serving certificate of the API server, and of what else listens on the lab's own addresses."""
        return self.folder / "apiserver.crt"

    @property
    def kubelet(self) -> Path:
        """Serving certificate of the agent: what ``kubectl logs`` is answered with."""
        return self.folder / "kubelet.crt"

    @property
    def kubelet_client(self) -> Path:
        """What the API server shows to the agent."""
        return self.folder / "apiserver-kubelet-client.crt"

    @property
    def front_proxy_ca(self) -> Path:
        """Signs only the front proxy's certificate."""
        return self.folder / "front-proxy-ca.crt"

    @property
    def front_proxy(self) -> Path:
        """What the API server shows to aggregated API servers."""
        return self.folder / "front-proxy-client.crt"

    @property
    def service_account_key(self) -> Path:
        """Signs service account tokens; the public half is `service_account_public_key`."""
        return self.folder / "sa.key"

    @property
    def service_account_public_key(self) -> Path:
        """Checks service account tokens."""
        return self.folder / "sa.pub"

    @property
    def tokens(self) -> Path:
        """The file of ``--token-auth-file``."""
        return self.folder / "tokens.csv"

    def kubeconfig(self, identity: Identity) -> Path:
        """How this identity reaches the API server from inside of the lab."""
        return self.folder / f"{identity}.kubeconfig"

    @staticmethod
    def key_of(certificate: Path) -> Path:
        """The private key that belongs to a certificate."""
        return certificate.with_suffix(".key")
