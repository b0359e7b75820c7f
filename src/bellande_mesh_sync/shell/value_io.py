"""Values in and out: cut, hashed, stored and read in worker threads, a bounded piece at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

from blake3 import blake3

from bellande_mesh_sync.core.data.record import INLINE_BYTES_MAX, ChunkRef, Manifest, Record
from bellande_mesh_sync.errors import ChunkMissingError, IncompleteValueError, UsageError
from bellande_mesh_sync.store.chunker import LARGE_VALUE_BYTES, ValueWriter, WrittenValue, write_value
from bellande_mesh_sync.store.condemned import Hold
from bellande_mesh_sync.store.interface import Store
from bellande_mesh_sync.store.manifests import read_value
from bellande_mesh_sync.values import Entry

R = TypeVar("R")

PIECES_BYTES = 1024 * 1024
"""How much of a stream is gathered before a worker thread is woken for it."""


class ValueIo:
    """Turns bytes into what a record says of them, and back."""

    def __init__(
        self, store: Store, executor: Executor, on_stored: Callable[[Sequence[ChunkRef], str], None]
    ) -> None:
        """
        Args:
            on_stored: hears on the loop's thread of chunks of values that are being written, and of the key.
        """
        self._store = store
        self._executor = executor
        self._on_stored = on_stored
        self._loop = asyncio.get_running_loop()

    def _writer(self, size: int | None, key: str) -> ValueWriter:
        def tell(refs: Sequence[ChunkRef]) -> None:
            self._loop.call_soon_threadsafe(self._on_stored, refs, key)

        # A small value is cut before anybody could fetch its first chunk.
        is_large = size is None or size > LARGE_VALUE_BYTES
        return ValueWriter(self._store.add_chunks, size=size, on_stored=tell if is_large else None)

    async def _work(self, function: Callable[..., R], *arguments: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)

    def hold(self) -> Hold:
        """Open while chunks are read, or written for a record that is not committed yet: none is swept."""
        return self._store.condemned.hold()

    async def write_bytes(self, data: bytes | bytearray | memoryview) -> WrittenValue:
        if len(data) <= INLINE_BYTES_MAX:
            return inline_value(bytes(data))
        return await self._work(write_value, data, self._store.add_chunks)

    async def write_file(self, path: Path, key: str) -> WrittenValue:
        """Raises UsageError if the file cannot be read."""
        return await self._work(self._write_file, path, key)

    def _write_file(self, path: Path, key: str) -> WrittenValue:
        try:
            with path.open("rb", buffering=0) as file:
                writer = self._writer(path.stat().st_size, key)
                writer.feed_file(file)
                return writer.finish()
        except OSError as error:
            raise UsageError(reason=f"{path} cannot be read: {error.strerror}") from error

    async def write_stream(self, key: str, pieces: AsyncIterator[bytes], size: int | None) -> WrittenValue:
        """Raises IncompleteValueError if the stream has another length than `size`."""
        writer = self._writer(size, key)
        gathered: list[bytes] = []
        count = total = 0
        async for piece in pieces:
            gathered.append(piece)
            count += len(piece)
            total += len(piece)
            if size is not None and total > size:
                raise IncompleteValueError(f"the value has more than the {size} bytes announced", key=key)
            if count >= PIECES_BYTES:
                await self._work(_feed_all, writer, gathered)
                gathered, count = [], 0
        if size is not None and total != size:
            raise IncompleteValueError(key=key)
        if total <= INLINE_BYTES_MAX:
            return await self.write_bytes(b"".join(gathered))
        await self._work(_feed_all, writer, gathered)
        return await self._work(writer.finish)

    async def read(self, record: Record, start: int, end: int) -> AsyncIterator[bytes]:
        """The value's bytes from `start` up to `end`, one verified piece after the other."""
        if record.inline is not None:
            if start < end:
                yield record.inline[start:end]
            return
        if record.manifest is None or start >= end:
            return
        with self.hold():
            pieces = self._pieces(record.manifest, start, end)
            # The next piece is read while the last one is being used.
            coming = asyncio.ensure_future(self._work(next, pieces, None))
            try:
                while (piece := await coming) is not None:
                    coming = asyncio.ensure_future(self._work(next, pieces, None))
                    yield piece
            finally:
                await asyncio.wait([coming])

    def _pieces(self, manifest: Manifest, start: int, end: int) -> Iterator[bytes]:
        return read_value(self._store, manifest, start, end)

    async def check_whole(self, record: Record) -> None:
        """Raises ChunkMissingError unless all of the value's chunks are here."""
        if record.manifest is not None:
            missing, _ = await self._work(self._store.missing_chunks, record.manifest)
            if missing:
                raise ChunkMissingError(chunk=missing[0].hash.hex(), key=record.key)

    async def digest(self, record: Record) -> bytes:
        """BLAKE3 of the value as it is on disk now, every byte read again."""
        hasher = blake3()
        async for piece in self.read(record, 0, record.size):
            hasher.update(piece)
        return hasher.digest()


class ValueStream:
    """An open value: iterate over its bytes from `start` up to `end`."""

    def __init__(self, io: ValueIo, record: Record, entry: Entry, start: int, end: int) -> None:
        self._io = io
        self._record = record
        self.entry = entry
        self.start = start
        self.end = end
        self._hold = io.hold() if record.manifest is not None else None
        self._iterator: AsyncIterator[bytes] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._iterator = self._io.read(self._record, self.start, self.end)
        return self._iterator

    async def __aenter__(self) -> ValueStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        closing = getattr(self._iterator, "aclose", None)
        if closing is not None:
            await closing()
        if self._hold is not None:
            self._hold.release()


def inline_value(data: bytes) -> WrittenValue:
    """What a record says of a value that it holds itself."""
    return WrittenValue(len(data), blake3(data).digest(), data, None)


def _feed_all(writer: ValueWriter, pieces: list[bytes]) -> None:
    for piece in pieces:
        writer.feed(piece)
