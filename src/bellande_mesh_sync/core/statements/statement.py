"""One signed statement, and what a check of its signature comes to."""

from __future__ import annotations

from typing import Final, NewType

import msgspec
from blake3 import blake3
from msgspec import Struct

from bellande_mesh_sync.ids import NodeId

STATEMENT_BYTES_MAX: Final = 64 * 1024
AUTHORITY: Final = "authority"
"""The rank of what the authority's own key has signed; every other rank is the role in a certificate."""

StatementId = NewType("StatementId", bytes)
"""32 bytes: BLAKE3 of the statement's bytes, signature and all. Equal ids are equal bytes."""

_encode = msgspec.msgpack.Encoder().encode


class Statement(Struct, frozen=True, array_like=True):
    """Something that somebody who may do so has laid down for the whole mesh."""

    kind: str
    subject: bytes
    """Whom or what it is about, as the kind has it: mostly a node id."""
    body: bytes
    """What it says, as the kind has it."""
    issued_ms: int
    """By the signer's clock. The certificate must be valid then, so every node judges alike at any time."""
    signer: NodeId
    """The id that belongs to the signing key, a node's or the authority's."""
    certificate: bytes
    """The signer's and, if it has one, its issuer's, as PEM; empty for the authority itself."""
    signature: bytes = b""
    """Ed25519 over all the rest."""


class Judged(Struct, frozen=True, array_like=True):
    """A statement whose signature and certificate hold, and in what rank its signer was."""

    statement: Statement
    rank: str
    """`authority`, or the role in the certificate."""


def id_of(statement: Statement) -> StatementId:
    return StatementId(blake3(_encode(statement)).digest())


def size_of(statement: Statement) -> int:
    """Bytes on the wire, but for a dozen."""
    return len(statement.body) + len(statement.certificate) + len(statement.subject) + 160


def signed_bytes(statement: Statement) -> bytes:
    """What the signature covers."""
    return b"bms statement 1\0" + _encode(msgspec.structs.replace(statement, signature=b""))
