"""Old versions, in every store: kept with what replaced them, bounded in number and age."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path

import pytest

from bellande_mesh_sync.core.data.history import OldVersion
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.errors import CorruptStoreError, DiskFullError
from bellande_mesh_sync.ids import Stamp, stamp_of
from bellande_mesh_sync.store.interface import EXPIRED_PER_BATCH, Store
from bellande_mesh_sync.store.memory import MemoryStore
from bellande_mesh_sync.store.sqlite import SqliteStore
from tests.store.builders import ALICE, BOB, SHARD, batch_of, record, tombstone

NO_LIMIT = 1 << 40


def old(replaced: Record, until: Stamp, versions: int = 3, expires_ms: int = 0) -> OldVersion:
    return OldVersion(SHARD, replaced, until, versions, expires_ms)


def replacing(new: Record, *replaced: Record, versions: int = 3, for_ms: int = 0, now_ms: int = 0) -> Batch:
    """A batch in which one record replaces others, as a core makes it."""
    plain = batch_of(new, drops=replaced)
    kept = tuple(
        old(each, new.stamp, versions, (new.stamp >> 16) + for_ms if for_ms else 0) for each in replaced
    )
    return Batch(
        plain.puts, plain.drops, plain.intervals, plain.fingerprints, history=kept, expired_ms=now_ms
    )


def commit(store: Store, *batches: Batch) -> None:
    store.apply(batches)
    store.publish(batches)


def kept(store: Store, key: str) -> list[int]:
    """Sequence numbers of a key's old versions, in their order."""
    (found,) = store.old_versions([key], NO_LIMIT)
    return [each.sequence for _, each in found]


@pytest.mark.parametrize("at_once", [True, False])
def test_the_versions_replaced_last_are_kept(store: Store, at_once: bool) -> None:
    versions = [record("fleet/a", sequence) for sequence in range(1, 8)]
    batches = [batch_of(versions[0])]
    batches += [replacing(new, before) for before, new in itertools.pairwise(versions)]
    if at_once:
        commit(store, *batches)
    else:
        for batch in batches:
            commit(store, batch)
    (found,) = store.old_versions(["fleet/a"], NO_LIMIT)
    assert found == tuple((new.stamp, before) for before, new in itertools.pairwise(versions[3:]))
    assert store.siblings(["fleet/a"]) == [(versions[-1],)]
    assert (store.counts().keys, store.counts().records) == (1, 1)


def test_old_versions_are_no_live_records(store: Store) -> None:
    one, two = record("fleet/a", 1), record("fleet/a", 2)
    commit(store, batch_of(one), replacing(two, one))
    view = store.open_changes(SHARD, ((ALICE, ((1, 9),)),))
    assert view.read_page(NO_LIMIT).records == (two,)
    view.close()
    assert store.scan("", "", 9).entries == (("fleet/a", (two,)),)


def test_they_are_there_as_soon_as_they_are_applied_and_after_opening_again(store: Store) -> None:
    one, two, grave = record("fleet/a", 1), record("fleet/a", 2), tombstone("fleet/a", 3)
    commit(store, batch_of(one))
    store.apply([replacing(two, one)])
    assert kept(store, "fleet/a") == [1]
    store.apply([replacing(grave, two)])
    store.close()
    store.open()
    assert kept(store, "fleet/a") == [1, 2]
    commit(store, replacing(record("fleet/a", 4), grave))
    (found,) = store.old_versions(["fleet/a"], NO_LIMIT)
    assert found[-1][1] == grave


def test_what_was_replaced_together_is_forgotten_together(store: Store) -> None:
    mine, yours, ours = record("fleet/a", 1), record("fleet/a", 1, BOB), record("fleet/a", 2)
    last = record("fleet/a", 3)
    commit(store, batch_of(mine), batch_of(yours), replacing(ours, mine, yours, versions=1))
    assert kept(store, "fleet/a") == [1, 1]
    commit(store, replacing(last, ours, versions=1))
    assert kept(store, "fleet/a") == [2]


