"""Chunks on disk: packed together in append-only files, so that many small ones cost one sync.

Where a chunk lies is indexed elsewhere (the database); packs describe themselves so that the index
can be rebuilt, and a chunk is checked against its hash whenever it is read.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from blake3 import blake3

from bellande_mesh_sync.core.data.record import ChunkRef
from bellande_mesh_sync.errors import ChunkMissingError, CorruptStoreError, StorageError
from bellande_mesh_sync.store.condemned import Condemned
from bellande_mesh_sync.store.direct_io import Stage, Stages, align_up
from bellande_mesh_sync.store.disk_errors import disk_errors
from bellande_mesh_sync.store.epoch_file import sync_directory
from bellande_mesh_sync.store.packs import (
    HEADER,
    MAGIC,
    Entry,
    Location,
    Pack,
    forget,
    pack_path,
    scan_pack,
    sizes_of,
    write_all,
)

PACK_BYTES_MAX: Final = 256 << 20
_WRITEBACK_BYTES: Final = 8 << 20
"""Ask the kernel to start writing after this much, or the sync of a big value stalls for a second."""
_DIRECT_BATCH_BYTES: Final = 1 << 20
"""A batch of this much or more is written past the page cache; it costs up to two blocks of padding."""
_DIRECT_CHUNK_BYTES: Final = 256 << 10
"""A chunk of this size or more is read past the page cache."""
_OPEN_PACKS_MAX: Final = 32
_WRITE_VECTORS_MAX: Final = 512

Find = Callable[[Sequence[bytes]], dict[bytes, Location]]


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
        self._current: Pack | None = None
        self._number = 0
        self._end = 0
        self._written_back = 0
        self._stages = Stages()  # For reading, which many threads do at once.
        self._stage: Stage | None = None  # For writing, under the lock.
        self._unsynced: list[Pack] = []
        self._pending: dict[bytes, Location] = {}  # Written, but not yet in the index.
        self._damaged: dict[bytes, Location] = {}  # Failed their check; a new copy may be added.
        self._readers: dict[int, Pack] = {}
        self._size_bytes = 0
        self._is_broken = False
        self.condemned = Condemned()
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
            numbers = list(sizes_of(self._directory))
            if last is None:
                self._adopt(numbers)
            else:
                self._cut_leftovers(numbers, *last)
            self._size_bytes = sum(sizes_of(self._directory).values())

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
        location: Location | None = None
        while True:
            before, location = location, self._locate([hash]).get(hash)
            if location is None:
                raise ChunkMissingError(f"chunk {hash.hex()} is not on this node's disk", chunk=hash.hex())
            try:
                body = self._read_at(location)
                break
            except StorageError as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    raise
                if location != before:
                    continue  # Its pack may have been rewritten in between: then it is elsewhere now.
                self._note_damage(hash, location, b"")
                path = str(self.path_of(location.pack))
                raise CorruptStoreError(path=path, reason="the file is gone") from error
        if len(body) != location.size or blake3(body).digest() != hash:
            self._note_damage(hash, location, body)
            reason = f"chunk {hash.hex()} does not fit its hash"
            raise CorruptStoreError(path=str(self.path_of(location.pack)), reason=reason)
        return body

    def _read_at(self, location: Location) -> bytes:
        with disk_errors(self.path_of(location.pack)):
            pack = self._reader(location.pack)
            if pack.direct >= 0 and location.size >= _DIRECT_CHUNK_BYTES:
                return self._stages.stage.read(pack.direct, location.size, location.position)
            return os.pread(pack.descriptor, location.size, location.position)

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

    def written(self) -> list[Entry]:
        """What the index does not have yet, durable or not: for chunks that need not outlive the process."""
        with self._lock:
            self._unsynced.clear()
            return list(self._pending.items())

    @property
    def size_bytes(self) -> int:
        """What the packs take on disk."""
        return self._size_bytes

    # -- sweeping

    def pack_sizes(self) -> dict[int, int]:
        """Bytes on disk of each pack. Raises StorageError."""
        with disk_errors(self._directory):
            return sizes_of(self._directory)

    def may_drop(self, entries: Iterable[Entry]) -> dict[bytes, Location]:
        """Those of these indexed chunks that have not been written anew meanwhile."""
        with self._lock:
            return {hash: location for hash, location in entries if hash not in self._pending}

    def dropped(self, places: Iterable[Entry]) -> None:
        """The index does not have these any more."""
        with self._lock:
            for hash, location in places:
                if self._damaged.get(hash) == location:
                    del self._damaged[hash]

    def leave_pack(self, number: int) -> None:
        """Write no more to this pack: what comes next goes into another one. Raises StorageError."""
        with self._lock, disk_errors(self._directory):
            self._check_usable()
            if number == self._number:
                self._roll()

    def read_entry(self, hash: bytes, location: Location) -> bytes | None:
        """The chunk at this place, without touching it; None if it is damaged. Raises StorageError."""
        body = self._read_at(location)
        if len(body) == location.size and blake3(body).digest() == hash:
            return body
        self._note_damage(hash, location, body)
        return None

    def move(self, chunks: Sequence[tuple[bytes, bytes]]) -> None:
        """Write these chunks, which are here, to the current pack. Raises DiskFullError, StorageError."""
        with self._lock, disk_errors(self._directory):
            self._check_usable()
            self._append([(hash, body) for hash, body in chunks if hash not in self._pending])

    def drop_pack(self, number: int) -> int:
        """Take away a pack that the index names no more; the bytes that it had.

        Who has it open can still read it. 0: something in it is not indexed yet, so it stays.
        """
        with self._lock, disk_errors(self._directory):
            if number == self._number or any(each.pack == number for each in self._pending.values()):
                return 0
            path = self.path_of(number)
            size = path.stat().st_size
            path.unlink()
            self._readers.pop(number, None)
            self._size_bytes -= size
            return size

    # -- inside

    def _locate(self, hashes: Sequence[bytes]) -> dict[bytes, Location]:
        """Where these chunks are, as far as they are here. Whoever asks wants them to stay a while."""
        while True:
            generation = self.condemned.generation
            located = self.condemned.touched(self._look_up(hashes), generation)
            if located is not None:
                return located

    def _look_up(self, hashes: Sequence[bytes]) -> dict[bytes, Location]:
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
            vectors += (HEADER.pack(MAGIC, len(body), hash), body)
            position += HEADER.size
            entries[hash] = Location(self._number, position, len(body))
            position += len(body)
        if is_direct:
            self._stage = self._stage or Stage()
            position = self._stage.write(pack.direct, vectors, start)
            self._written_back = position
        else:
            write_all(pack.descriptor, vectors, start)
        self._size_bytes += position - self._end
        self._end = position
        self._pending.update(entries)
        if self._end - self._written_back >= _WRITEBACK_BYTES:
            forget(pack.descriptor, self._written_back, self._end - self._written_back)
            self._written_back = self._end

    def _roll(self) -> None:
        self._current = Pack(self.path_of(self._number + 1), os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self._number += 1
        self._end = self._written_back = 0
        sync_directory(self._directory)

    def _reader(self, number: int) -> Pack:
        pack = self._readers.get(number)
        if pack is None:
            pack = Pack(self.path_of(number), os.O_RDONLY)
            with self._lock:
                if not pack.path.exists():
                    return pack  # Dropped in this moment: it is good for this one read.
                if len(self._readers) >= _OPEN_PACKS_MAX:
                    del self._readers[next(iter(self._readers))]
                self._readers[number] = pack
        return pack

    def path_of(self, number: int) -> Path:
        return pack_path(self._directory, number)

    def _cut_leftovers(self, numbers: Sequence[int], last: int, end: int) -> None:
        path = self.path_of(last)
        if last:
            size = path.stat().st_size if last in numbers else 0
            if size < end:
                raise CorruptStoreError(path=str(path), reason=f"it has {size} bytes, its index says {end}")
            pack = Pack(path, os.O_RDWR)
            if size > end:
                os.truncate(path, end)
            self._current = pack
        for number in numbers:
            if number > last:
                self.path_of(number).unlink()
        self._number, self._end, self._written_back = last, end, end

    def _adopt(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._pending.update(scan_pack(self.path_of(number), number))
        # What was found goes on in a pack of its own: the last one may end in the middle of an entry.
        self._number = max(numbers, default=0)
        self._end = self.path_of(self._number).stat().st_size if self._number else 0
