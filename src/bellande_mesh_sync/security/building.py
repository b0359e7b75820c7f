"""How certificates are made: the authority's own, an issuer's, a node's."""

from __future__ import annotations

import datetime
import ipaddress
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from bellande_mesh_sync.errors import ConfigError
from bellande_mesh_sync.ids import node_id_of
from bellande_mesh_sync.security.certificates import ISSUER_ROLE, ROLES, load_pem, member_uri, utc_now

AUTHORITY_DAYS: Final = 3650
ISSUER_DAYS: Final = 365
LEAF_DAYS: Final = 30
SKEW: Final = datetime.timedelta(minutes=5)
"""Certificates begin a little in the past, for nodes whose clock is a little behind."""
_NAME_LENGTH_MAX = 64


class Signer(Protocol):
    """Who signs: the authority, or an issuer."""

    @property
    def mesh_id(self) -> bytes: ...
    @property
    def certificate_pem(self) -> bytes: ...
    @property
    def key(self) -> Ed25519PrivateKey: ...


def issue_leaf(signer: Signer, public_key: bytes, *, name: str, role: str, days: float) -> bytes:
    """A node certificate (PEM) for a raw Ed25519 public key; ConfigError for a bad name or role."""
    check_name("name", name)
    if role not in ROLES:
        raise ConfigError(field="role", reason=f"{role!r} is none of {', '.join(ROLES)}")
    return leaf_certificate(signer, public_key, name, role, _span(days)).public_bytes(Encoding.PEM)


def authority_certificate(key: Ed25519PrivateKey, mesh_name: str, days: int) -> x509.Certificate:
    now = utc_now()
    name = _subject(mesh_name)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
        # Below it are issuers and nodes, and below an issuer nodes only.
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, None)
    )


def issuer_certificate(signer: Signer, public_key: bytes, name: str, days: float) -> x509.Certificate:
    """The certificate with which a member issues nodes; `public_key` is its key for just this."""
    key = Ed25519PublicKey.from_public_bytes(public_key)
    uri = x509.UniformResourceIdentifier(member_uri(signer.mesh_id, node_id_of(public_key), ISSUER_ROLE))
    return (
        _begun(signer, key, name, _span(days))
        # It issues nodes and nothing below it: a stolen node key cannot issue anybody.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        .sign(signer.key, None)
    )


def leaf_certificate(
    signer: Signer,
    public_key: bytes,
    name: str,
    role: str,
    span: tuple[datetime.datetime, datetime.datetime],
) -> x509.Certificate:
    key = Ed25519PublicKey.from_public_bytes(public_key)
    names: list[x509.GeneralName] = [
        x509.UniformResourceIdentifier(member_uri(signer.mesh_id, node_id_of(public_key), role)),
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ]
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    return (
        _begun(signer, key, name, span)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(signer.key, None)
    )


def _begun(
    signer: Signer,
    key: Ed25519PublicKey,
    name: str,
    span: tuple[datetime.datetime, datetime.datetime],
) -> x509.CertificateBuilder:
    """What all certificates below `signer` have; none outlives it."""
    issuer = load_pem(signer.certificate_pem)
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .issuer_name(issuer.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(span[0])
        .not_valid_after(min(span[1], issuer.not_valid_after_utc))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False
        )
    )


def _span(days: float) -> tuple[datetime.datetime, datetime.datetime]:
    now = utc_now()
    return (now - SKEW, now + datetime.timedelta(days=days))


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def check_name(field_name: str, name: str) -> None:
    """ConfigError unless `name` may stand in a certificate."""
    if not 1 <= len(name) <= _NAME_LENGTH_MAX or not name.isprintable():
        reason = f"a name is 1 to {_NAME_LENGTH_MAX} printable characters"
        raise ConfigError(field=field_name, reason=reason)