def test_a_version_that_comes_late_takes_its_place_by_when_it_was_replaced(store: Store) -> None:
    versions = [record("fleet/a", sequence) for sequence in range(1, 6)]
    commit(store, batch_of(versions[4]))
    for late in (2, 0, 3, 1):
        commit(store, Batch(history=(old(versions[late], versions[late + 1].stamp, versions=2),)))
    assert kept(store, "fleet/a") == [3, 4]


def test_each_key_has_a_history_of_its_own_and_a_lower_number_counts_from_the_next_write(
    store: Store,
) -> None:
    for sequence in range(1, 11, 2):
        first, second = record("fleet/a", sequence), record("fleet/b", sequence + 1)
        commit(store, batch_of(first, second))
        later = (record("fleet/a", sequence + 100), record("fleet/b", sequence + 101))
        commit(store, replacing(later[0], first, versions=9), replacing(later[1], second, versions=9))
    assert (len(kept(store, "fleet/a")), len(kept(store, "fleet/b"))) == (5, 5)
    commit(store, replacing(record("fleet/a", 300), record("fleet/a", 109), versions=2))
    assert (len(kept(store, "fleet/a")), len(kept(store, "fleet/b"))) == (2, 5)


def test_what_has_expired_is_forgotten_however_few_there_are(store: Store) -> None:
    old_one, old_two = record("fleet/a", 1), record("fleet/b", 2)
    commit(store, batch_of(old_one, old_two))
    new_one, new_two = record("fleet/a", 1_000), record("fleet/b", 2_000)  # Stamped at 1 s and 2 s.
    commit(store, replacing(new_one, old_one, for_ms=500), replacing(new_two, old_two, for_ms=500))
    commit(store, Batch(expired_ms=1_499))
    assert (kept(store, "fleet/a"), kept(store, "fleet/b")) == ([1], [2])
    commit(store, Batch(expired_ms=1_500))
    assert (kept(store, "fleet/a"), kept(store, "fleet/b")) == ([], [2])
    store.close()
    store.open()
    commit(store, replacing(record("fleet/c", 9_000), new_one, for_ms=500, now_ms=9_000))
    assert kept(store, "fleet/b") == []
    assert store.siblings(["fleet/b"]) == [(new_two,)]


def test_a_version_without_a_limit_to_its_age_never_expires(store: Store) -> None:
    one, two = record("fleet/a", 1), record("fleet/a", 2)
    commit(store, batch_of(one), replacing(two, one), Batch(expired_ms=1 << 45))
    assert kept(store, "fleet/a") == [1]


def test_many_expired_versions_go_in_portions(store: Store) -> None:
    count = EXPIRED_PER_BATCH + 10
    dropped = [old(record(f"fleet/{n}", n), stamp_of(n), expires_ms=n) for n in range(1, count + 1)]
    commit(store, Batch(history=tuple(dropped)))
    commit(store, Batch(expired_ms=count))
    left = [n for n in range(1, count + 1) if kept(store, f"fleet/{n}")]
    assert left == list(range(EXPIRED_PER_BATCH + 1, count + 1))
    commit(store, Batch(expired_ms=count))
    assert not any(kept(store, f"fleet/{n}") for n in left)


def test_histories_are_read_in_the_order_asked_for_as_many_as_fit(store: Store) -> None:
    body = bytes(1_000)
    for number in range(1, 9):
        replaced = old(record(f"fleet/{number}", number, body=body), stamp_of(number + 100))
        commit(store, Batch(history=(replaced,)))
    keys = ["fleet/5", "fleet/none", "fleet/3", "fleet/8", "fleet/1"]
    everything = store.old_versions(keys, NO_LIMIT)
    assert [[each.key for _, each in found] for found in everything] == [
        ["fleet/5"],
        [],
        ["fleet/3"],
        ["fleet/8"],
        ["fleet/1"],
    ]
    assert store.old_versions(keys, 2_900) == everything[:3]
    assert store.old_versions(keys, 1) == everything[: len(store.old_versions(keys, 1))]
    assert 1 <= len(store.old_versions(keys, 1)) <= 2
    assert store.old_versions([], NO_LIMIT) == []


