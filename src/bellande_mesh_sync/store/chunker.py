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


class _Beside:
    """Runs one piece of work at a time beside the caller, on another core."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begin, when what ran before is done. Raises what that raised."""
        self.wait()
        # A thread a block costs 0.05 ms for some 20 ms of work, and leaves nothing to be closed.
        self._thread = threading.Thread(target=self._run, args=(work,), name="bms-chunks")
        self._thread.start()

    def wait(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # Whatever it is, the caller's `wait` raises it.
            self._failure = error


class ValueWriter:
    """Write one value piece by piece; for one worker thread, which waits for the disk in `add_chunks`.

    Args:
        add_chunks: stores (hash, bytes) pairs and keeps no reference to the bytes, which are reused.
        size: the value's size if it is known. It chooses the chunk sizes; the value may differ.
        on_stored: hears of each batch of chunks once it is stored; called from any thread.

    There are two buffers: while this thread fills one and finds the cuts in it, another hashes and
    stores what is in the other.

    Memory: at most 24 MiB and, for each 4,096 chunks, one reference.
    """

    def __init__(
        self,
        add_chunks: AddChunks,
        *,
        size: int | None = None,
        on_stored: Callable[[Sequence[ChunkRef]], None] | None = None,
    ) -> None:
        profile = LARGE_CHUNKS if size is not None and size > LARGE_VALUE_BYTES else SMALL_CHUNKS
        self._add_chunks = add_chunks
        self._on_stored = on_stored
        self._largest = profile.largest
        self._cutter = FastCDC(profile.average, min_size=profile.smallest, max_size=profile.largest)
        self._capacity = max(_BLOCK_BYTES, 2 * profile.largest) + profile.largest
        self._buffer = bytearray(min(size or _FIRST_BUFFER_BYTES, self._capacity))
        self._spare = bytearray()
        self._filled = 0
        self._hashed = 0
        """How much of the buffer the value's digest has taken in already."""
        self._size = 0
        self._digest = blake3()
        self._beside = _Beside()
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
        if self._size <= INLINE_BYTES_MAX:
            inline = bytes(self._buffer[: self._filled])
            return WrittenValue(self._size, blake3(inline).digest(), inline, None)
        self._cut(is_last=True)
        self._beside.wait()
        digest = self._digest.digest()
        self._buffer = self._spare = bytearray()
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
            grown = max(2 * len(self._buffer), min(self._filled + wanted, self._capacity))
            self._buffer.extend(bytes(min(grown, self._capacity) - len(self._buffer)))
        return len(self._buffer) - self._filled

    def _took(self, count: int) -> None:
        self._filled += count
        self._size += count

    def _cut(self, is_last: bool) -> None:
        """Have every chunk stored whose end is certain; what is left begins the other buffer.

        A cut looks at most `largest` bytes ahead, so it is certain where that many are there.
        """
        done = 0
        lengths: list[int] = []
        with memoryview(self._buffer) as whole, whole[: self._filled] as view:
            if view:
                for chunk in self._cutter.cut_buf(view):
                    lengths.append(chunk.length)
                    done += chunk.length
                    if not is_last and self._filled - done < self._largest:
                        break
        full, filled, hashed = self._buffer, self._filled, self._hashed
        self._beside.wait()  # The other buffer is free from here on.
        left = filled - done
        if not is_last:
            self._spare = self._spare or bytearray(self._capacity)
            with memoryview(self._spare) as target, memoryview(full) as source:
                target[:left] = source[done:filled]
            self._buffer, self._spare = self._spare, full
        self._filled = self._hashed = left
        if filled < _PARALLEL_BYTES:
            self._store_block(full, filled, hashed, lengths)
        else:
            self._beside.start(lambda: self._store_block(full, filled, hashed, lengths))

    def _store_block(self, block: bytearray, filled: int, hashed: int, lengths: Sequence[int]) -> None:
        """Hash and store the chunks at the start of `block`, of these lengths."""
        chunks: list[tuple[bytes, bytes | memoryview]] = []
        position = 0
        with memoryview(block) as view:
            self._digest.update(view[hashed:filled])
            for length in lengths:
                body = view[position : position + length]
                position += length
                chunks.append((blake3(body).digest(), body))
            self._store(chunks)
            for _, chunk in chunks:
                if isinstance(chunk, memoryview):
                    chunk.release()

    def _store(self, chunks: list[tuple[bytes, bytes | memoryview]]) -> None:
        self._add_chunks(chunks)
        refs = [ChunkRef(hash, len(body)) for hash, body in chunks]
        for ref in refs:
            if len(self._refs) == MANIFEST_CHUNKS_MAX:
                self._store_index_chunk()
            self._refs.append(ref)
        if self._on_stored is not None and refs:
            self._on_stored(refs)

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
