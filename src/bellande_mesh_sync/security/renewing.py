"""A new certificate for a member that has one: what the one who issues checks, and the one who asked."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Final

from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.security.certificates import CertificateFault, check_valid_at, load_bundle
from bellande_mesh_sync.security.chains import member_of
from bellande_mesh_sync.security.identity import Identity, make_identity
from bellande_mesh_sync.security.issuing import can_issue, load_issuer

CHAIN_BYTES_MAX: Final = 16 * 1024
"""Of a node's certificate and its issuer's, in PEM; they take some 1,600."""


def renewed(
    asker: NodeId, chain_pem: bytes, signer_dir: Path, authority_pem: bytes, *, days: float,
    now: datetime.datetime,
) -> bytes | None:  # fmt: skip
    """A certificate for the same key, name and role, for a member that shows its valid one. Blocking.

    Args:
        asker: who asks, as proven by the link or the signature that the question came with.
        signer_dir: where the authority's or an issuer's key is; None comes back if there is neither.

    Raises:
        CertificateFault: what it shows is not its own, no member's, or out of its time.
        IdentityError: the key to sign with cannot be used.
    """
    if not can_issue(signer_dir):
        return None
    if len(chain_pem) > CHAIN_BYTES_MAX:
        raise CertificateFault(f"its certificates take more than {CHAIN_BYTES_MAX} bytes")
    member = member_of(load_bundle(chain_pem), load_bundle(authority_pem))
    if member.node != asker:
        raise CertificateFault(f"it shows the certificate of node {member.node.hex()}")
    check_valid_at(member.x509, now)
    issuer = load_issuer(signer_dir)
    if issuer.mesh_id != member.mesh_id:
        raise CertificateFault("the key to sign with is another mesh's")
    return issuer.issue(member.public_key, name=member.name, role=member.role, days=days)


def checked_renewal(own: Identity, chain_pem: bytes, now: datetime.datetime) -> Identity:
    """This node with a new certificate. CertificateFault unless that is for it, as it is, and ends later."""
    if len(chain_pem) > CHAIN_BYTES_MAX:
        raise CertificateFault(f"the certificates take more than {CHAIN_BYTES_MAX} bytes")
    new = make_identity(own.key, chain_pem, own.authority_pem, now=now)
    if (new.name, new.role) != (own.name, own.role):
        raise CertificateFault(f"the certificate is for {new.name!r} as {new.role}")
    if new.not_after <= own.not_after:
        raise CertificateFault("the certificate ends no later than the one there is")
    return new