def test_keys_are_listed_with_those_that_are_deleted(store: Store) -> None:
    commit(store, batch_of(record("a", 1), tombstone("b", 2), record("c", 3), record("d", 4)))
    assert store.scan_keys("", "", 3) == ["a", "b", "c"]
    assert store.scan_keys("", "c", 3) == ["d"]
    assert store.scan_keys("b", "", 3) == ["b"]


def test_keys_that_have_nothing_but_history_are_listed_too(store: Store) -> None:
    first, gone = record("a", 1), tombstone("b", 2)
    commit(store, batch_of(first, gone, record("d", 4)))
    commit(store, Batch(drops=((SHARD, "b", gone.dot),), history=(old(gone, stamp_of(9)),)))
    commit(store, Batch(history=(old(record("c", 3), stamp_of(9)), old(record("a", 5), stamp_of(9)))))
    assert store.scan_keys("", "", 9) == ["a", "b", "c", "d"]
    assert store.scan_keys("", "a", 2) == ["b", "c"]
    assert store.scan_keys("c", "", 9) == ["c"]
    assert store.deleted_keys("", 9) == []


def test_a_batch_that_the_disk_refuses_leaves_the_history_as_it_was(
    sqlite_store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What replaces and what is replaced are one transaction."""
    store = sqlite_store
    one, two = record("fleet/a", 1), record("fleet/a", 2)
    commit(store, batch_of(one))

    def full(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("bellande_mesh_sync.store.sqlite_changes.Changes._write_intervals", full)
        with pytest.raises(DiskFullError):
            store.apply([replacing(two, one)])
    assert kept(store, "fleet/a") == []
    assert store.siblings(["fleet/a"]) == [(one,)]
    commit(store, replacing(two, one))
    assert kept(store, "fleet/a") == [1]


def test_a_database_of_before_there_was_a_history_gets_one(sqlite_store: SqliteStore, tmp_path: Path) -> None:
    one, two = record("fleet/a", 1), record("fleet/a", 2)
    commit(sqlite_store, batch_of(one))
    sqlite_store.close()
    with sqlite3.connect(tmp_path / "data" / "records.db") as connection:
        connection.execute("DROP TABLE history")
    sqlite_store.open()
    commit(sqlite_store, replacing(two, one))
    assert kept(sqlite_store, "fleet/a") == [1]


def test_a_flipped_bit_in_an_old_version_is_an_error_and_no_value(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    one, two = record("fleet/a", 1), record("fleet/a", 2)
    commit(sqlite_store, batch_of(one), replacing(two, one))
    sqlite_store.close()
    with sqlite3.connect(tmp_path / "data" / "records.db") as connection:
        connection.execute("UPDATE history SET crc = crc + 1")
    sqlite_store.open()
    with pytest.raises(CorruptStoreError):
        sqlite_store.old_versions(["fleet/a"], NO_LIMIT)
    assert sqlite_store.siblings(["fleet/a"]) == [(two,)]


def test_what_memory_remembers_of_expiry_does_not_outgrow_what_it_keeps() -> None:
    store = MemoryStore(new_epoch=lambda: b"epoch-01")
    store.open()
    before = record("fleet/a", 1)
    commit(store, batch_of(before))
    for sequence in range(2, 2_000):
        new = record("fleet/a", sequence)
        commit(store, replacing(new, before, for_ms=1 << 40))
        before = new
    assert len(store._history._due) < 100
    assert len(kept(store, "fleet/a")) == 3
