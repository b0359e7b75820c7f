"""Chunks of a node that keeps nothing: in packs in a temporary folder, so that they fill no memory."""

from __future__ import annotations

import shutil
import tempfile
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bellande_mesh_sync.store.chunk_files import ChunkFiles
from bellande_mesh_sync.store.condemned import Condemned
from bellande_mesh_sync.store.disk_errors import disk_errors
from bellande_mesh_sync.store.pack_sweeping import PackSweeping
from bellande_mesh_sync.store.packs import Entry, Location


class TemporaryChunks:
    """A `ChunkPlace` whose index is in memory. Nothing outlives the process, so nothing is synced."""

    def __init__(self) -> None:
        self._directory: Path | None = None
        self._files: ChunkFiles | None = None
        self._index: dict[bytes, Location] = {}
        self._order: list[bytes] = []  # Of the reading under way.
        self._indexing = threading.Lock()

    def open(self) -> None:
        with disk_errors(Path(tempfile.gettempdir())):
            self._directory = Path(tempfile.mkdtemp(prefix="bms-chunks-"))
        self._index = {}
        self._files = ChunkFiles(self._directory, self._find)
        self._files.open(None)
        self._sweeping = PackSweeping(self._files, page=self._page, find=self._find, rewrite=self._rewrite)

    def close(self) -> None:
        if self._files is not None and self._directory is not None:
            self._files.close()
            shutil.rmtree(self._directory, ignore_errors=True)
            self._files = self._directory = None

    def add(self, chunks: Sequence[tuple[bytes, bytes | memoryview]]) -> None:
        self._opened.add(chunks)

    def has(self, hashes: Sequence[bytes]) -> list[bool]:
        return self._opened.has(hashes)

    def read(self, hash: bytes) -> bytes:
        return self._opened.read(hash)

    def commit(self) -> None:
        self._rewrite([])

    @property
    def size_bytes(self) -> int:
        return self._opened.size_bytes

    @property
    def condemned(self) -> Condemned:
        return self._opened.condemned

    def pages(self) -> Iterator[Sequence[Entry]]:
        return self._sweeping.pages()

    def drop(self, entries: Sequence[Entry]) -> int:
        return self._sweeping.drop(entries)

    def compact(self, pause: Callable[[int], None]) -> int:
        return self._sweeping.compact(pause)

    # -- the index

    def _find(self, hashes: Sequence[bytes]) -> dict[bytes, Location]:
        index = self._index
        return {hash: location for hash in hashes if (location := index.get(hash)) is not None}

    def _page(self, after: bytes, limit: int) -> Sequence[Entry]:
        with self._indexing:
            if not after:
                self._order = sorted(self._index)
            start = bisect_right(self._order, after)
            while start < len(self._order):
                names = self._order[start : start + limit]
                if found := [(hash, self._index[hash]) for hash in names if hash in self._index]:
                    return found
                start += limit
            return []

    def _rewrite(self, gone: Sequence[Entry]) -> None:
        with self._indexing:
            for hash, _ in gone:
                self._index.pop(hash, None)
            entries = self._opened.written()
            self._index.update(entries)
        self._opened.indexed(entries)

    @property
    def _opened(self) -> ChunkFiles:
        assert self._files is not None, "the store is not open"
        return self._files
