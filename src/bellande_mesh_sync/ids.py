"""Small types with meaning: who a node is, which write is meant, when it was made."""

from __future__ import annotations

import hashlib
from typing import NamedTuple, NewType

NodeId = NewType("NodeId", bytes)
"""32 bytes: SHA-256 of the node's Ed25519 public key in SubjectPublicKeyInfo form."""

Author = NewType("Author", bytes)
"""40 bytes: the node id and the 8-byte epoch of the store that numbered the writes.

A home that was cloned or restored from a backup must not number its writes again from an old
point, so a store that finds itself overtaken takes a new epoch and thereby becomes a new author.
"""

Shard = NewType("Shard", str)
"""A part of a space whose writes are numbered together, as `space/index`."""

Stamp = NewType("Stamp", int)
"""Hybrid logical clock: milliseconds since 1970 in the upper 48 bits, a counter in the lower 16."""

NODE_ID_BYTES = 32
EPOCH_BYTES = 8
AUTHOR_BYTES = NODE_ID_BYTES + EPOCH_BYTES
PUBLIC_KEY_BYTES = 32
SEQUENCE_MAX = 2**40 - 1
"""An author's writes to a shard: 100,000 a second for 127 days. A store's row ids have room for no more."""

# RFC 8410: the DER header of every Ed25519 SubjectPublicKeyInfo; the 32 key bytes follow it.
_ED25519_SPKI_HEADER = bytes.fromhex("302a300506032b6570032100")


class Dot(NamedTuple):
    """One write: the author, and the author's own count of its writes in the shard (from 1)."""

    author: Author
    sequence: int


class Now(NamedTuple):
    """The two clocks a core is told about; it never asks for them itself."""

    mono_ns: int
    """Monotonic nanoseconds; only for timers and durations."""
    wall_ms: int
    """Milliseconds since 1970; only for stamps that people read and that order siblings."""


def node_id_of(public_key: bytes) -> NodeId:
    """The id of the node that holds this raw 32-byte Ed25519 public key."""
    return NodeId(hashlib.sha256(_ED25519_SPKI_HEADER + public_key).digest())


def author_of(node: NodeId, epoch: bytes) -> Author:
    return Author(node + epoch)


def node_of(author: Author) -> NodeId:
    return NodeId(author[:NODE_ID_BYTES])


def format_version(author: Author, sequence: int) -> str:
    """A version as people and HTTP see it: `NODE.EPOCH.SEQUENCE`, all but the number in hex."""
    return f"{author[:NODE_ID_BYTES].hex()}.{author[NODE_ID_BYTES:].hex()}.{sequence}"


def parse_version(text: str) -> Dot:
    """The dot in a text made by `format_version`; ValueError for anything else."""
    node, epoch, sequence = text.split(".")
    author = bytes.fromhex(node) + bytes.fromhex(epoch)
    if len(author) != AUTHOR_BYTES or not sequence.isdecimal() or int(sequence) < 1:
        raise ValueError(f"not a version: {text!r}")
    return Dot(Author(author), int(sequence))


def stamp_of(milliseconds: int, counter: int = 0) -> Stamp:
    return Stamp(milliseconds << 16 | counter)


def stamp_ms(stamp: Stamp | int) -> int:
    """The wall-clock part of a stamp, in milliseconds since 1970."""
    return stamp >> 16
