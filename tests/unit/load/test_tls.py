"""TLS: one's own CA, a client's certificate, and no verification only where that was asked for. Both engines."""

import datetime as dt
import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.load.endpoints import TlsOptions
from bench.load.engines import EngineKind
from bench.load.workers import Means, run
from tests.unit.load.faulty_server import faulty_server
from tests.unit.load.test_bad_input import REQUESTS, kind, order_for  # noqa: F401 -- a fixture


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    certificate: Path
    key: Path


@pytest.fixture(scope="module")
def issue(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Issued]:
    """Certificates of a CA of our own; the name `ca` is the CA itself."""
    folder = tmp_path_factory.mktemp("pki")
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])

    def issue(name: str) -> Issued:
        key = ca_key if name == "ca" else ec.generate_private_key(ec.SECP256R1())
        subject = ca_name if name == "ca" else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        authority = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name == "ca", path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        issued = Issued(certificate=folder / f"{name}.crt", key=folder / f"{name}.key")
        issued.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        issued.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return issued

    return issue


def context_for(issue: Callable[[str], Issued], *, wants_client: bool = False) -> ssl.SSLContext:
    server, ca = issue("server"), issue("ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    if wants_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ca.certificate)
    return context


def outcome(context: ssl.SSLContext, options: TlsOptions, engine: EngineKind) -> tuple[int, set[str]]:
    with faulty_server(context) as server:
        order = replace(order_for(f"https://127.0.0.1:{server.port}/good"), tls=options)
        tally = run(order, Means(kind=engine)).tally
    return tally.sums["ok"], set(tally.failures)


def test_a_server_of_ones_own_ca_is_believed(issue: Callable[[str], Issued], kind: EngineKind) -> None:  # noqa: F811
    options = TlsOptions(ca_file=issue("ca").certificate)

    assert outcome(context_for(issue), options, kind) == (REQUESTS, set())


def test_a_server_of_an_unknown_ca_is_not_believed(issue: Callable[[str], Issued], kind: EngineKind) -> None:  # noqa: F811
    assert outcome(context_for(issue), TlsOptions(), kind) == (0, {"tls"})


def test_insecure_believes_any_server(issue: Callable[[str], Issued], kind: EngineKind) -> None:  # noqa: F811
    assert outcome(context_for(issue), TlsOptions(insecure=True), kind) == (REQUESTS, set())


def test_a_server_that_wants_a_client_certificate_gets_it(issue: Callable[[str], Issued], kind: EngineKind) -> None:  # noqa: F811
    ca, client = issue("ca"), issue("client")
    options = TlsOptions(ca_file=ca.certificate, certificate_file=client.certificate, key_file=client.key)

    assert outcome(context_for(issue, wants_client=True), options, kind) == (REQUESTS, set())
