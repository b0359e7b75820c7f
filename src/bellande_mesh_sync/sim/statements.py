"""Statements of simulated nodes: toy signatures that fit the real rules, and the mesh's toy authority."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from bellande_mesh_sync.core.members.member import Sign
from bellande_mesh_sync.core.statements.statement import AUTHORITY, Judged, Statement, signed_bytes
from bellande_mesh_sync.ids import node_id_of
from bellande_mesh_sync.sim.identity import SimIdentity, make_identity, verify

AUTHORITY_INDEX: Final = 1_000_000
"""The index of the identity that stands for the mesh's authority, in every run."""
_AUTHORITY: Final = make_identity(0, AUTHORITY_INDEX)


class ToyCertificate(msgspec.Struct, frozen=True, array_like=True):
    """What the authority says of a key."""

    public_key: bytes
    role: str
    signature: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ToyCertificate).decode


def certificate_of(public_key: bytes, role: str, sign: Sign = _AUTHORITY.sign) -> bytes:
    return _encode(ToyCertificate(public_key, role, sign(public_key + role.encode())))


def state(kind: str, subject: bytes, body: bytes, issued_ms: int) -> Judged:
    """A statement of the authority."""
    blank = Statement(kind, subject, body, issued_ms, _AUTHORITY.node, b"")
    signed = msgspec.structs.replace(blank, signature=_AUTHORITY.sign(signed_bytes(blank)))
    return Judged(signed, AUTHORITY)


def state_as(
    identity: SimIdentity, role: str, kind: str, subject: bytes, body: bytes, issued_ms: int
) -> Judged:
    """A statement of a node, which the authority has given this role."""
    certificate = certificate_of(identity.public_key, role)
    blank = Statement(kind, subject, body, issued_ms, identity.node, certificate)
    return Judged(msgspec.structs.replace(blank, signature=identity.sign(signed_bytes(blank))), role)


def judge_all(
    statements: Sequence[Statement],
) -> tuple[tuple[Judged, ...], tuple[tuple[Statement, str], ...]]:
    """As `security.statements.StatementJudge.judge_all`."""
    judged: list[Judged] = []
    refused: list[tuple[Statement, str]] = []
    for statement in statements:
        rank, reason = _rank(statement)
        if reason:
            refused.append((statement, reason))
        else:
            judged.append(Judged(statement, rank))
    return tuple(judged), tuple(refused)


def _rank(statement: Statement) -> tuple[str, str]:
    """The rank of its signer, and why it does not hold; "" if it does."""
    if statement.certificate:
        try:
            found = _decode(statement.certificate)
        except (msgspec.MsgspecError, ValueError):
            return "", "no certificate"
        if node_id_of(found.public_key) != statement.signer:
            return "", "another's certificate"
        if not verify(_AUTHORITY.public_key, found.signature, found.public_key + found.role.encode()):
            return "", "the certificate is not the authority's"
        key, rank = found.public_key, found.role
    else:
        if statement.signer != _AUTHORITY.node:
            return "", "no authority"
        key, rank = _AUTHORITY.public_key, AUTHORITY
    return (rank, "") if verify(key, statement.signature, signed_bytes(statement)) else ("", "forged")
