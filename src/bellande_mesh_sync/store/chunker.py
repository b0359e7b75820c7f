"""Cutting values into chunks where their content says so (FastCDC), with bounded memory.

The cuts depend on the bytes alone, not on the pieces in which they arrive, so equal parts of
different values become equal chunks, stored and sent once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from blake3 import blake3
from msgspec import Struct
from pyfastcdc import FastCDC

from bellande_mesh_sync.core.data.record import (
    INLINE_BYTES_MAX,
    MANIFEST_CHUNKS_MAX,
    ChunkRef,
    Manifest,
)
from bellande_mesh_sync.errors import UsageError
from bellande_mesh_sync.store.manifests import encode_index_chunk

LARGE_VALUE_BYTES: Final = 64 << 20
"""Values known to be larger than this are cut into larger chunks: fewer to name, find and fetch."""

_BLOCK_BYTES: Final = 4 << 20
"""Cut, hashed and stored at a time, at the least; the buffer is this and one chunk."""
_PARALLEL_BYTES: Final = 2 << 20
_FIRST_BUFFER_BYTES: Final = 64 << 10

AddChunks = Callable[[Sequence[tuple[bytes, bytes | memoryview]]], None]


class Profile(Struct, frozen=True):
    """Sizes of chunks in bytes. FastCDC skips `smallest` before it looks, so the real mean is their sum."""

    smallest: int
    average: int
    largest: int


SMALL_CHUNKS: Final = Profile(16 << 10, 64 << 10, 256 << 10)
LARGE_CHUNKS: Final = Profile(256 << 10, 1 << 20, 4 << 20)


class WrittenValue(Struct, frozen=True, gc=False):
    """What a record says of its value. Up to 16 KiB `inline` holds it, above that `manifest` names it."""

    size: int
    digest: bytes
    inline: bytes | None
    manifest: Manifest | None


class ByteSource(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None: ...


class _ValueDigest:
    """BLAKE3 over the whole value; big blocks are hashed beside the cutting, on another core."""

    def __init__(self) -> None:
        self._hasher = blake3()
        self._running: threading.Thread | None = None

    def update(self, block: memoryview) -> None:
        """Take the next bytes. They must stay as they are until `wait`, which releases `block`."""
        self.wait()
        if len(block) < _PARALLEL_BYTES:
            self._take(block)
        else:
            # A thread a block costs 0.05 ms for some 2 ms of hashing, and leaves nothing to be closed.
            self._running = threading.Thread(target=self._take, args=(block,), name="bms-digest")
            self._running.start()

    def wait(self) -> None:
        if self._running is not None:
            self._running.join()
            self._running = None

    def digest(self) -> bytes:
        self.wait()
        return self._hasher.digest()

    def _take(self, block: memoryview) -> None:
        with block:
            self._hasher.update(block)


class ValueWriter:
    """Write one value piece by piece; for one worker thread, which waits for the disk in `add_chunks`.

    Args:
        add_chunks: stores (hash, bytes) pairs and keeps no reference to the bytes, which are reused.
        size: the value's size if it is known. It chooses the chunk sizes; the value may differ.

    Memory: at most 12 MiB and, for each 4,096 chunks, one reference.
    """

    def __init__(self, add_chunks: AddChunks, *, size: int | None = None) -> None:
        profile = LARGE_CHUNKS if size is not None and size > LARGE_VALUE_BYTES else SMALL_CHUNKS
        self._add_chunks = add_chunks
        self._largest = profile.largest
        self._cutter = FastCDC(profile.average, min_size=profile.smallest, max_size=profile.largest)
        self._capacity = max(_BLOCK_BYTES, 2 * profile.largest) + profile.largest
        self._buffer = bytearray(min(size or _FIRST_BUFFER_BYTES, self._capacity))
        self._filled = 0
        self._size = 0
        self._digest = _ValueDigest()
        self._refs: list[ChunkRef] = []
        self._index_refs: list[ChunkRef] = []

    @property
    def size(self) -> int:
        """Bytes fed so far."""
        return self._size

    def feed(self, piece: bytes | bytearray | memoryview) -> None:
        """The next bytes. Raises StorageError."""
        with memoryview(piece) as outer, outer.cast("B") as view:
            position = 0
            while position < len(view):
                room = self._room(len(view) - position)
                taken = min(room, len(view) - position)
                with memoryview(self._buffer) as target:  # (A bytearray's own slices would copy twice.)
                    target[self._filled : self._filled + taken] = view[position : position + taken]
                self._took(taken)
                position += taken

    def feed_file(self, file: ByteSource) -> None:
        """All that is left of an unbuffered binary file, without copies. Raises OSError, StorageError."""
        while True:
            room = self._room(_FIRST_BUFFER_BYTES)
            with memoryview(self._buffer) as view, view[self._filled : self._filled + room] as free:
                taken = file.readinto(free)
            if not taken:
                return
            self._took(taken)

    def finish(self) -> WrittenValue:
        """Store the rest. The writer is done with after this. Raises StorageError."""
        digest = self._digest.digest()
        if self._size <= INLINE_BYTES_MAX:
            return WrittenValue(self._size, digest, bytes(self._buffer[: self._filled]), None)
        self._cut(is_last=True)
        self._buffer = bytearray()
        if not self._index_refs:
            return WrittenValue(self._size, digest, None, Manifest(1, tuple(self._refs)))
        if self._refs:
            self._store_index_chunk()
        return WrittenValue(self._size, digest, None, Manifest(2, tuple(self._index_refs)))

    def _room(self, wanted: int) -> int:
        """Make room for up to `wanted` more bytes; at least one."""
        if self._filled == self._capacity:
            self._cut(is_last=False)
        if self._filled == len(self._buffer) < self._capacity:
            self._digest.wait()
            grown = max(2 * len(self._buffer), min(self._filled + wanted, self._capacity))
            self._buffer.extend(bytes(min(grown, self._capacity) - len(self._buffer)))
        return len(self._buffer) - self._filled

    def _took(self, count: int) -> None:
        self._digest.update(memoryview(self._buffer)[self._filled : self._filled + count])
        self._filled += count
        self._size += count

    def _cut(self, is_last: bool) -> None:
        """Store every chunk whose end is certain, and move what is left to the start of the buffer.

        A cut looks at most `largest` bytes ahead, so it is certain where that many are there.
        """
        done = 0
        chunks: list[tuple[bytes, bytes | memoryview]] = []
        with memoryview(self._buffer) as whole, whole[: self._filled] as view:
            if view:
                for chunk in self._cutter.cut_buf(view):
                    body = view[done : done + chunk.length]
                    done += chunk.length
                    chunks.append((blake3(body).digest(), body))
                    if not is_last and self._filled - done < self._largest:
                        break
            self._store(chunks)
            self._digest.wait()
            left = self._filled - done
            view[:left] = view[done:]  # Overlapping is fine: memoryview moves, it does not copy twice.
        self._filled = left

    def _store(self, chunks: list[tuple[bytes, bytes | memoryview]]) -> None:
        self._add_chunks(chunks)
        for hash, body in chunks:
            if len(self._refs) == MANIFEST_CHUNKS_MAX:
                self._store_index_chunk()
            self._refs.append(ChunkRef(hash, len(body)))

    def _store_index_chunk(self) -> None:
        if len(self._index_refs) == MANIFEST_CHUNKS_MAX:
            raise UsageError(
                reason=f"the value has more than {MANIFEST_CHUNKS_MAX**2} chunks; "
                "give its size beforehand, or split it"
            )
        body = encode_index_chunk(self._refs)
        hash = blake3(body).digest()
        self._add_chunks([(hash, body)])
        self._index_refs.append(ChunkRef(hash, len(body)))
        self._refs.clear()


def write_value(data: bytes | bytearray | memoryview, add_chunks: AddChunks) -> WrittenValue:
    """Write a value that is in memory as a whole."""
    size = memoryview(data).nbytes
    if size <= INLINE_BYTES_MAX:
        inline = bytes(data)
        return WrittenValue(size, blake3(inline).digest(), inline, None)
    writer = ValueWriter(add_chunks, size=size)
    writer.feed(data)
    return writer.finish()
