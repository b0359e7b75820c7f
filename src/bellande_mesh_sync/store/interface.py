"""What every store offers. One suite in tests/store holds all of them to it.

Threads: `open`, `apply`, `sync`, `read_page` and the chunk calls are made from worker threads (one
at a time each for `apply`); `publish`, `siblings`, the scans and the counts from the thread that runs
the core. `apply` makes a batch durable; `publish` then makes it visible to `siblings` and the scans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

from msgspec import Struct

from bellande_mesh_sync.core.data.examination import Examination
from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.data.record import ChunkRef, Manifest, Record
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.core.events import DamageFound
from bellande_mesh_sync.core.reader import StoredState
from bellande_mesh_sync.ids import Shard, Stamp
from bellande_mesh_sync.store.condemned import Condemned
from bellande_mesh_sync.store.packs import Entry

OldVersions: TypeAlias = tuple[tuple[Stamp, Record], ...]
"""Replaced versions of one key, each with the stamp of what replaced it, in the order of these."""

EXPIRED_PER_BATCH: Final = 5_000
"""Old versions that `Batch.expired_ms` forgets at most, so that no commit waits long for it."""


class Page(Struct, frozen=True, gc=False):
    records: tuple[Record, ...]
    size_bytes: int
    is_last: bool


class ScanPage(Struct, frozen=True, gc=False):
    """Keys in order with all their siblings; `cursor` is the last key, "" at the end."""

    entries: tuple[tuple[str, tuple[Record, ...]], ...]
    cursor: str
    damaged: tuple[str, ...] = ()
    """Keys of this page of which a record was found damaged; what else there is of them is in `entries`."""


class StoreCounts(Struct, frozen=True, gc=False):
    keys: int
    """Keys with at least one live record, tombstones among them."""
    records: int
    disk_bytes: int
    chunk_bytes: int = 0
    """What of `disk_bytes` is in chunks, those that nothing refers to among them."""
    deleted: int = 0
    """Keys with nothing but tombstones."""


class ChangesView(Protocol):
    """A point-in-time view of the live records among some dots; later commits do not touch it."""

    def knowledge(self) -> Delta:
        """The shard's knowledge at the very moment of the view (read in the same transaction)."""
        ...

    def read_page(self, size_bytes_max: int) -> Page:
        """The next records, per author in order of sequence; at least one unless at the end."""
        ...

    def close(self) -> None: ...


class Examiner(Protocol):
    """One reading of all records of a shard, for a worker thread."""

    def run(self, pause: Callable[[int], None] = ...) -> Examination:
        """Read every record, as of one moment; `pause` gets the bytes of each step, and may raise.

        Raises CorruptStoreError if a part of the store cannot be read at all, StorageError.
        """
        ...

    def large_values(self) -> Iterator[tuple[str, Manifest]]:
        """After `run`: the keys and manifests of the sound records that have chunks."""
        ...

    def close(self) -> None: ...


