"""Who signs node certificates on this machine: the authority itself, or a member that it made an issuer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from bellande_mesh_sync.errors import IdentityError
from bellande_mesh_sync.security.authority import AUTHORITY_KEY_FILE, Authority
from bellande_mesh_sync.security.building import (
    ISSUER_DAYS,
    LEAF_DAYS,
    check_name,
    issue_leaf,
    issuer_certificate,
)
from bellande_mesh_sync.security.certificates import (
    CertificateFault,
    check_valid_at,
    common_name,
    load_bundle,
    load_pem,
    mesh_id_of_key,
    raw_public_key,
    utc_now,
)
from bellande_mesh_sync.security.chains import check_issuer
from bellande_mesh_sync.security.identity import AUTHORITY_FILE, load_key, public_bytes, read_certificate

ISSUER_KEY_FILE: Final = "issuer.key"
ISSUER_FILE: Final = "issuer.crt"


@dataclass(frozen=True, slots=True)
class Issuer:
    """A member's right to issue nodes, with the private key for it."""

    mesh_name: str
    mesh_id: bytes
    public_key: bytes
    """The authority's, raw Ed25519: what join tokens pin."""
    certificate_pem: bytes
    key: Ed25519PrivateKey = field(repr=False, compare=False)

    def issue(self, public_key: bytes, *, name: str, role: str, days: float = LEAF_DAYS) -> bytes:
        """As Authority.issue; the issuer's certificate follows the node's, which ends no later."""
        return issue_leaf(self, public_key, name=name, role=role, days=days) + self.certificate_pem


AnyIssuer: TypeAlias = Authority | Issuer


def can_issue(identity_dir: Path) -> bool:
    """Whether this home holds a key that signs nodes; not whether it is still good for that."""
    return (identity_dir / AUTHORITY_KEY_FILE).exists() or (identity_dir / ISSUER_KEY_FILE).exists()


def issuing_certificate(identity_dir: Path) -> x509.Certificate | None:
    """An issuer's certificate as it stands on disk, whatever it is worth; None if there is none to read."""
    try:
        return load_pem((identity_dir / ISSUER_FILE).read_bytes())
    except (OSError, CertificateFault):
        return None


def load_issuer(identity_dir: Path) -> AnyIssuer:
    """The authority if its key is here, else this member as an issuer.

    Raises:
        IdentityError: neither is here, or the files are unusable or expired.
    """
    if (identity_dir / AUTHORITY_KEY_FILE).exists() or not (identity_dir / ISSUER_KEY_FILE).exists():
        return Authority.load(identity_dir)
    path = identity_dir / ISSUER_FILE
    key, authority_pem = (
        load_key(identity_dir / ISSUER_KEY_FILE),
        read_certificate(identity_dir / AUTHORITY_FILE),
    )
    try:
        certificate = load_pem(read_certificate(path))
        issuer = make_issuer(key, certificate, load_bundle(authority_pem))
        check_valid_at(certificate, utc_now())
    except CertificateFault as fault:
        raise IdentityError(path=str(path), reason=str(fault)) from None
    return issuer


def make_issuer(
    key: Ed25519PrivateKey, certificate: x509.Certificate, authorities: list[x509.Certificate]
) -> Issuer:
    """Put the parts together; CertificateFault unless they fit. Its time is not looked at."""
    keys = [raw_public_key(authority) for authority in authorities]
    mesh_id = mesh_id_of_key(keys[0])
    check_issuer(certificate, mesh_id, keys)
    if raw_public_key(certificate) != public_bytes(key):
        raise CertificateFault(
            "the issuer's certificate belongs to another private key than the one beside it"
        )
    return Issuer(common_name(authorities[0]), mesh_id, keys[0], certificate.public_bytes(Encoding.PEM), key)


def appoint(authority: Authority, public_key: bytes, *, name: str, days: float = ISSUER_DAYS) -> bytes:
    """The certificate (PEM) that makes the holder of this raw key an issuer.

    Raises:
        IdentityError: the authority's certificate lets nobody issue below it.
        ConfigError: a bad name.
    """
    check_name("name", name)
    own = load_pem(authority.certificate_pem)
    if own.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0:
        reason = "this authority can have no issuers, as it was made before there were any"
        raise IdentityError(path=AUTHORITY_FILE, reason=reason)
    return issuer_certificate(authority, public_key, name, days).public_bytes(Encoding.PEM)
