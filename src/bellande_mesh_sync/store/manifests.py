"""From manifests to chunks: what is missing, what comes in which order, which bytes of a range."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

import msgspec

from bellande_mesh_sync.core.data.record import CHUNK_BYTES_MAX, ChunkRef, Manifest
from bellande_mesh_sync.errors import CorruptStoreError, DecodeError

PIECE_BYTES_MAX: Final = 1 << 20
HASH_BYTES: Final = 32

_encode_refs = msgspec.msgpack.Encoder().encode
_decode_refs = msgspec.msgpack.Decoder(list[ChunkRef]).decode

ReadChunk = Callable[[bytes], bytes]
HasChunks = Callable[[Sequence[bytes]], list[bool]]


class ChunkReader(Protocol):
    """The part of a store that a reader of values needs."""

    def read_chunk(self, hash: bytes) -> bytes: ...

    def value_chunks(self, manifest: Manifest) -> Iterator[ChunkRef]: ...


def encode_index_chunk(refs: Sequence[ChunkRef]) -> bytes:
    return _encode_refs(refs)


def decode_index_chunk(body: bytes) -> list[ChunkRef]:
    """The references in an index chunk. Raises DecodeError: its hash fits, but its author lied."""
    try:
        refs = _decode_refs(body)
    except msgspec.MsgspecError as error:
        raise DecodeError(reason=f"an index chunk cannot be read: {error}") from error
    for ref in refs:
        if len(ref.hash) != HASH_BYTES or not 0 < ref.size <= CHUNK_BYTES_MAX:
            raise DecodeError(reason="an index chunk names an impossible chunk")
    return refs


def find_missing(
    manifest: Manifest, has_chunks: HasChunks, read_chunk: ReadChunk
) -> tuple[tuple[ChunkRef, ...], bool]:
    """As `Store.missing_chunks`."""
    missing = _absent(manifest.chunks, has_chunks)
    if manifest.depth == 1:
        return missing, False
    if missing:
        return missing, True
    leaves: dict[bytes, ChunkRef] = {}
    for index_ref in manifest.chunks:
        try:
            refs = decode_index_chunk(read_chunk(index_ref.hash))
        except CorruptStoreError:
            return (index_ref,), True  # Damaged here is as good as missing: it can be fetched again.
        leaves.update((ref.hash, ref) for ref in _absent(refs, has_chunks))
    return tuple(leaves.values()), False


def iterate_chunks(manifest: Manifest, read_chunk: ReadChunk) -> Iterator[ChunkRef]:
    """As `Store.value_chunks`."""
    if manifest.depth == 1:
        yield from manifest.chunks
        return
    for index_ref in manifest.chunks:
        yield from decode_index_chunk(read_chunk(index_ref.hash))


def read_value(
    store: ChunkReader, manifest: Manifest, start: int = 0, end: int | None = None
) -> Iterator[bytes]:
    """The bytes start..end (end excluded) of a chunked value, in pieces of at most 1 MiB.

    Each piece is of a chunk whose hash was checked; chunks outside the range are not read.

    Raises:
        ChunkMissingError, CorruptStoreError: while iterating, after the pieces that were good.
    """
    position = 0
    for ref in store.value_chunks(manifest):
        if end is not None and position >= end:
            return
        if position + ref.size > start:
            body = store.read_chunk(ref.hash)
            low = max(start - position, 0)
            high = len(body) if end is None else min(end - position, len(body))
            yield from _pieces(body, low, high)
        position += ref.size


def _pieces(body: bytes, low: int, high: int) -> Iterator[bytes]:
    if low == 0 and high == len(body) and high <= PIECE_BYTES_MAX:
        yield body
        return
    for position in range(low, high, PIECE_BYTES_MAX):
        yield body[position : min(position + PIECE_BYTES_MAX, high)]


def _absent(refs: Sequence[ChunkRef], has_chunks: HasChunks) -> tuple[ChunkRef, ...]:
    """The references whose chunk is not here, each once, in order."""
    unique = {ref.hash: ref for ref in refs}
    here = has_chunks(list(unique))
    return tuple(ref for ref, present in zip(unique.values(), here, strict=True) if not present)
