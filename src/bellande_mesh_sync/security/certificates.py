"""What a member's certificate says, and the checks that OpenSSL does not make for us.

A node certificate names the mesh, the node and its role in one URI of its subject alternative names,
`mesh://MESH_ID/NODE_ID?role=ROLE`, beside localhost so that HTTPS works on the machine itself.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bellande_mesh_sync.ids import NodeId, node_id_of

MESH_ID_BYTES = 16
ROLES = ("admin", "writer", "reader", "observer")
ISSUER_ROLE = "issuer"
"""What stands for the role in the certificate of a key that issues nodes; no node has it."""

UNREADABLE = (
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.InvalidVersion,
    UnsupportedAlgorithm,
    TypeError,  # An attribute of a name with a type that only others may have.
)
"""What the library raises, besides ValueError, for bytes it does not like."""
_MEMBER_URI = re.compile(r"mesh://([0-9a-f]{32})/([0-9a-f]{64})\?role=([a-z]{1,32})")


class CertificateFault(ValueError):
    """Why a certificate is no member's. Turned into an error of the tree where it is known whose it is."""


@dataclass(frozen=True, slots=True)
class MemberCertificate:
    """A parsed node certificate whose own statements fit each other; who signed it is another question."""

    node: NodeId
    mesh_id: bytes
    role: str
    name: str
    public_key: bytes
    """Raw Ed25519, 32 bytes."""
    not_before: datetime.datetime
    not_after: datetime.datetime
    x509: x509.Certificate


def member_uri(mesh_id: bytes, node: NodeId, role: str) -> str:
    return f"mesh://{mesh_id.hex()}/{node.hex()}?role={role}"


def parse_member(certificate: x509.Certificate) -> MemberCertificate:
    """Read what a node certificate says; CertificateFault unless it has exactly our form.

    Checked: an Ed25519 key, not a CA, one URI of our form, the node id in it is the key's.
    """
    try:
        return _parse_member(certificate)
    except CertificateFault:
        raise
    except (ValueError, *UNREADABLE) as error:  # The library reads each part when it is asked for it.
        raise CertificateFault(f"the certificate is not a node's: {error}") from None


def _parse_member(certificate: x509.Certificate) -> MemberCertificate:
    public_key = raw_public_key(certificate)
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if constraints.ca:
        raise CertificateFault("the certificate is an authority's, not a node's")
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise CertificateFault(f"the certificate has {len(uris)} URI names; a node's has exactly one")
    match = _MEMBER_URI.fullmatch(uris[0])
    if match is None:
        raise CertificateFault(f"the certificate's name {uris[0][:200]!r} is not a node's")
    node = node_id_of(public_key)
    if bytes.fromhex(match[2]) != node:
        raise CertificateFault(f"the certificate names node {match[2]}, but its key is that of {node.hex()}")
    return MemberCertificate(
        node=node,
        mesh_id=bytes.fromhex(match[1]),
        role=match[3],
        name=common_name(certificate),
        public_key=public_key,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        x509=certificate,
    )


def check_valid_at(certificate: x509.Certificate, now: datetime.datetime) -> None:
    """CertificateFault, saying by how much, if `now` is outside the certificate's time."""
    not_before, not_after = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < not_before:
        early = format_duration(not_before - now)
        raise CertificateFault(
            f"the certificate is valid only in {early}, from {not_before:%Y-%m-%d %H:%M} UTC"
        )
    if now > not_after:
        late = format_duration(now - not_after)
        raise CertificateFault(f"the certificate expired {late} ago, at {not_after:%Y-%m-%d %H:%M} UTC")


def load_der(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, *UNREADABLE) as error:
        raise CertificateFault(f"not a certificate: {error}") from None


def load_pem(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except (ValueError, *UNREADABLE) as error:
        raise CertificateFault(f"not a PEM certificate: {error}") from None


def load_bundle(pem: bytes) -> list[x509.Certificate]:
    """The certificates in a PEM text, at least one, all of Ed25519 keys.

    Of authorities the first names the mesh; of a node, its own comes first, and who issued it next.
    """
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except (ValueError, *UNREADABLE) as error:
        raise CertificateFault(f"not a PEM bundle: {error}") from None
    for certificate in certificates:
        raw_public_key(certificate)
    return certificates


def raw_public_key(certificate: x509.Certificate) -> bytes:
    """Its Ed25519 key as 32 bytes; CertificateFault for another kind of key."""
    try:
        key = certificate.public_key()
    except Exception as error:  # noqa: BLE001 - the library has no common base for "key I cannot read".
        raise CertificateFault(f"the certificate's key cannot be read: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise CertificateFault("the certificate's key is not Ed25519")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def mesh_id_of(authority: x509.Certificate) -> bytes:
    return mesh_id_of_key(raw_public_key(authority))


def mesh_id_of_key(public_key: bytes) -> bytes:
    """The id of the mesh whose first authority holds this raw key: the start of the key's SPKI hash."""
    return bytes(node_id_of(public_key)[:MESH_ID_BYTES])


def common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def der_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def fingerprint(der: bytes) -> bytes:
    return hashlib.sha256(der).digest()


def utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def format_duration(duration: datetime.timedelta) -> str:
    """A duration for people, its two largest units: `3 d 4 h`, `12 min 5 s`."""
    seconds = max(0, int(duration.total_seconds()))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
