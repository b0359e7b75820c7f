"""Sweeping: what nothing refers to goes, in every store; what anybody could still need stays."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from bellande_mesh_sync.core.data.history import OldVersion
from bellande_mesh_sync.core.data.record import ChunkRef, Manifest, Record
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.errors import ChunkMissingError, CorruptStoreError, DiskFullError, StorageError
from bellande_mesh_sync.ids import Stamp
from bellande_mesh_sync.store.interface import Store
from bellande_mesh_sync.store.manifests import encode_index_chunk, read_value
from bellande_mesh_sync.store.sqlite import SqliteStore
from bellande_mesh_sync.store.sweeping import Swept, sweep
from tests.store.builders import SHARD, batch_of, chunk, record

Epochs = Callable[[], bytes]


def large(key: str, sequence: int, bodies: list[bytes]) -> tuple[Record, list[tuple[bytes, bytes]]]:
    """A record of a value in these chunks, and the chunks."""
    chunks = [chunk(body) for body in bodies]
    manifest = Manifest(1, tuple(ChunkRef(hash, len(body)) for hash, body in chunks))
    plain = record(key, sequence, body=b"".join(bodies))
    return Record(
        plain.key, plain.author, plain.sequence, plain.stamp, plain.kind, plain.size, plain.digest,
        plain.content_type, plain.context, None, manifest,
    ), chunks  # fmt: skip


def swept(store: Store, *under_way: Manifest, grace_ns: int = 0, now_ns: int = 1, turn: int = 0) -> Swept:
    store.condemned.begin(now_ns)
    return sweep(store, under_way, turn=turn, grace_ns=grace_ns, pause=lambda size_bytes: None)


def swept_away(store: Store, *under_way: Manifest) -> Swept:
    """Two sweeps: what the first condemns goes with the second."""
    swept(store, *under_way)
    return swept(store, *under_way)


def put(store: Store, *writes: tuple[Record, list[tuple[bytes, bytes]]]) -> None:
    for _, chunks in writes:
        store.add_chunks(chunks)
    batch = batch_of(*(each for each, _ in writes))
    store.apply([batch])
    store.publish([batch])


def drop(store: Store, *records: Record, history: tuple[OldVersion, ...] = ()) -> None:
    batch = batch_of(drops=records)
    batch = Batch(drops=batch.drops, fingerprints=batch.fingerprints, history=history)
    store.apply([batch])
    store.publish([batch])


def is_here(store: Store, chunks: list[tuple[bytes, bytes]]) -> list[bool]:
    return store.has_chunks([hash for hash, _ in chunks])


def test_what_nothing_refers_to_goes_with_the_second_sweep(store: Store) -> None:
    kept, kept_chunks = large("fleet/kept", 1, [os.urandom(20_000)])
    old, old_chunks = large("fleet/old", 2, [os.urandom(30_000), os.urandom(30_000)])
    put(store, (kept, kept_chunks), (old, old_chunks))
    drop(store, old)
    first = swept(store)
    assert (first.chunks, first.dropped) == (3, 0)
    assert store.condemned.count == 2
    second = swept(store, turn=1)
    assert (second.dropped, second.dropped_bytes) == (2, 60_000)
    assert is_here(store, kept_chunks) == [True]
    assert is_here(store, old_chunks) == [False, False]
    with pytest.raises(ChunkMissingError):
        store.read_chunk(old_chunks[0][0])
    assert store.read_chunk(kept_chunks[0][0]) == kept_chunks[0][1]
    assert store.counts().chunk_bytes < 25_000


def test_the_grace_time_is_kept(store: Store) -> None:
    old, chunks = large("fleet/old", 1, [os.urandom(20_000)])
    put(store, (old, chunks))
    drop(store, old)
    assert swept(store, now_ns=100, grace_ns=50).dropped == 0
    assert swept(store, now_ns=149, grace_ns=50).dropped == 0
    assert swept(store, now_ns=150, grace_ns=50).dropped == 1


def test_old_versions_keep_their_chunks_and_those_forgotten_do_not(store: Store) -> None:
    old, chunks = large("fleet/plan", 1, [os.urandom(20_000)])
    put(store, (old, chunks))
    drop(store, old, history=(OldVersion(SHARD, old, Stamp(9), 3, 5_000),))
    assert swept_away(store).dropped == 0
    assert is_here(store, chunks) == [True]
    store.apply([Batch(expired_ms=6_000)])
    assert swept_away(store).dropped == 1


def test_an_index_chunk_and_what_it_lists_are_referred_to(store: Store) -> None:
    leaves = [chunk(os.urandom(20_000)) for _ in range(3)]
    index = chunk(encode_index_chunk([ChunkRef(hash, len(body)) for hash, body in leaves]))
    plain, _ = large("fleet/huge", 1, [])
    held = Record(
        plain.key, plain.author, plain.sequence, plain.stamp, plain.kind, 60_000, plain.digest,
        plain.content_type, plain.context, None, Manifest(2, (ChunkRef(index[0], len(index[1])),)),
    )  # fmt: skip
    put(store, (held, [index, *leaves]))
    assert swept_away(store).dropped == 0
    drop(store, held)
    assert swept_away(store).dropped == 4


def test_a_chunk_that_two_values_share_stays_for_the_second(store: Store) -> None:
    shared = os.urandom(20_000)
    one, one_chunks = large("fleet/one", 1, [shared, os.urandom(20_000)])
    two, two_chunks = large("fleet/two", 2, [shared])
    put(store, (one, one_chunks), (two, two_chunks))
    drop(store, one)
    assert swept_away(store).dropped == 1
    assert is_here(store, two_chunks) == [True]


def test_asking_for_a_chunk_pardons_it(store: Store) -> None:
    old, chunks = large("fleet/old", 1, [os.urandom(20_000) for _ in range(4)])
    put(store, (old, chunks))
    drop(store, old)
    swept(store)
    store.has_chunks([chunks[0][0]])
    store.read_chunk(chunks[1][0])
    store.add_chunks([chunks[2]])
    assert swept(store).dropped == 1
    assert is_here(store, chunks) == [True, True, True, False]


def test_a_write_that_takes_long_keeps_what_it_found_here(store: Store) -> None:
    old, chunks = large("fleet/old", 1, [os.urandom(20_000)])
    put(store, (old, chunks))
    drop(store, old)
    with store.condemned.hold():
        assert is_here(store, chunks) == [True]  # So it is not written again.
        for _ in range(3):
            assert swept(store).dropped == 0
        again, _ = large("fleet/again", 2, [body for _, body in chunks])
        put(store, (again, []))
    for _ in range(3):
        assert swept(store).dropped == 0
    assert b"".join(read_value(store, again.manifest or Manifest(1, ()))) == chunks[0][1]


def test_a_reader_in_the_middle_of_a_value_is_not_cut_off(store: Store) -> None:
    old, chunks = large("fleet/old", 1, [os.urandom(20_000), os.urandom(20_000)])
    put(store, (old, chunks))
    assert old.manifest is not None
    with store.condemned.hold():
        pieces = read_value(store, old.manifest)
        assert next(pieces) == chunks[0][1]
        drop(store, old)
        for _ in range(3):
            swept(store)
        assert next(pieces) == chunks[1][1]
    swept_away(store)
    assert is_here(store, chunks) == [False, False]


def test_what_is_on_its_way_in_is_referred_to(store: Store) -> None:
    coming, chunks = large("fleet/coming", 1, [os.urandom(20_000)])
    store.add_chunks(chunks)
    store.apply([])
    assert coming.manifest is not None
    assert swept_away(store, coming.manifest).dropped == 0
    assert swept_away(store).dropped == 1


def test_a_chunk_that_was_swept_can_be_added_again(store: Store) -> None:
    body = os.urandom(20_000)
    old, chunks = large("fleet/old", 1, [body])
    put(store, (old, chunks))
    drop(store, old)
    swept_away(store)
    again, _ = large("fleet/old", 2, [body])
    put(store, (again, chunks))
    assert store.read_chunk(chunks[0][0]) == body
    assert swept_away(store).dropped == 0


def test_a_sweep_that_is_stopped_has_dropped_nothing_it_should_not(store: Store) -> None:
    old, chunks = large("fleet/old", 1, [os.urandom(20_000)])
    put(store, (old, chunks))
    store.condemned.begin(1)

    def stop(size_bytes: int) -> None:
        raise StorageError(reason="stopped")

    with pytest.raises(StorageError, match="stopped"):
        sweep(store, (), turn=0, grace_ns=0, pause=stop)
    assert is_here(store, chunks) == [True]


# -- on a disk


def reopened(tmp_path: Path, epochs: Epochs) -> SqliteStore:
    store = SqliteStore(tmp_path / "data", tmp_path / "chunks", new_epoch=epochs)
    store.open()
    return store


def test_packs_give_their_room_back_and_what_lives_in_them_moves(
    sqlite_store: SqliteStore, tmp_path: Path, epochs: Epochs
) -> None:
    kept, kept_chunks = large("fleet/kept", 1, [os.urandom(400_000)])
    old, old_chunks = large("fleet/old", 2, [os.urandom(400_000) for _ in range(9)])
    put(sqlite_store, (kept, kept_chunks), (old, old_chunks))
    drop(sqlite_store, old)
    swept(sqlite_store)
    assert swept(sqlite_store, turn=1).disk_bytes > 3_000_000
    assert [path.name for path in sorted((tmp_path / "chunks").iterdir())] == ["pack-000002.bms"]
    assert sqlite_store.read_chunk(kept_chunks[0][0]) == kept_chunks[0][1]
    sqlite_store.close()
    again = reopened(tmp_path, epochs)
    assert again.read_chunk(kept_chunks[0][0]) == kept_chunks[0][1]
    assert sum(path.stat().st_size for path in (tmp_path / "chunks").iterdir()) < 450_000
    again.close()


def test_a_store_without_anything_alive_starts_again(
    sqlite_store: SqliteStore, tmp_path: Path, epochs: Epochs
) -> None:
    old, chunks = large("fleet/old", 1, [os.urandom(50_000)])
    put(sqlite_store, (old, chunks))
    drop(sqlite_store, old)
    swept_away(sqlite_store)
    assert sqlite_store.counts().chunk_bytes == 0
    sqlite_store.close()
    again = reopened(tmp_path, epochs)
    new, new_chunks = large("fleet/new", 3, [os.urandom(50_000)])
    put(again, (new, new_chunks))
    assert again.read_chunk(new_chunks[0][0]) == new_chunks[0][1]
    again.close()


def test_a_list_of_chunks_that_cannot_be_read_holds_the_sweep_up(sqlite_store: SqliteStore) -> None:
    plain, _ = large("fleet/huge", 1, [])
    lost = Record(
        plain.key, plain.author, plain.sequence, plain.stamp, plain.kind, 60_000, plain.digest,
        plain.content_type, plain.context, None, Manifest(2, (ChunkRef(b"x" * 32, 100),)),
    )  # fmt: skip
    old, chunks = large("fleet/old", 2, [os.urandom(20_000)])
    put(sqlite_store, (lost, []), (old, chunks))
    drop(sqlite_store, old)
    for _ in range(3):
        with pytest.raises(CorruptStoreError, match="nothing is swept until it is back"):
            swept(sqlite_store)
    assert is_here(sqlite_store, chunks) == [True]


def test_a_reader_finds_a_chunk_whose_pack_is_rewritten_while_it_reads(
    sqlite_store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, kept_chunks = large("fleet/kept", 1, [os.urandom(20_000)])
    old, old_chunks = large("fleet/old", 2, [os.urandom(100_000)])
    put(sqlite_store, (kept, kept_chunks), (old, old_chunks))
    drop(sqlite_store, old)
    swept(sqlite_store)
    chunks = sqlite_store._chunks
    locate = chunks._locate

    def then_sweep(hashes: list[bytes]) -> object:
        found = locate(hashes)
        monkeypatch.setattr(chunks, "_locate", locate)
        assert swept(sqlite_store, turn=1).dropped == 1
        return found

    monkeypatch.setattr(chunks, "_locate", then_sweep)
    assert sqlite_store.read_chunk(kept_chunks[0][0]) == kept_chunks[0][1]


def test_a_disk_that_fills_up_in_the_middle_loses_nothing(
    sqlite_store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, kept_chunks = large("fleet/kept", 1, [os.urandom(20_000) for _ in range(3)])
    old, old_chunks = large("fleet/old", 2, [os.urandom(100_000)])
    put(sqlite_store, (kept, kept_chunks), (old, old_chunks))
    drop(sqlite_store, old)
    swept(sqlite_store)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwritev", full)
        with pytest.raises(DiskFullError):
            swept(sqlite_store, turn=1)
    assert all(sqlite_store.read_chunk(hash) == body for hash, body in kept_chunks)
    assert is_here(sqlite_store, old_chunks) == [False]
    swept(sqlite_store, turn=2)
    assert all(sqlite_store.read_chunk(hash) == body for hash, body in kept_chunks)
    assert sum(path.stat().st_size for path in (tmp_path / "chunks").iterdir()) < 62_000


def test_an_index_that_refuses_to_be_changed_drops_nothing(
    sqlite_store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, chunks = large("fleet/old", 1, [os.urandom(20_000)])
    put(sqlite_store, (old, chunks))
    drop(sqlite_store, old)
    swept(sqlite_store)

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr("bellande_mesh_sync.store.sqlite.rewrite_chunks", refuse)
        with pytest.raises(StorageError):
            swept(sqlite_store, turn=1)
    assert is_here(sqlite_store, chunks) == [True]
    assert sqlite_store.read_chunk(chunks[0][0]) == chunks[0][1]


def test_a_damaged_chunk_is_left_where_it_is_until_another_copy_came(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    kept, kept_chunks = large("fleet/kept", 1, [os.urandom(20_000), os.urandom(20_000)])
    old, old_chunks = large("fleet/old", 2, [os.urandom(100_000)])
    put(sqlite_store, (kept, kept_chunks), (old, old_chunks))
    pack = tmp_path / "chunks" / "pack-000001.bms"
    raw = bytearray(pack.read_bytes())
    raw[raw.index(kept_chunks[0][1])] ^= 1
    pack.write_bytes(raw)
    drop(sqlite_store, old)
    swept(sqlite_store)
    assert swept(sqlite_store, turn=1).disk_bytes == 0
    assert sqlite_store.read_chunk(kept_chunks[1][0]) == kept_chunks[1][1]
    sqlite_store.add_chunks([kept_chunks[0]])
    sqlite_store.apply([])
    assert swept(sqlite_store, turn=2).disk_bytes > 0
    assert not pack.exists()
    assert all(sqlite_store.read_chunk(hash) == body for hash, body in kept_chunks)
