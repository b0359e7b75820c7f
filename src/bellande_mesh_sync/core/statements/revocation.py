"""The statement that a node is no member any more, with how far its writes still count."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from bellande_mesh_sync.core.statements.statement import Statement, StatementId
from bellande_mesh_sync.ids import EPOCH_BYTES, NODE_ID_BYTES, SEQUENCE_MAX, Shard

KIND: Final = "revocation"
ID_BYTES: Final = 32
REASON_BYTES_MAX: Final = 1_024
NAME_BYTES_MAX: Final = 255
SHARD_BYTES_MAX: Final = 1_100

_encode = msgspec.msgpack.Encoder().encode


class CutLine(Struct, frozen=True, array_like=True):
    """Writes of one epoch of the subject to one shard count up to `last`."""

    shard: Shard
    epoch: bytes
    last: int


class Revocation(Struct, frozen=True, array_like=True):
    """The body of such a statement."""

    reason: str
    name: str
    """What the node was called, for people: nothing else of it is kept."""
    cut: tuple[CutLine, ...]
    """What the issuer knew of the subject's writes. Of other epochs and shards nothing counts."""
    statements: tuple[StatementId, ...] = ()
    """Those of the subject's own statements that go on counting; any other one of it does not."""


_decode = msgspec.msgpack.Decoder(Revocation).decode


def body_of(revocation: Revocation) -> bytes:
    return _encode(revocation)


def read(statement: Statement) -> Revocation:
    """The body; for a statement of this kind that counts."""
    return _decode(statement.body)


def fault_of(statement: Statement) -> str:
    """Why it is no revocation; "" if it is one."""
    if len(statement.subject) != NODE_ID_BYTES:
        return "a revocation's subject is no node id"
    try:
        found = _decode(statement.body)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
        return "a revocation's body cannot be read"
    if len(found.reason.encode()) > REASON_BYTES_MAX or not found.reason.isprintable():
        return "a revocation's reason is too long or not printable"
    if len(found.name.encode()) > NAME_BYTES_MAX or not found.name.isprintable():
        return "the name in a revocation is too long or not printable"
    for line in found.cut:
        if len(line.epoch) != EPOCH_BYTES or not 0 < line.last <= SEQUENCE_MAX:
            return "a line of a revocation's cut is out of range"
        if len(line.shard) > SHARD_BYTES_MAX:
            return "a shard in a revocation's cut has too long a name"
    if any(len(each) != ID_BYTES for each in found.statements):
        return "a revocation names something that is no statement"
    return ""
