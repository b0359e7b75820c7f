"""Sweeping packs: chunks leave the index first; then packs that hold little else are written anew, or go.

Crash-safe by its order. A chunk is copied and its copy synced before the index names the new place, in one
transaction with the end of the packs; only after that does the old pack go. Whatever a crash leaves behind is
bytes that no index names, and the next sweep takes those for what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from bellande_mesh_sync.store.chunk_files import ChunkFiles, Find
from bellande_mesh_sync.store.packs import Entry, entry_bytes, scan_headers

PAGE_CHUNKS: Final = 2_000
DEAD_SHARE: Final = 0.25
"""A pack is written anew when this much of it is dead: so packs take at most a third more than what is in
them, and for each byte that is won three are copied at most."""
_COPY_BYTES: Final = 4 << 20

Pause = Callable[[int], None]


class PackSweeping:
    """The part of a store's chunks that takes them away. For one thread at a time.

    Args:
        page: the next chunks of the index above a hash, in order of hashes.
        find: as `ChunkFiles` has it.
        rewrite: durable in one step: these chunks leave the index, and what was written to the packs comes
            in. Raises DiskFullError, StorageError; then nothing changed.
    """

    def __init__(
        self,
        files: ChunkFiles,
        *,
        page: Callable[[bytes, int], Sequence[Entry]],
        find: Find,
        rewrite: Callable[[Sequence[Entry]], None],
    ) -> None:
        self._files = files
        self._page = page
        self._find = find
        self._rewrite_index = rewrite

    def pages(self) -> Iterator[Sequence[Entry]]:
        """All chunks of the index, in order of their hashes."""
        after = b""
        while page := self._page(after, PAGE_CHUNKS):
            yield page
            after = page[-1][0]

    def drop(self, entries: Sequence[Entry]) -> int:
        """Take those of these chunks that are still condemned out of the index; how many bytes that was."""
        condemned = self._files.condemned
        going = condemned.take(self._files.may_drop(entries))
        try:
            if going:
                self._rewrite_index(list(going.items()))
                self._files.dropped(going.items())
        finally:
            condemned.gone()
        return sum(location.size for location in going.values())

    def compact(self, pause: Pause) -> int:
        """Win back what is dead in packs; how many bytes the disk has more.

        Raises DiskFullError, StorageError: what was done so far stays done, and nothing is lost.
        """
        self._rewrite_index([])  # Then the index tells of all that is in the packs.
        live = dict.fromkeys(self._files.pack_sizes(), 0)
        for page in self.pages():
            for _, location in page:
                live[location.pack] = live.get(location.pack, 0) + entry_bytes(location.size)
            pause(0)
        won = 0
        # Those without anything alive first: they cost nothing, and make room for the others.
        for number, size in sorted(self._files.pack_sizes().items(), key=lambda pack: live.get(pack[0], 0)):
            if size and 1 - live.get(number, 0) / size >= DEAD_SHARE:
                won += self._rewrite(number, pause)
        return won

    def _rewrite(self, number: int, pause: Pause) -> int:
        before = self._files.size_bytes
        self._files.leave_pack(number)
        if not self._copy_live(number, pause):
            return 0  # What is damaged in it comes back from other nodes, to another place.
        self._rewrite_index([])
        self._files.drop_pack(number)
        return max(0, before - self._files.size_bytes)

    def _copy_live(self, number: int, pause: Pause) -> bool:
        """Write what lives in this pack to the current one; whether that was all of it."""
        is_whole = True
        batch: list[tuple[bytes, bytes]] = []
        batch_bytes = 0
        for hash, location in self._live(number):
            body = self._files.read_entry(hash, location)
            if body is None:
                is_whole = False
                continue
            batch.append((hash, body))
            batch_bytes += len(body)
            if batch_bytes >= _COPY_BYTES:
                self._files.move(batch)
                pause(2 * batch_bytes)
                batch, batch_bytes = [], 0
        self._files.move(batch)
        return is_whole

    def _live(self, number: int) -> Iterator[Entry]:
        entries: list[Entry] = []
        for entry in scan_headers(self._files.path_of(number), number):
            entries.append(entry)
            if len(entries) == PAGE_CHUNKS:
                yield from self._indexed(entries)
                entries = []
        yield from self._indexed(entries)

    def _indexed(self, entries: Sequence[Entry]) -> Iterator[Entry]:
        found = self._find([hash for hash, _ in entries])
        return (entry for entry in entries if found.get(entry[0]) == entry[1])
