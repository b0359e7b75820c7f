"""Salvage: of a database that is broken in any place, what is sound is in the new one, and nothing else."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from bellande_mesh_sync.core.data.record import Record, fingerprint_of
from bellande_mesh_sync.errors import CorruptStoreError, NotFoundError
from bellande_mesh_sync.sim.statements import state
from bellande_mesh_sync.store.salvage import salvage
from bellande_mesh_sync.store.sqlite import SqliteStore
from bellande_mesh_sync.store.sqlite_rows import insert_rows, record_row
from tests.store.builders import ALICE, BOB, SHARD, Writing, chunk, member, record

Epochs = Callable[[], bytes]
PAGE_BYTES = 16_384


def database(tmp_path: Path) -> Path:
    return tmp_path / "data" / "records.db"


def store_in(tmp_path: Path, epochs: Epochs) -> SqliteStore:
    return SqliteStore(tmp_path / "data", tmp_path / "chunks", new_epoch=epochs)


SAID = state("revocation", bytes(32), b"body", 1)


def filled(tmp_path: Path, epochs: Epochs, count: int = 400) -> list[Record]:
    """Live records of two authors, some of them with gaps of replaced ones between, a chunk and a member."""
    store, writing = store_in(tmp_path, epochs), Writing()
    store.open()
    old = [record(f"fleet/{number}", number, body=b"old") for number in range(1, 50)]
    store.apply([writing.batch(old)])
    new = [record(f"fleet/{number}", number + 100, body=b"new") for number in range(1, 50)]
    more = [
        record(f"fleet/b{number}", number, BOB, body=bytes([number % 256]) * 300)
        for number in range(1, count)
    ]
    store.add_chunks([chunk(b"one" * 1000)])
    batch = writing.batch([*new, *more], old)
    store.apply([replace(batch, members=(member("bob"),), statements=(SAID,))])
    store.close()
    return [*new, *more]


def salvaged(tmp_path: Path, epochs: Epochs) -> tuple[SqliteStore, list[Record]]:
    salvage(database(tmp_path), tmp_path / "data" / "damaged")
    store = store_in(tmp_path, epochs)
    state = store.open()
    assert store.check_pages() == ""
    examiner = store.examine(SHARD)
    found = examiner.run()
    examiner.close()
    assert found.is_clean
    assert found.unproven == (), "nothing is known but what is there"
    everything = ((ALICE, ((1, 10**6),)), (BOB, ((1, 10**6),)))
    view = store.open_changes(SHARD, everything)
    records = list(view.read_page(1 << 30).records)
    view.close()
    sums = {shard.shard: shard.fingerprint for shard in state.shards}
    assert sums.get(SHARD, 0) == sum(map(fingerprint_of, records)) % (1 << 256)
    return store, records


def test_a_sound_database_is_taken_over_whole_and_becomes_a_new_author(
    tmp_path: Path, epochs: Epochs
) -> None:
    records = filled(tmp_path, epochs)
    before = store_in(tmp_path, epochs)
    epoch = before.open().epoch
    before.close()
    raw = database(tmp_path).read_bytes()
    store, found = salvaged(tmp_path, epochs)
    assert sorted(each.key for each in found) == sorted(each.key for each in records)
    assert set(found) == set(records)
    assert store.read_chunk(chunk(b"one" * 1000)[0]) == b"one" * 1000
    store.close()
    state = store.open()
    assert state.epoch != epoch
    assert [each.name for each in state.members] == ["bob"]
    assert state.statements == (SAID,)
    assert (tmp_path / "data" / "damaged" / "database-1" / "records.db").read_bytes() == raw
    store.close()


def test_whatever_page_is_garbage_the_others_are_saved(tmp_path: Path, epochs: Epochs) -> None:
    records = set(filled(tmp_path, epochs))
    clean = database(tmp_path).read_bytes()
    pages = len(clean) // PAGE_BYTES
    assert pages > 12
    rng = random.Random(1)
    counts = []
    for page in range(pages):
        raw = bytearray(clean)
        raw[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] = rng.randbytes(PAGE_BYTES)
        database(tmp_path).write_bytes(raw)
        store, found = salvaged(tmp_path, epochs)
        assert set(found) <= records
        counts.append(len(found))
        store.close()
    assert sum(count == 0 for count in counts) <= 3, "only the first pages lead to all the others"
    assert sum(count > len(records) * 0.7 for count in counts) >= pages - 4


def test_a_database_that_will_not_open_can_be_opened_after_it(tmp_path: Path, epochs: Epochs) -> None:
    filled(tmp_path, epochs)
    raw = bytearray(database(tmp_path).read_bytes())
    raw[10 * PAGE_BYTES : 11 * PAGE_BYTES] = bytes(PAGE_BYTES)
    database(tmp_path).write_bytes(raw)
    with pytest.raises(CorruptStoreError, match="bms repair"):
        store_in(tmp_path, epochs).open()
    store, found = salvaged(tmp_path, epochs)
    assert len(found) > 300
    store.close()
    raw = bytearray(database(tmp_path).read_bytes())
    raw[:100] = bytes(100)
    database(tmp_path).write_bytes(raw)
    store, found = salvaged(tmp_path, epochs)
    assert found == []
    store.close()
    assert sorted(path.name for path in (tmp_path / "data" / "damaged").iterdir()) == [
        "database-1",
        "database-2",
    ]


def test_a_damaged_record_stays_behind_and_a_replaced_one_does_not_come_back(
    tmp_path: Path, epochs: Epochs
) -> None:
    filled(tmp_path, epochs)
    connection = sqlite3.connect(database(tmp_path), isolation_level=None)
    connection.execute("UPDATE records SET crc = crc + 1 WHERE key = 'fleet/b7'")
    insert_rows(connection, "records", [record_row(1 << 40 | 3, record("fleet/3", 3, body=b"old"))])
    connection.close()
    result = salvage(database(tmp_path), tmp_path / "data" / "damaged")
    assert (result.damaged, result.gaps, result.members) == (1, 0, 1)
    store = store_in(tmp_path, epochs)
    assert [(each.dot, each.key) for each in store.open().damaged] == [((BOB, 7), "fleet/b7")]
    assert [each.inline for each in store.siblings(["fleet/3"])[0]] == [b"new"]
    assert store.siblings(["fleet/b7"]) == [()]
    assert store.counts().records == result.records
    store.close()


def test_where_there_is_no_database_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        salvage(database(tmp_path), tmp_path / "data" / "damaged")
    assert list(tmp_path.iterdir()) == []
