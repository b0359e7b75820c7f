"""Certificates that no authority of ours would issue, and what is wrong with each."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from bellande_mesh_sync.ids import NodeId, node_id_of
from bellande_mesh_sync.security.authority import Authority, new_member
from bellande_mesh_sync.security.certificates import member_uri
from bellande_mesh_sync.security.identity import Identity, new_key, public_bytes
from tests.shell.link_nodes import ALICE, AUTHORITY, BOB

DAY = datetime.timedelta(days=1)


def forged(
    *,
    issuer: Authority = AUTHORITY,
    uris: Callable[[NodeId], list[str]] = lambda node: [member_uri(AUTHORITY.mesh_id, node, "writer")],
    from_now: datetime.timedelta = -DAY,
    until: datetime.timedelta = DAY,
    is_authority: bool = False,
    usages: tuple[x509.ObjectIdentifier, ...] = (
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
    ),
    signer: Ed25519PrivateKey | None = None,
    other_key: Any = None,
) -> Identity:
    """A member that never went through Authority.issue; it trusts the true mesh, to get as far as it can."""
    key = new_key()
    shown = other_key or key
    issuer_name = x509.load_pem_x509_certificate(issuer.certificate_pem).subject
    names = [x509.UniformResourceIdentifier(uri) for uri in uris(node_id_of(public_bytes(key)))]
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mallory")]))
        .issuer_name(issuer_name)
        .public_key(shown.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + from_now)
        .not_valid_after(now + until)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, is_authority, False, False, False), critical=True
        )
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), *names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(shown.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
        )
        .sign(signer or issuer.key, None)
    )
    return replace(BOB, certificate_pem=certificate.public_bytes(Encoding.PEM), key=shown)


TWIN = Authority.create("harbour")  # Another authority under the same name.
TWIN_MEMBER = new_member(TWIN, "bob", role="writer")


def twin_claiming_our_mesh() -> Identity:
    return forged(issuer=TWIN)


def _self_signed() -> Identity:
    key = new_key()
    return forged(signer=key, other_key=key)


REFUSED_BY_OPENSSL: dict[str, Callable[[], Identity]] = {
    "another authority of the same name": lambda: replace(
        BOB, certificate_pem=TWIN_MEMBER.certificate_pem, key=TWIN_MEMBER.key
    ),
    "another authority, naming our mesh": twin_claiming_our_mesh,
    "signed by its own key": _self_signed,
    "expired": lambda: forged(from_now=-3 * DAY, until=-DAY),
    "not valid yet": lambda: forged(from_now=DAY, until=3 * DAY),
    "of another purpose": lambda: forged(usages=(ExtendedKeyUsageOID.CODE_SIGNING,)),
}


def _two_names(node: NodeId) -> list[str]:
    return [member_uri(AUTHORITY.mesh_id, node, role) for role in ("reader", "admin")]


REFUSED_BY_US: dict[str, tuple[Callable[[], Identity], str]] = {
    "names another node": (
        lambda: forged(uris=lambda _: [member_uri(AUTHORITY.mesh_id, ALICE.node, "writer")]),
        "but its key is that of",
    ),
    "names another mesh": (
        lambda: forged(uris=lambda node: [member_uri(TWIN.mesh_id, node, "writer")]),
        "for another mesh",
    ),
    "has two names": (
        lambda: forged(
            uris=lambda node: [member_uri(AUTHORITY.mesh_id, node, r) for r in ("reader", "admin")]
        ),
        "2 URI names",
    ),
    "has no name": (lambda: forged(uris=lambda _: []), "0 URI names"),
    "has a name of another form": (lambda: forged(uris=lambda _: ["https://localhost/"]), "is not a node's"),
    "has a name with something after it": (
        lambda: forged(uris=lambda node: [member_uri(AUTHORITY.mesh_id, node, "writer") + "&role=admin"]),
        "is not a node's",
    ),
    "is an authority": (lambda: forged(is_authority=True), "is an authority's"),
    "has another kind of key": (
        lambda: forged(other_key=ec.generate_private_key(ec.SECP256R1())),
        "not Ed25519",
    ),
}
