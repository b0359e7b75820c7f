"""Records: one version of one key, as it is stored, sent and compared."""

from __future__ import annotations

from typing import Final

from blake3 import blake3
from msgspec import Struct

from bellande_mesh_sync.core.data.context import Context
from bellande_mesh_sync.ids import Author, Dot, Stamp, format_version

INLINE_BYTES_MAX: Final = 16 * 1024
"""A value up to this size travels inside its record; above it, a manifest of chunks does."""

CHUNK_BYTES_MAX: Final = 4 * 1024 * 1024
MANIFEST_CHUNKS_MAX: Final = 4096
"""Chunks that one manifest names directly; a longer list becomes chunks itself (depth 2)."""

VALUE: Final = 0
TOMBSTONE: Final = 1


class ChunkRef(Struct, frozen=True, array_like=True, gc=False):
    """A chunk: its BLAKE3 hash (32 bytes) and its length in bytes."""

    hash: bytes
    size: int


class Manifest(Struct, frozen=True, array_like=True, gc=False):
    """The chunks of a value, in order.

    depth 1: `chunks` are the value's own chunks. depth 2: they are *index chunks*, each the
    MessagePack of a list of ChunkRef, which together list the value's chunks.
    """

    depth: int
    chunks: tuple[ChunkRef, ...]


class Record(Struct, frozen=True, array_like=True, gc=False):
    """One version of one key.

    The dot (author, sequence) names it, the context says which dots its writer had seen, so it
    replaces exactly those. `digest` is BLAKE3 over the whole value, `b""` for a tombstone.
    """

    key: str
    author: Author
    sequence: int
    stamp: Stamp
    kind: int
    size: int
    digest: bytes
    content_type: str = ""
    context: Context = ()
    inline: bytes | None = None
    manifest: Manifest | None = None
    expires_ms: int = 0
    """Milliseconds since 1970 after which the value counts as deleted; 0 is never."""

    @property
    def dot(self) -> Dot:
        return Dot(self.author, self.sequence)

    @property
    def version(self) -> str:
        return format_version(self.author, self.sequence)

    @property
    def is_tombstone(self) -> bool:
        return self.kind == TOMBSTONE


def order_of(record: Record) -> tuple[int, bytes, int]:
    """What sorts siblings the same way on every node: later stamp wins, the dot breaks ties."""
    return (record.stamp, record.author, record.sequence)


def fingerprint_of(record: Record) -> int:
    """The record's share in its shard's additive fingerprint (modulo 2**256).

    A tombstone has none: nodes drop theirs at different times, and hold the same all the while.
    """
    if record.kind == TOMBSTONE:
        return 0
    head = b"%b%d %d %b" % (record.author, record.sequence, record.kind, record.digest)
    return int.from_bytes(blake3(head + record.key.encode()).digest(), "little")
