"""Packs: append-only files of chunks that describe themselves.

A pack is a row of entries, each a header (magic, size, hash) and the chunk's bytes; a batch that was
written past the page cache starts on a block of its own, so there may be padding before a header.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from blake3 import blake3

from bellande_mesh_sync.errors import CorruptStoreError
from bellande_mesh_sync.store.direct_io import BLOCK_BYTES, align_up, open_direct
from bellande_mesh_sync.store.manifests import HASH_BYTES

MAGIC: Final = b"BMC1"
HEADER: Final = struct.Struct(f">4sI{HASH_BYTES}s")


class Location(NamedTuple):
    """Where a chunk's bytes are: the pack's number, the position of the first byte, the size."""

    pack: int
    position: int
    size: int

    @property
    def end(self) -> int:
        return self.position + self.size


Entry = tuple[bytes, Location]


class Pack:
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


def scan_headers(path: Path, number: int) -> Iterator[Entry]:
    """What the headers of a pack say, up to its end or the first that is none. Raises OSError."""
    size = path.stat().st_size
    with path.open("rb", buffering=0) as file:
        position = 0
        while position + HEADER.size <= size:
            magic, length, hash = HEADER.unpack(os.pread(file.fileno(), HEADER.size, position))
            if magic != MAGIC and position % BLOCK_BYTES:
                position = align_up(position)  # Padding: the next batch began with a block of its own.
                continue
            position += HEADER.size
            if magic != MAGIC or position + length > size:
                return
            yield hash, Location(number, position, length)
            position += length


def scan_pack(path: Path, number: int) -> Iterator[Entry]:
    """The sound entries of a pack. Raises OSError. Cost: reads and hashes all of it."""
    with path.open("rb", buffering=0) as file:
        for hash, location in scan_headers(path, number):
            if blake3(os.pread(file.fileno(), location.size, location.position)).digest() == hash:
                yield hash, location


def number_of(path: Path) -> int:
    """Raises CorruptStoreError."""
    digits = path.stem.removeprefix("pack-")
    if not digits.isdecimal():
        raise CorruptStoreError(path=str(path), reason="its name is not that of a pack of chunks")
    return int(digits)


def write_all(descriptor: int, vectors: list[bytes | memoryview], position: int) -> None:
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


def forget(descriptor: int, start: int, length: int) -> None:
    """Tell the system that this range is not needed soon: Linux then starts to write its dirty pages."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_DONTNEED)


def entry_bytes(size: int) -> int:
    """What a chunk of this size takes in a pack."""
    return HEADER.size + size


def sizes_of(directory: Path) -> dict[int, int]:
    """Bytes by number of the packs in a folder. Raises OSError, CorruptStoreError."""
    return {number_of(path): path.stat().st_size for path in sorted(directory.glob("pack-*.bms"))}


def pack_path(directory: Path, number: int) -> Path:
    return directory / f"pack-{number:06d}.bms"
