"""Flipped bits in a database: found, named, never handed out, set aside; and what is known is unlearned."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bellande_mesh_sync.core.data.record import fingerprint_of
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.core.events import DamageFound
from bellande_mesh_sync.core.reader import DamagedRecord
from bellande_mesh_sync.errors import CorruptStoreError
from bellande_mesh_sync.store import sqlite_schema
from bellande_mesh_sync.store.sqlite import SqliteStore
from bellande_mesh_sync.store.sqlite_examining import ROWS_PER_STEP, SqliteExaminer
from tests.store.builders import ALICE, BOB, SHARD, Writing, batch_of, chunk, record, tombstone

Reopen = Callable[[], SqliteStore]
GOOD, BAD = record("fleet/good", 1), record("fleet/bad", 2, body=b"precious-content")
DAMAGED = DamagedRecord(SHARD, BAD.dot, "fleet/bad")
BOTH = ((ALICE, ((1, 2),)),)


@pytest.fixture
def make(tmp_path: Path, epochs: Callable[[], bytes]) -> Iterator[Reopen]:
    """Opens stores on the same folders; all are closed at the end."""
    made: list[SqliteStore] = []

    def make_one() -> SqliteStore:
        made.append(SqliteStore(tmp_path / "data", tmp_path / "chunks", new_epoch=epochs))
        made[-1].open()
        return made[-1]

    yield make_one
    for store in made:
        store.close()


def database(tmp_path: Path) -> Path:
    return tmp_path / "data" / "records.db"


def flip(path: Path, near: bytes) -> None:
    raw = bytearray(path.read_bytes())
    raw[raw.index(near)] ^= 4
    path.write_bytes(raw)


def damaged_store(tmp_path: Path, make: Reopen) -> tuple[SqliteStore, list[DamageFound]]:
    """One good record and one damaged one, in a store that is open, and what it tells."""
    store = make()
    store.apply([Writing().batch([GOOD, BAD])])
    store.close()
    flip(database(tmp_path), b"precious-content")
    again = make()
    told: list[DamageFound] = []
    again.listen(told.append)
    return again, told


def test_a_damaged_record_is_never_handed_out_and_told_once(tmp_path: Path, make: Reopen) -> None:
    store, told = damaged_store(tmp_path, make)
    assert store.siblings(["fleet/good"]) == [(GOOD,)]
    assert told == []
    for _ in range(2):
        assert store.siblings(["fleet/good", "fleet/bad"]) == [(GOOD,), ()]
    assert store.siblings(["fleet/bad"]) == [()]
    assert told == [DamageFound(records=(DAMAGED,))]
    assert [store.is_damaged(key) for key in ("fleet/good", "fleet/bad")] == [False, True]
    assert store.scan("", "", 10).entries == (("fleet/good", (GOOD,)),)


def test_a_peer_is_given_no_page_with_a_damaged_record(tmp_path: Path, make: Reopen) -> None:
    store, told = damaged_store(tmp_path, make)
    view = store.open_changes(SHARD, BOTH)
    with pytest.raises(CorruptStoreError):
        view.read_page(1 << 20)
    view.close()
    assert told == [DamageFound(records=(DAMAGED,))]


@pytest.mark.parametrize("change", ["body = NULL", "crc = NULL", "crc = 'x'", "kind = 7", "body = 'text'"])
def test_whatever_a_row_has_become_it_is_passed_over_by_nobody(
    tmp_path: Path, make: Reopen, change: str
) -> None:
    make().apply([Writing().batch([GOOD, BAD])])
    connection = sqlite3.connect(database(tmp_path))
    connection.execute("PRAGMA ignore_check_constraints = on")
    schema = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'records'").fetchone()[0]
    connection.executescript(
        f"ALTER TABLE records RENAME TO old; {schema.replace(' NOT NULL', '')};"
        f"INSERT INTO records SELECT * FROM old; DROP TABLE old; UPDATE records SET {change} WHERE id & 7 = 2"
    )
    connection.close()
    store = make()
    examiner = store.examine(SHARD)
    found = examiner.run()
    examiner.close()
    assert [each.dot for each in found.damaged] == [BAD.dot]
    assert store.siblings(["fleet/good"]) == [(GOOD,)]
    if not change.startswith("kind"):  # What a row says beside its body, a page of records does not carry.
        assert store.siblings(["fleet/bad"]) == [()]
        view = store.open_changes(SHARD, BOTH)
        with pytest.raises(CorruptStoreError):
            view.read_page(1 << 20)
        view.close()


def test_a_record_filed_under_another_key_is_damaged(tmp_path: Path, make: Reopen) -> None:
    make().apply([Writing().batch([GOOD])])
    connection = sqlite3.connect(database(tmp_path))
    connection.execute("UPDATE records SET key = 'fleet/other'")
    connection.commit()
    connection.close()
    store = make()
    assert store.siblings(["fleet/other"]) == [()]
    assert store.is_damaged("fleet/other")
    examiner = store.examine(SHARD)
    assert [each.dot for each in examiner.run().damaged] == [GOOD.dot]
    examiner.close()


def test_an_examination_tells_what_is_there_and_what_is_said_to_be(tmp_path: Path, make: Reopen) -> None:
    store, _ = damaged_store(tmp_path, make)
    examiner = store.examine(SHARD)
    found = examiner.run()
    examiner.close()
    assert not found.is_clean
    assert found.damaged == (DAMAGED,)
    assert found.unclaimed == ()
    assert found.unproven == ((ALICE, ((2, 2),)),)
    assert found.fingerprint == fingerprint_of(GOOD)
    assert found.fingerprint_stored == (fingerprint_of(GOOD) + fingerprint_of(BAD)) % (1 << 256)
    assert found.record_count == 2


def test_a_sound_store_is_found_sound_in_steps_that_can_be_given_up(make: Reopen) -> None:
    store, writing = make(), Writing()
    old = record("fleet/k", 1)
    store.apply([writing.batch([old])])
    count = 3 * ROWS_PER_STEP
    records = [record(f"fleet/{number}", number) for number in range(2, count)]
    store.apply([writing.batch([*records, tombstone("fleet/k", 1, BOB)], [old])])
    steps: list[int] = []
    examiner = store.examine(SHARD, deep=True)
    found = examiner.run(steps.append)
    assert found.is_clean
    assert found.record_count == count - 1
    assert sum(steps) == found.size_bytes > 0
    assert len(steps) == 4
    examiner.close()
    assert store.check_pages() == ""

    def give_up(size_bytes: int) -> None:
        raise CorruptStoreError(path="x", reason="given up")

    examiner = store.examine(SHARD)
    with pytest.raises(CorruptStoreError, match="given up"):
        examiner.run(give_up)
    examiner.close()


def test_what_is_set_aside_is_out_of_its_place_kept_for_a_person_and_remembered(
    tmp_path: Path, make: Reopen
) -> None:
    store, _ = damaged_store(tmp_path, make)
    store.siblings(["fleet/bad"])
    amount = -fingerprint_of(BAD) % (1 << 256)
    mend = Batch(
        set_aside=(DAMAGED,), relearned=((SHARD, ALICE, ((1, 1),)),), fingerprints=((SHARD, amount),)
    )
    store.apply([mend])
    store.publish([mend])
    assert not store.is_damaged("fleet/bad")
    assert store.counts().keys == 1
    (kept,) = (tmp_path / "data" / "damaged").iterdir()
    assert kept.name == f"record-{BAD.version}.bin"
    assert b"recious-content" in kept.read_bytes()
    store.close()
    again = make()
    state = again.open()
    assert state.damaged == (DAMAGED,)
    assert state.shards[0].knowledge == ((ALICE, ((1, 1),)),)
    examiner = again.examine(SHARD)
    assert examiner.run().is_clean
    examiner.close()
    view = again.open_changes(SHARD, BOTH)
    assert view.read_page(1 << 20).records == (GOOD,)
    view.close()


def test_in_one_group_it_is_set_aside_and_has_come_back(tmp_path: Path, make: Reopen) -> None:
    store, _ = damaged_store(tmp_path, make)
    writing = Writing()
    writing.knowledge.add(ALICE, 1, 1)
    amount = -fingerprint_of(BAD) % (1 << 256)
    mend = Batch(
        set_aside=(DAMAGED,), relearned=((SHARD, ALICE, ((1, 1),)),), fingerprints=((SHARD, amount),)
    )
    back = writing.batch([BAD])
    batches = [mend, Batch(back.puts, (), back.intervals, back.fingerprints, healed=((SHARD, BAD.dot),))]
    store.apply(batches)
    store.publish(batches)
    assert store.siblings(["fleet/bad"]) == [(BAD,)]
    store.close()
    again = make()
    state = again.open()
    assert state.damaged == ()
    assert state.shards[0].knowledge == BOTH
    assert again.siblings(["fleet/good", "fleet/bad"]) == [(GOOD,), (BAD,)]


def test_a_damaged_record_can_be_replaced(tmp_path: Path, make: Reopen) -> None:
    store, _ = damaged_store(tmp_path, make)
    newer = record("fleet/bad", 3)
    batch = batch_of(newer, drops=(BAD,))
    store.apply([batch])
    store.publish([batch])
    assert store.siblings(["fleet/bad"]) == [(newer,)]
    assert not store.is_damaged("fleet/bad")


def test_a_damaged_chunk_is_told_once_and_kept_for_a_person(tmp_path: Path, make: Reopen) -> None:
    store = make()
    told: list[DamageFound] = []
    store.listen(told.append)
    hash, body = chunk(b"one" * 1000)
    store.add_chunks([(hash, body)])
    store.apply([])
    flip(tmp_path / "chunks" / "pack-000001.bms", b"oneone")
    for _ in range(2):
        with pytest.raises(CorruptStoreError):
            store.read_chunk(hash)
    ((ref,),) = [found.chunks for found in told]
    assert (ref.hash, ref.size) == (hash, len(body))
    (kept,) = (tmp_path / "data" / "damaged").iterdir()
    assert kept.name == f"chunk-{hash.hex()}.bin"
    assert len(kept.read_bytes()) == len(body)


def test_any_flipped_bit_of_any_row_is_found(tmp_path: Path, make: Reopen) -> None:
    store, writing = make(), Writing()
    rows = [record(f"fleet/key-{number}", number, body=b"%03d" % number * 8) for number in range(1, 30)]
    rows += [tombstone(f"fleet/gone-{number}", number, BOB) for number in range(1, 5)]
    store.apply([writing.batch(rows)])
    store.close()
    clean = database(tmp_path).read_bytes()
    places = [place for row in rows for place in _places(clean, row.key.encode())]
    rng = random.Random(1)
    copy = tmp_path / "copy.db"
    unseen: list[tuple[int, int]] = []
    for place in rng.sample(places, 700):
        raw = bytearray(clean)
        raw[place] ^= 1 << rng.randrange(8)
        copy.write_bytes(raw)
        if not _is_found(copy):
            unseen.append((place, raw[place] ^ clean[place]))
    assert unseen == []
    shutil.copy(database(tmp_path), copy)
    assert not _is_found(copy)


def _places(raw: bytes, key: bytes) -> range:
    """The bytes of the row of this key: its head, its columns, its body, in which the key stands again."""
    first = raw.index(key)
    second = raw.index(key, first + len(key))
    return range(first - 8, second + len(key) + 30)


def _is_found(path: Path) -> bool:
    try:
        connection = sqlite_schema.connect_reader(path, 1_024)
        try:
            sqlite_schema.quick_check(connection, path)
        finally:
            connection.close()
        examiner = SqliteExaminer(path, SHARD, lambda closed: None, is_deep=True)
        try:
            return not examiner.run().is_clean
        finally:
            examiner.close()
    except (CorruptStoreError, sqlite3.Error):
        return True
