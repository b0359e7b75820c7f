"""From a node's certificate up to the authority: directly, or through one issuer.

OpenSSL checks the same in each handshake. This is the second look, which does not depend on how a context
was made, and the only one where nothing but the authority's key is known yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import SignatureAlgorithmOID

from bellande_mesh_sync.ids import node_id_of
from bellande_mesh_sync.security.certificates import (
    ISSUER_ROLE,
    UNREADABLE,
    CertificateFault,
    MemberCertificate,
    member_uri,
    mesh_id_of_key,
    parse_member,
    raw_public_key,
)

SHOWN_MAX: Final = 3
"""A node, its issuer, the authority."""


def member_of(
    shown: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate]
) -> MemberCertificate:
    """Whose chain this is, for a member of the mesh of these authorities, the first of which names it.

    Raises:
        CertificateFault: it is no member's. Its time is not looked at.
    """
    keys = [raw_public_key(authority) for authority in authorities]
    return member_below(shown, mesh_id_of_key(keys[0]), keys)


def member_below(
    shown: Sequence[x509.Certificate], mesh_id: bytes, authority_keys: Sequence[bytes]
) -> MemberCertificate:
    """As `member_of`, for whoever has only the raw public keys of the authorities."""
    if not 1 <= len(shown) <= SHOWN_MAX:
        raise CertificateFault(f"{len(shown)} certificates were shown; a node shows 1 to {SHOWN_MAX}")
    member = parse_member(shown[0])
    if member.mesh_id != mesh_id:
        raise CertificateFault(f"the certificate is for another mesh, {member.mesh_id.hex()}")
    above = [each for each in shown[1:] if raw_public_key(each) not in authority_keys]
    if any(_is_signed_by(shown[0], key) for key in authority_keys):
        if above:
            raise CertificateFault("a certificate was shown that belongs to nothing")
        return member
    if len(above) != 1:
        raise CertificateFault("the certificate was not issued by this mesh's authority")
    check_issuer(above[0], mesh_id, authority_keys)
    if not _is_signed_by(shown[0], raw_public_key(above[0])):
        raise CertificateFault("the certificate was not issued by this mesh's authority, nor by its issuer")
    if shown[0].not_valid_after_utc > above[0].not_valid_after_utc:
        raise CertificateFault("the certificate outlives its issuer's")
    return member


def check_issuer(issuer: x509.Certificate, mesh_id: bytes, authority_keys: Sequence[bytes]) -> None:
    """CertificateFault unless an authority made this one an issuer of nodes, and of nothing else."""
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        names = issuer.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, *UNREADABLE) as error:
        raise CertificateFault(f"the issuer's certificate is none of ours: {error}") from None
    if not constraints.ca or constraints.path_length != 0 or not usage.key_cert_sign:
        raise CertificateFault("the issuer's certificate does not let it issue nodes, and nodes only")
    key = raw_public_key(issuer)
    if uris != [member_uri(mesh_id, node_id_of(key), ISSUER_ROLE)]:
        raise CertificateFault("the issuer's certificate does not name this mesh and its own key")
    if not any(_is_signed_by(issuer, authority) for authority in authority_keys):
        raise CertificateFault("the issuer was not made one by this mesh's authority")


def _is_signed_by(certificate: x509.Certificate, public_key: bytes) -> bool:
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ED25519:
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key)
        key.verify(certificate.signature, certificate.tbs_certificate_bytes)
    except (InvalidSignature, ValueError):
        return False
    return True
