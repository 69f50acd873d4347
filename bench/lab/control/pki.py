"""
Certificates and tokens of a lab's control plane, made anew for each lab and never used by another.

Elliptic curve keys throughout: making all of them takes milliseconds, where RSA takes seconds.
"""

import datetime as dt
import ipaddress
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bench.lab import network
from bench.lab.control.files import Identity, Pki

_VALID: Final = dt.timedelta(days=365)
_CLOCK_SKEW: Final = dt.timedelta(hours=1)


_USERS: Final[Mapping[Identity, tuple[str, str]]] = {
    Identity.ADMIN: ("kubernetes-admin", "system:masters"),
    # One agent plays every node, so it cannot be one of the users that the Node authorizer knows.
    Identity.AGENT: ("bench-lab-agent", "system:masters"),
    Identity.SCHEDULER: ("system:kube-scheduler", ""),
    Identity.CONTROLLER_MANAGER: ("system:kube-controller-manager", ""),
    Identity.PROXY: ("system:kube-proxy", ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make(folder: Path) -> dict[Identity, str]:
    """Write all certificates and keys into a folder; the token of each identity."""
    pki = Pki(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    cluster, front = _make_authority(pki.ca, "kubernetes"), _make_authority(pki.front_proxy_ca, "front-proxy-ca")
    _issue(cluster, pki.server, _name("kube-apiserver"), _server_names())
    _issue(cluster, pki.kubelet, _name("system:node:bench-lab", "system:nodes"), _lab_addresses())
    _issue(cluster, pki.kubelet_client, _name("kube-apiserver-kubelet-client", "system:masters"), ())
    _issue(front, pki.front_proxy, _name("front-proxy-client"), ())
    key = ec.generate_private_key(ec.SECP256R1())
    _write(pki.service_account_key, _private_pem(key))
    _write(pki.service_account_public_key, _public_pem(key))
    tokens = {identity: secrets.token_urlsafe(32) for identity in Identity}
    _write(pki.tokens, "".join(_token_line(identity, token) for identity, token in tokens.items()).encode())
    return tokens


def _token_line(identity: Identity, token: str) -> str:
    user, groups = _USERS[identity]
    return f'{token},{user},{user},"{groups}"\n' if groups else f"{token},{user},{user}\n"


def _server_names() -> Sequence[x509.GeneralName]:
    short = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
    names = [x509.DNSName(each) for each in (*short, f"kubernetes.default.svc.{network.CLUSTER_DOMAIN}")]
    return (*names, *_lab_addresses(), _address(network.API_SERVICE_ADDRESS))


def _lab_addresses() -> Sequence[x509.GeneralName]:
    return (_address("127.0.0.1"), _address(network.BRIDGE_ADDRESS))


def _address(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address(text))


def _name(common: str, organization: str = "") -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _make_authority(path: Path, common: str) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_name(common), _name(common), key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs=True), critical=True)
    )
    certificate = builder.sign(key, hashes.SHA256())
    _write_pair(path, certificate, key)
    return _Authority(certificate=certificate, key=key)


def _issue(authority: _Authority, path: Path, subject: x509.Name, names: Sequence[x509.GeneralName]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = (
        _builder(subject, authority.certificate.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(issuer_key, critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    _write_pair(path, builder.sign(authority.key, hashes.SHA256()), key)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_pair(path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    _write(path, certificate.public_bytes(serialization.Encoding.PEM))
    _write(Pki.key_of(path), _private_pem(key))


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
