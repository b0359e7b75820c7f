"""What clients asked and were told, and what befell the nodes: all that the oracle may know.

Nodes are small numbers here, versions are the text that clients see, and a value is known by the
digest over its bytes (empty for a delete). Times are the world's.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import Struct

TOMBSTONE: Final = b""
"""The value of a delete."""


class AskedWrite(Struct, frozen=True, gc=False):
    """One write of a request."""

    key: str
    value: bytes
    context: tuple[str, ...] | None = None
    """The versions that the client had read and wants replaced; None: whatever the node holds."""
    if_match: str | None = None
    may_hide: bool = False
    """It expires: from some time on the key looks empty."""


class Asked(Struct, frozen=True, gc=False):
    """A client asks a node for these writes, together or not at all."""

    request: int
    node: int
    writes: tuple[AskedWrite, ...]
    ack: str
    time_ns: int


class Answered(Struct, frozen=True, gc=False):
    """The receipts: a version a write, and the nodes that have all of it on disk."""

    request: int
    versions: tuple[str, ...]
    nodes: tuple[int, ...]
    time_ns: int


class Refused(Struct, frozen=True, gc=False):
    """The client was told that nothing was written."""

    request: int
    code: str
    time_ns: int


class Unknown(Struct, frozen=True, gc=False):
    """The node died before it answered, or the ack level took too long: then with what it did say."""

    request: int
    time_ns: int
    versions: tuple[str, ...] = ()
    nodes: tuple[int, ...] = ()


class Sibling(Struct, frozen=True, gc=False):
    """One of the versions that stand side by side under a key."""

    version: str
    value: bytes
    stamp: int
    is_whole: bool = True
    """The bytes came, all of them, and fit the digest."""


class Shown(Struct, frozen=True, gc=False):
    """A client read a key at a node, and this is all it got."""

    node: int
    key: str
    siblings: tuple[Sibling, ...]
    time_ns: int
    is_decayed: bool = False
    """Bits on this disk have flipped, so that it may have to refuse bytes that it should have."""


class Joined(Struct, frozen=True, gc=False):
    """A node with this id (hex, as versions begin with it) is there."""

    node: int
    id: str


class DiskLost(Struct, frozen=True, gc=False):
    """The node's disk was wiped, or an older copy was put in its place: it owes nothing from before."""

    node: int
    time_ns: int


class RecordsLost(Struct, frozen=True, gc=False):
    """Bits of the node's records had flipped, and it took them out: of these keys it owes nothing."""

    node: int
    keys: tuple[str, ...]
    time_ns: int


class ClockSet(Struct, frozen=True, gc=False):
    """Somebody set the node's wall clock."""

    node: int
    time_ns: int


class NoteAsked(Struct, frozen=True, gc=False):
    """A client sends a message; `to` is None for everybody that is linked."""

    request: int
    node: int
    to: int | None
    body: bytes


class NoteSent(Struct, frozen=True, gc=False):
    """The client was told on how many links it went out: 0 and a refusal look the same."""

    request: int
    count: int


class NoteUnknown(Struct, frozen=True, gc=False):
    """The node died before it said whether it sent the message."""

    request: int


class NoteHeard(Struct, frozen=True, gc=False):
    """A message came to the programs on a node."""

    node: int
    sender: str
    """Node id in hex, as the receiving program is told."""
    body: bytes


Happening: TypeAlias = (
    Asked
    | Answered
    | Refused
    | Unknown
    | Shown
    | Joined
    | DiskLost
    | RecordsLost
    | ClockSet
    | NoteAsked
    | NoteSent
    | NoteUnknown
    | NoteHeard
)