class Store(Protocol):
    """Records, knowledge, members and chunks of one node."""

    def open(self) -> StoredState:
        """Read what a core starts from, ready for everything else. Raises CorruptStoreError, StorageError."""
        ...

    def close(self) -> None: ...

    # -- records

    def apply(self, batches: Sequence[Batch]) -> None:
        """Make batches durable, all of them or none: records, knowledge, fingerprints, members, and the
        chunks stored so far. Raises DiskFullError, StorageError, CorruptStoreError; then nothing changed.

        Cost: one sync, however many batches.
        """
        ...

    def publish(self, batches: Sequence[Batch]) -> None:
        """Make applied batches visible to `siblings` and `scan`."""
        ...

    def siblings(self, keys: Sequence[str]) -> list[tuple[Record, ...]]:
        """As `RecordReader.siblings`."""
        ...

    def deleted_keys(self, after: str, limit: int) -> Sequence[str]:
        """As `RecordReader.deleted_keys`."""
        ...

    def is_damaged(self, key: str) -> bool:
        """As `RecordReader.is_damaged`."""
        ...

    def scan(self, prefix: str, after: str, limit: int) -> ScanPage:
        """Up to `limit` keys that start with `prefix`, above `after`, in code-point order, with their
        live records. Keys whose only records are tombstones are left out."""
        ...

    def scan_conflicts(self, prefix: str, after: str, limit: int) -> ScanPage:
        """As `scan`, of the keys in conflict. Cost: O(found), however many other keys there are."""
        ...

    def scan_keys(self, prefix: str, after: str, limit: int) -> list[str]:
        """As `scan`, the keys alone, and with those that have nothing but tombstones, or old versions."""
        ...

    def old_versions(self, keys: Sequence[str], size_bytes_max: int) -> list[OldVersions]:
        """The history of the first of these keys: of as many as have no more than this many bytes
        together, and of one at least. From any thread; what is applied counts. A key whose live version
        is read first has no gap between the two. Raises CorruptStoreError, StorageError."""
        ...

    def counts(self) -> StoreCounts: ...

    def conflict_counts(self) -> Mapping[str, int]:
        """How many keys are in conflict in each space that has any. Good until the next `publish`."""
        ...

    def fingerprints(self) -> dict[Shard, int]:
        """The committed fingerprint of each shard."""
        ...

    def open_changes(self, shard: Shard, dots: Delta) -> ChangesView: ...

    # -- damage

    def listen(self, on_damage: Callable[[DamageFound], None]) -> None:
        """From now on tell this what is found damaged; from any thread."""
        ...

    def examine(self, shard: Shard, *, deep: bool = False) -> Examiner:
        """Get ready to read all of a shard; `deep`: hash the values in its records as well."""
        ...

    def check_pages(self) -> str:
        """What is wrong with the files as such, "" if nothing. Cost: reads all pages of records."""
        ...

    # -- chunks

    def add_chunks(self, chunks: Sequence[tuple[bytes, bytes | memoryview]]) -> None:
        """Append chunks (hash, bytes) that are not here yet; the caller has checked the hashes.

        They can be read at once and are durable after the next `apply` (which may be of no batches).
        """
        ...

    def has_chunks(self, hashes: Sequence[bytes]) -> list[bool]: ...

    def read_chunk(self, hash: bytes) -> bytes:
        """A chunk's bytes, verified against its hash. Raises ChunkMissingError, CorruptStoreError."""
        ...

    def missing_chunks(self, manifest: Manifest) -> tuple[tuple[ChunkRef, ...], bool]:
        """What FindMissing asks for: (missing chunks, whether they are index chunks)."""
        ...

    def value_chunks(self, manifest: Manifest) -> Iterator[ChunkRef]:
        """The value's own chunks in order, index chunks resolved."""
        ...

    # -- sweeping

    @property
    def condemned(self) -> Condemned:
        """Which chunks may go soon. Reading, adding and asking for a chunk touch it."""
        ...

    def manifests(self, pause: Callable[[int], None]) -> Iterator[Manifest]:
        """What refers to chunks: of all live and all replaced records, as of one moment. For a worker
        thread; `pause` gets the bytes of each step, and may raise.

        Raises CorruptStoreError if a record cannot be read, for then nobody knows; StorageError.
        """
        ...

    def chunk_pages(self) -> Iterator[Sequence[Entry]]:
        """All chunks that are durable, index chunks too, with their places, some thousand at a time."""
        ...

    def drop_chunks(self, entries: Sequence[Entry]) -> int:
        """Take away those of these chunks that are condemned still, durably; how many bytes that was.

        Raises DiskFullError, StorageError: they are all there then.
        """
        ...

    def compact_chunks(self, pause: Callable[[int], None]) -> int:
        """Give the disk back what was dropped; how many bytes it has more.

        Raises DiskFullError, StorageError: what was done so far stays done, and nothing is lost.
        """
        ...
