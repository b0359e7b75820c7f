"""Member records: what a node says of itself, signed, so that gossip can carry but not forge it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TypeAlias

import msgspec
from msgspec import Struct

from bellande_mesh_sync.ids import NodeId, node_id_of

Sign: TypeAlias = Callable[[bytes], bytes]
"""Ed25519 over the bytes, with this node's identity key."""
Verify: TypeAlias = Callable[[bytes, bytes, bytes], bool]
"""(raw public key, signature, signed bytes) -> whether it holds; never raises."""

INCARNATION_JUMP_MAX = 1 << 20
"""An insider that announced 2**63 would make every later truth look old; a jump beyond this is refused."""

_encode = msgspec.msgpack.Encoder().encode


class MemberState(enum.StrEnum):
    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"
    LEFT = "left"


class MemberRecord(Struct, frozen=True, array_like=True):
    """A node about itself. The higher incarnation wins; only the node itself can raise it."""

    node: NodeId
    public_key: bytes
    name: str
    addresses: tuple[str, ...]
    """Where to dial it, as `host:port`, best first. Empty: it only dials out."""
    role: str
    incarnation: int
    left: bool
    software: str
    signature: bytes = b""


def signed(record: MemberRecord, sign: Sign) -> MemberRecord:
    return msgspec.structs.replace(record, signature=sign(_signed_bytes(record)))


def is_genuine(record: MemberRecord, verify: Verify) -> bool:
    """Whether the key fits the id and the signature the record."""
    return node_id_of(record.public_key) == record.node and verify(
        record.public_key, record.signature, _signed_bytes(record)
    )


def _signed_bytes(record: MemberRecord) -> bytes:
    return b"bms member 1\0" + _encode(msgspec.structs.replace(record, signature=b""))
