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


RECORD_BYTES_MAX = 1024
"""A record must fit into one datagram, beside a ping and what is said of its receiver."""
ANSWER_BYTES = 23
"""Of these, kept free for `more`: there a node names the record of a double that it answers."""


class MemberState(enum.StrEnum):
    ALIVE = "alive"
    SUSPECT = "suspect"
    ASLEEP = "asleep"
    DEAD = "dead"
    LEFT = "left"
    REVOKED = "revoked"


class MemberRecord(Struct, frozen=True, array_like=True):
    """A node about itself. The higher incarnation wins; only the node itself can raise it.

    The shape is fixed: the signature covers all of it, so what a later version adds goes into `more`.
    """

    node: NodeId
    public_key: bytes
    name: str
    addresses: tuple[str, ...]
    """Where to dial it, as `host:port`, best first. Empty: it only dials out."""
    role: str
    incarnation: int
    left: bool
    software: str
    boot: bytes = b""
    """8 random bytes of the run that signed this."""
    started_ms: int = 0
    """When that run began by its own clock. Decides only which of two nodes with one identity goes on."""
    datagram_port: int = 0
    """UDP port on the hosts in `addresses`; 0: it takes none, so talk to it over links."""
    seal_key: bytes = b""
    """X25519 public key of this run, with which datagrams for it are sealed; empty without a port."""
    labels: tuple[tuple[str, str], ...] = ()
    """What an operator says of it, sorted by name."""
    capacity: int = 100
    """How much it can hold, compared with others; 0: nothing."""
    zone: str = ""
    """What it shares with others that fail together with it: a rack, a site."""
    more: bytes = b""
    """What later versions say of themselves: carried on unread."""
    signature: bytes = b""


def signed(record: MemberRecord, sign: Sign) -> MemberRecord:
    return msgspec.structs.replace(record, signature=sign(_signed_bytes(record)))


def is_genuine(record: MemberRecord, verify: Verify) -> bool:
    """Whether the key fits the id and the signature the record."""
    return node_id_of(record.public_key) == record.node and verify(
        record.public_key, record.signature, _signed_bytes(record)
    )


def record_bytes(record: MemberRecord) -> int:
    """What it takes on the wire."""
    return len(_encode(record))


def _signed_bytes(record: MemberRecord) -> bytes:
    return b"bms member 1\0" + _encode(msgspec.structs.replace(record, signature=b""))
