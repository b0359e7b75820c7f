"""Chunks on disk: packed together in append-only files, so that many small ones cost one sync.

A pack is a row of entries, each a header (magic, size, hash) and the chunk's bytes. Where a chunk
lies is indexed elsewhere (the database); entries describe themselves so that the index can be
rebuilt, and a chunk is checked against its hash whenever it is read.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from blake3 import blake3

from bellande_mesh_sync.core.data.record import ChunkRef
from bellande_mesh_sync.errors import ChunkMissingError, CorruptStoreError, StorageError
from bellande_mesh_sync.store.direct_io import BLOCK_BYTES, Stage, Stages, align_up, open_direct
from bellande_mesh_sync.store.disk_errors import disk_errors
from bellande_mesh_sync.store.epoch_file import sync_directory
from bellande_mesh_sync.store.manifests import HASH_BYTES

PACK_BYTES_MAX: Final = 256 << 20
_WRITEBACK_BYTES: Final = 8 << 20
"""Ask the kernel to start writing after this much, or the sync of a big value stalls for a second."""
_DIRECT_BATCH_BYTES: Final = 1 << 20
"""A batch of this much or more is written past the page cache; it costs up to two blocks of padding."""
_DIRECT_CHUNK_BYTES: Final = 256 << 10
"""A chunk of this size or more is read past the page cache."""
_OPEN_PACKS_MAX: Final = 32
_WRITE_VECTORS_MAX: Final = 512

_MAGIC: Final = b"BMC1"
_HEADER: Final = struct.Struct(f">4sI{HASH_BYTES}s")


class Location(NamedTuple):
    """Where a chunk's bytes are: the pack's number, the position of the first byte, the size."""

    pack: int
    position: int
    size: int

    @property
    def end(self) -> int:
        return self.position + self.size


Entry = tuple[bytes, Location]
Find = Callable[[Sequence[bytes]], dict[bytes, Location]]


class _Pack:
    """An open pack file. Closed when the last user lets go, so no reader ever loses its descriptor."""

    def __init__(self, path: Path, flags: int) -> None:
        self._descriptor = self.direct = -1
        self.path = path
        self._descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        self.direct = open_direct(path)
        """For direct reads and writes; -1 if this file system has none."""

    @property
    def descriptor(self) -> int:
        return self._descriptor

    def __del__(self) -> None:
        for descriptor in (self._descriptor, self.direct):
            if descriptor >= 0:
                os.close(descriptor)


class ChunkFiles:
    """The packs of one directory. `add`, `has` and `read` may be called from several threads.

    Args:
        find: the index: locations of those of the given hashes that it knows. Thread-safe.
    """

    def __init__(self, directory: Path, find: Find, *, pack_bytes_max: int = PACK_BYTES_MAX) -> None:
        self._directory = directory
        self._find = find
        self._pack_bytes_max = pack_bytes_max
        self._lock = threading.Lock()
        self._current: _Pack | None = None
        self._number = 0
        self._end = 0
        self._written_back = 0
        self._stages = Stages()  # For reading, which many threads do at once.
        self._stage: Stage | None = None  # For writing, under the lock.
        self._unsynced: list[_Pack] = []
        self._pending: dict[bytes, Location] = {}  # Written, but not yet in the index.
        self._damaged: dict[bytes, Location] = {}  # Failed their check; a new copy may be added.
        self._readers: dict[int, _Pack] = {}
        self._size_bytes = 0
        self._is_broken = False
        self.on_damage: Callable[[ChunkRef, bytes], None] = lambda ref, body: None
        """Told of each chunk that turned out to be damaged, with what its bytes are now; from any thread."""

    def open(self, last: tuple[int, int] | None) -> None:
        """Get ready to append.

        Args:
            last: the number of the last indexed pack and the end of its last indexed entry; what
                lies beyond is left over from a crash and is cut off. None: there is no index, and
                it is rebuilt from the packs, if there are any.

        Raises:
            CorruptStoreError: the last indexed pack is shorter than its index says. Nothing changed.
        """
        self._pending.clear()
        self._damaged.clear()
        with disk_errors(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            numbers = sorted(_number_of(path) for path in self._directory.glob("pack-*.bms"))
            if last is None:
                self._adopt(numbers)
            else:
                self._cut_leftovers(numbers, *last)
            self._size_bytes = sum(path.stat().st_size for path in self._directory.glob("pack-*.bms"))

    def close(self) -> None:
        with self._lock:
            self._current = None
            self._unsynced.clear()
            self._readers.clear()

    # -- chunks

    def add(self, chunks: Sequence[tuple[bytes, bytes | memoryview]]) -> None:
        """Append chunks that are not here yet. Raises DiskFullError, StorageError; some may be here then."""
        known = self.has([hash for hash, _ in chunks])
        fresh = {hash: body for (hash, body), here in zip(chunks, known, strict=True) if not here}
        if not fresh:
            return
        with self._lock, disk_errors(self._directory):
            self._check_usable()
            batch: list[tuple[bytes, bytes | memoryview]] = []
            for hash, body in fresh.items():
                held = self._pending.get(hash)
                if held is None or held == self._damaged.get(hash):  # Unless another thread was faster.
                    batch.append((hash, body))
                if len(batch) * 2 >= _WRITE_VECTORS_MAX:
                    self._append(batch)
                    batch = []
            self._append(batch)

    def has(self, hashes: Sequence[bytes]) -> list[bool]:
        located = self._locate(hashes)
        damaged = self._damaged
        return [hash in located and located[hash] != damaged.get(hash) for hash in hashes]

    def read(self, hash: bytes) -> bytes:
        """A chunk's bytes. Raises ChunkMissingError, CorruptStoreError, StorageError."""
        location = self._locate([hash]).get(hash)
        if location is None:
            raise ChunkMissingError(f"chunk {hash.hex()} is not on this node's disk", chunk=hash.hex())
        path = self._path(location.pack)
        try:
            with disk_errors(path):
                pack = self._reader(location.pack)
                if pack.direct >= 0 and location.size >= _DIRECT_CHUNK_BYTES:
                    body = self._stages.stage.read(pack.direct, location.size, location.position)
                else:
                    body = os.pread(pack.descriptor, location.size, location.position)
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                self._note_damage(hash, location, b"")
                raise CorruptStoreError(path=str(path), reason="the file is gone") from error
            raise
        if len(body) != location.size or blake3(body).digest() != hash:
            self._note_damage(hash, location, bytes(body))
            raise CorruptStoreError(path=str(path), reason=f"chunk {hash.hex()} does not fit its hash")
        return body

    def _note_damage(self, hash: bytes, location: Location, body: bytes) -> None:
        if self._damaged.get(hash) != location:
            self._damaged[hash] = location
            self.on_damage(ChunkRef(hash, location.size), body)

    # -- durability

    def sync(self) -> tuple[list[Entry], tuple[int, int]]:
        """Make everything added so far durable.

        Returns:
            What the index does not have yet, and what `open` wants to be told once it has.

        Raises StorageError, and from then on at every call: after a failed sync the kernel forgets
        which pages were not written, so a second try that succeeds would be a lie.
        """
        with self._lock:
            self._check_usable()
            if not self._pending:
                return [], (self._number, self._end)
            entries = list(self._pending.items())
            end = (self._number, self._end)
            unsynced, self._unsynced = self._unsynced, []
        try:
            for pack in unsynced:
                os.fdatasync(pack.descriptor)
        except OSError as error:
            self._is_broken = True
            reason = f"{self._directory}: chunks could not be synced: {error.strerror}"
            raise StorageError(reason=reason) from error
        return entries, end

    def indexed(self, entries: Iterable[Entry]) -> None:
        """The index has these entries now, durably."""
        with self._lock:
            for hash, location in entries:
                if self._pending.get(hash) == location:
                    del self._pending[hash]
                if self._damaged.get(hash) not in (None, location):
                    del self._damaged[hash]

    @property
    def size_bytes(self) -> int:
        """What the packs take on disk."""
        return self._size_bytes

    # -- inside

    def _locate(self, hashes: Sequence[bytes]) -> dict[bytes, Location]:
        # Pending first, index second: a chunk goes from the one to the other, never back.
        located = {hash: held for hash in hashes if (held := self._pending.get(hash)) is not None}
        unknown = [hash for hash in hashes if hash not in located]
        if unknown:
            located.update(self._find(unknown))
        return located

    def _check_usable(self) -> None:
        if self._is_broken:
            raise StorageError(
                reason=f"{self._directory}: a sync failed; restart the node once the disk is well"
            )

    def _append(self, batch: Sequence[tuple[bytes, bytes | memoryview]]) -> None:
        """Write a batch behind the last entry. The lock is held. An error leaves `_end` where it was."""
        if not batch:
            return
        if self._current is None or self._end >= self._pack_bytes_max:
            self._roll()
        pack = self._current
        assert pack is not None, "no pack is open"
        if pack not in self._unsynced:
            self._unsynced.append(pack)
        vectors: list[bytes | memoryview] = []
        entries: dict[bytes, Location] = {}
        is_direct = pack.direct >= 0 and sum(len(body) for _, body in batch) >= _DIRECT_BATCH_BYTES
        start = position = align_up(self._end) if is_direct else self._end
        for hash, body in batch:
            vectors += (_HEADER.pack(_MAGIC, len(body), hash), body)
            position += _HEADER.size
            entries[hash] = Location(self._number, position, len(body))
            position += len(body)
        if is_direct:
            self._stage = self._stage or Stage()
            position = self._stage.write(pack.direct, vectors, start)
            self._written_back = position
        else:
            _write_all(pack.descriptor, vectors, start)
        self._size_bytes += position - self._end
        self._end = position
        self._pending.update(entries)
        if self._end - self._written_back >= _WRITEBACK_BYTES:
            _forget(pack.descriptor, self._written_back, self._end - self._written_back)
            self._written_back = self._end

    def _roll(self) -> None:
        self._current = _Pack(self._path(self._number + 1), os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self._number += 1
        self._end = self._written_back = 0
        sync_directory(self._directory)

    def _reader(self, number: int) -> _Pack:
        pack = self._readers.get(number)
        if pack is None:
            pack = _Pack(self._path(number), os.O_RDONLY)
            with self._lock:
                if len(self._readers) >= _OPEN_PACKS_MAX:
                    del self._readers[next(iter(self._readers))]
                self._readers[number] = pack
        return pack

    def _path(self, number: int) -> Path:
        return self._directory / f"pack-{number:06d}.bms"

    def _cut_leftovers(self, numbers: Sequence[int], last: int, end: int) -> None:
        path = self._path(last)
        if last:
            size = path.stat().st_size if last in numbers else 0
            if size < end:
                raise CorruptStoreError(path=str(path), reason=f"it has {size} bytes, its index says {end}")
            pack = _Pack(path, os.O_RDWR)
            if size > end:
                os.truncate(path, end)
            self._current = pack
        for number in numbers:
            if number > last:
                self._path(number).unlink()
        self._number, self._end, self._written_back = last, end, end

    def _adopt(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._pending.update(scan_pack(self._path(number), number))
        # What was found goes on in a pack of its own: the last one may end in the middle of an entry.
        self._number = max(numbers, default=0)
        self._end = self._path(self._number).stat().st_size if self._number else 0


def scan_pack(path: Path, number: int) -> Iterator[Entry]:
    """The sound entries of a pack, up to its end or the first header that is none. Raises OSError.

    Cost: reads and hashes all of it.
    """
    size = path.stat().st_size
    with path.open("rb", buffering=0) as file:
        position = 0
        while position + _HEADER.size <= size:
            magic, length, hash = _HEADER.unpack(os.pread(file.fileno(), _HEADER.size, position))
            if magic != _MAGIC and position % BLOCK_BYTES:
                position = align_up(position)  # Padding: the next batch began with a block of its own.
                continue
            position += _HEADER.size
            if magic != _MAGIC or position + length > size:
                return
            if blake3(os.pread(file.fileno(), length, position)).digest() == hash:
                yield hash, Location(number, position, length)
            position += length


def _number_of(path: Path) -> int:
    digits = path.stem.removeprefix("pack-")
    if not digits.isdecimal():
        raise CorruptStoreError(path=str(path), reason="its name is not that of a pack of chunks")
    return int(digits)


def _write_all(descriptor: int, vectors: list[bytes | memoryview], position: int) -> None:
    """pwritev until all is written: it may stop in the middle, at a full disk for one."""
    index = 0
    while index < len(vectors):
        written = os.pwritev(descriptor, vectors[index:], position)
        position += written
        while index < len(vectors) and written >= len(vectors[index]):
            written -= len(vectors[index])
            index += 1
        if written:
            vectors[index] = memoryview(vectors[index])[written:]


def _forget(descriptor: int, start: int, length: int) -> None:
    """Tell the system that this range is not needed soon: Linux then starts to write its dirty pages."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_DONTNEED)
