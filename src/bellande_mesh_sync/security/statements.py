"""Signing statements for the whole mesh, and judging those of others.

A statement is signed by the authority's own key, or by a member's key whose certificate stands in it. Which
roles may say what is for the core (core/statements/kinds.py); here it is settled in what role somebody spoke.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import msgspec

from bellande_mesh_sync.core.statements.statement import (
    AUTHORITY,
    STATEMENT_BYTES_MAX,
    Judged,
    Statement,
    signed_bytes,
    size_of,
)
from bellande_mesh_sync.errors import UsageError
from bellande_mesh_sync.ids import node_id_of
from bellande_mesh_sync.security.authority import Authority
from bellande_mesh_sync.security.certificates import (
    CertificateFault,
    check_valid_at,
    load_bundle,
    raw_public_key,
)
from bellande_mesh_sync.security.chains import member_of
from bellande_mesh_sync.security.identity import Identity, verify


class StatementJudge:
    """Tells whose statements hold. For any thread; about 1 ms for each statement.

    Args:
        authority_pem: the mesh's authorities; the first names the mesh.
    """

    def __init__(self, authority_pem: bytes) -> None:
        self._authorities = load_bundle(authority_pem)
        keys = [raw_public_key(authority) for authority in self._authorities]
        self._authority_keys = {node_id_of(key): key for key in keys}

    def judge(self, statement: Statement) -> Judged:
        """In what rank it was made; CertificateFault if it does not hold.

        The same on every node and at any time: a certificate must have been valid when the statement was
        made by its own account, not now.
        """
        key, rank = self._signer(statement)
        if not verify(key, statement.signature, signed_bytes(statement)):
            raise CertificateFault("the signature does not hold")
        return Judged(statement, rank)

    def _signer(self, statement: Statement) -> tuple[bytes, str]:
        if not statement.certificate:
            key = self._authority_keys.get(statement.signer)
            if key is None:
                raise CertificateFault("its signer is no authority of this mesh")
            return key, AUTHORITY
        member = member_of(load_bundle(statement.certificate), self._authorities)
        if member.node != statement.signer:
            raise CertificateFault("the certificate in it is another node's than its signer's")
        try:
            issued = datetime.datetime.fromtimestamp(statement.issued_ms / 1000, datetime.UTC)
        except (ValueError, OverflowError, OSError):
            raise CertificateFault("its time is no time") from None
        check_valid_at(member.x509, issued)
        return member.public_key, member.role

    def judge_all(
        self, statements: Sequence[Statement]
    ) -> tuple[tuple[Judged, ...], tuple[tuple[Statement, str], ...]]:
        """Those that hold, and the others with why not."""
        judged: list[Judged] = []
        refused: list[tuple[Statement, str]] = []
        for statement in statements:
            try:
                judged.append(self.judge(statement))
            except CertificateFault as fault:
                refused.append((statement, str(fault)))
        return tuple(judged), tuple(refused)


def state_as_authority(
    authority: Authority, kind: str, subject: bytes, body: bytes, issued_ms: int
) -> Judged:
    """A statement of the authority itself; UsageError if it is too large."""
    signer = node_id_of(authority.public_key)
    blank = Statement(kind, subject, body, issued_ms, signer, b"")
    return _signed(blank, authority.key.sign(signed_bytes(blank)), AUTHORITY)


def state_as_member(identity: Identity, kind: str, subject: bytes, body: bytes, issued_ms: int) -> Judged:
    """A statement of this member, in the role that its certificate gives; UsageError if it is too large."""
    blank = Statement(kind, subject, body, issued_ms, identity.node, identity.certificate_pem)
    return _signed(blank, identity.sign(signed_bytes(blank)), identity.role)


def _signed(blank: Statement, signature: bytes, rank: str) -> Judged:
    if size_of(blank) > STATEMENT_BYTES_MAX:
        reason = f"the statement would take {size_of(blank)} bytes; {STATEMENT_BYTES_MAX} are allowed"
        raise UsageError(reason=reason)
    return Judged(msgspec.structs.replace(blank, signature=signature), rank)
