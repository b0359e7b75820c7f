"""The store on a PostgreSQL server: what is on the server, whom it lets in, what a restored one means."""

from __future__ import annotations

import itertools
import logging
import secrets
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bellande_mesh_sync.core.data.history import OldVersion
from bellande_mesh_sync.core.data.record import fingerprint_of
from bellande_mesh_sync.core.effects import Batch, IntervalChange
from bellande_mesh_sync.core.events import DamageFound
from bellande_mesh_sync.core.reader import DamagedRecord
from bellande_mesh_sync.errors import (
    ConfigError,
    CorruptStoreError,
    DiskFullError,
    HomeInUseError,
    StorageError,
    StoreRefusedError,
    StoreUnavailableError,
)
from tests.store.builders import ALICE, SHARD, Writing, batch_of, chunk, member, record, tombstone
from tests.store.conftest import Epochs, postgres_store

psycopg = pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

if TYPE_CHECKING:
    from bellande_mesh_sync.store.postgres import PostgresStore
    from tools.postgres_server import PostgresServer


class Place:
    """A schema and a home, and stores on them."""

    def __init__(self, server: PostgresServer, home: Path, epochs: Epochs) -> None:
        self.server, self.home, self.epochs = server, home, epochs
        self.database = "postgres"
        self._opened: list[PostgresStore] = []

    def store(self, home: Path | None = None, database: str = "", **settings: Any) -> PostgresStore:
        url = self.server.url(database or self.database, **settings.pop("parameters", {}))
        store = postgres_store(url, home or self.home, self.epochs, **settings)
        self._opened.append(store)
        return store

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.server.connect(self.database) as connection:
            return connection.execute(statement).fetchall()

    def run(self, statement: str) -> None:
        with self.server.connect(self.database) as connection:
            connection.execute(statement)

    def backup(self) -> str:
        """A copy of the database as it is now; nobody may be connected."""
        name = f"backup_{secrets.token_hex(6)}"
        with self.server.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {self.database}")
        return name

    def close(self) -> None:
        for store in self._opened:
            store.close()
        self.run("DROP SCHEMA IF EXISTS bms_test, second CASCADE")


@pytest.fixture
def place(postgres_server: PostgresServer, tmp_path: Path, epochs: Epochs) -> Iterator[Place]:
    made = Place(postgres_server, tmp_path / "home", epochs)
    yield made
    made.close()


def commit(store: PostgresStore, *batches: Batch) -> None:
    store.apply(batches)
    store.publish(batches)


# -- what is on the server


def test_people_can_read_values_with_plain_sql(place: Place) -> None:
    store = place.store()
    store.open()
    commit(store, batch_of(record("fleet/a", 1, body=b"one"), tombstone("fleet/b", 2)))
    rows = place.rows("SELECT key, value, content_type, size FROM bms_test.live_values")
    assert rows == [("fleet/a", b"one", "text/plain", 3)]
    assert place.rows("SELECT count(*) FROM bms_test.records WHERE kind = 1") == [(1,)]


def test_a_new_home_gets_everything_from_the_server_and_a_new_author(place: Place, tmp_path: Path) -> None:
    writing = Writing()
    store = place.store()
    first = store.open()
    records = [record(f"k{number}", number) for number in range(1, 6_000)]
    commit(store, writing.batch(records), Batch(members=(member("one"),), clock=77))
    commit(store, writing.batch([tombstone("k1", 6_000)], drops=records[:1]))
    store.close()
    other = place.store(tmp_path / "other")
    state = other.open()
    assert state.epoch != first.epoch
    assert (state.clock, [each.name for each in state.members]) == (77, ["one"])
    (shard,) = state.shards
    assert shard.knowledge == ((records[0].author, ((1, 6_000),)),)
    assert other.fingerprints() == {SHARD: shard.fingerprint}
    assert other.siblings(["k2", "k5999"]) == [(records[1],), (records[-1],)]
    assert other.siblings(["k1"])[0][0].is_tombstone
    assert other.counts().records == 5_999


def test_a_new_home_gets_the_history_from_the_server(place: Place, tmp_path: Path) -> None:
    versions = [record("fleet/a", sequence) for sequence in range(1, 5)]
    store = place.store()
    store.open()
    commit(store, batch_of(versions[0]))
    for before, new in itertools.pairwise(versions):
        old = OldVersion(SHARD, before, new.stamp, 2, 0)
        commit(store, msgspec.structs.replace(batch_of(new, drops=(before,)), history=(old,)))
    before_move = store.old_versions(["fleet/a"], 1 << 30)
    assert len(before_move[0]) == 2
    store.close()
    other = place.store(tmp_path / "other")
    other.open()
    assert other.old_versions(["fleet/a"], 1 << 30) == before_move


def test_a_home_that_is_current_reads_nothing_again(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    store = place.store()
    first = store.open()
    commit(store, batch_of(record("a", 1)))
    store.close()
    with caplog.at_level(logging.INFO):
        assert store.open().epoch == first.epoch
    assert "reading all records" not in caplog.text
    assert store.siblings(["a"]) == [(record("a", 1),)]


def test_a_copy_that_is_one_commit_behind_is_made_anew_under_the_same_author(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = place.store()
    first = store.open()
    kept = chunk(b"in a pack" * 100)
    store.add_chunks([kept])
    commit(store, batch_of(record("a", 1)))

    def refuse(*_: object) -> None:
        raise DiskFullError(path="the copy")

    copy = store._copy
    real_apply = copy.apply
    monkeypatch.setattr(copy, "apply", lambda batches, notes=(): refuse() if notes else real_apply(batches))
    with pytest.raises(StorageError) as caught:
        store.apply([batch_of(record("b", 2))])
    assert not isinstance(caught.value, DiskFullError), "it is no clean no: the server has it"
    store.close()
    again = place.store()
    assert again.open().epoch == first.epoch
    assert again.siblings(["a", "b"]) == [(record("a", 1),), (record("b", 2),)]
    assert again.read_chunk(kept[0]) == kept[1]
    assert not list((place.home / "data").glob("*.old"))


def test_a_large_batch_goes_in_several_statements(place: Place) -> None:
    store = place.store()
    store.open()
    records = [record(f"k{number}", number, body=bytes(16_000)) for number in range(1, 1_001)]
    commit(store, batch_of(*records))
    assert place.rows("SELECT count(*), sum(length(value)) FROM bms_test.records") == [(1_000, 16_000_000)]


def test_a_row_that_makes_no_sense_is_reported_and_nothing_changes(place: Place, tmp_path: Path) -> None:
    store = place.store()
    store.open()
    commit(store, batch_of(record("a", 1)))
    store.close()
    place.run("UPDATE bms_test.records SET context = 'x'")
    with pytest.raises(CorruptStoreError, match="decoded"):
        place.store(tmp_path / "other").open()
    assert not (tmp_path / "other" / "data" / "server-copy.db").exists()


def test_a_damaged_copy_is_set_aside_and_made_anew(place: Place) -> None:
    store = place.store()
    store.open()
    commit(store, batch_of(record("a", 1)))
    store.close()
    (place.home / "data" / "server-copy.db").write_bytes(b"no database" * 1_000)
    store.open()
    assert store.siblings(["a"]) == [(record("a", 1),)]
    assert (place.home / "data" / "server-copy.db.old").exists()


def test_a_copy_with_a_damaged_page_is_set_aside_and_made_anew(place: Place) -> None:
    store = place.store()
    store.open()
    records = [record(f"k{number}", number) for number in range(1, 2_000)]
    kept = chunk(b"in a pack" * 100)
    store.add_chunks([kept])
    commit(store, batch_of(*records))
    store.close()
    path = place.home / "data" / "server-copy.db"
    raw = bytearray(path.read_bytes())
    raw[-16_384 : -16_384 + 64] = bytes(64)
    path.write_bytes(raw)
    store.open()
    assert store.siblings(["k1999"]) == [(records[-1],)]
    assert store.read_chunk(kept[0]) == kept[1]


def test_a_table_that_somebody_locks_is_a_clean_no(place: Place) -> None:
    store = place.store()
    store.open()
    store._session.connection.execute("SET lock_timeout = '50ms'")
    with place.server.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE bms_test.records IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailableError, match="lock timeout"):
            store.apply([batch_of(record("a", 1))])
    commit(store, batch_of(record("a", 1)))
    assert store.siblings(["a"]) == [(record("a", 1),)]


# -- damage


def test_what_is_damaged_in_the_copy_is_set_aside_on_the_server_as_well_and_kept(
    place: Place, tmp_path: Path
) -> None:
    writing = Writing()
    good, bad = record("fleet/good", 1), record("fleet/bad", 2, body=b"precious-content")
    store = place.store()
    store.open()
    commit(store, writing.batch([good, bad]))
    store.close()
    path = place.home / "data" / "server-copy.db"
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"precious-content")] ^= 4
    path.write_bytes(raw)
    store.open()
    told: list[DamageFound] = []
    store.listen(told.append)
    assert store.siblings(["fleet/bad"]) == [()]
    damaged = DamagedRecord(SHARD, bad.dot, "fleet/bad")
    assert told == [DamageFound(records=(damaged,))]
    unlearn = Batch(
        set_aside=(damaged,),
        relearned=((SHARD, ALICE, ((1, 1),)),),
        fingerprints=((SHARD, -fingerprint_of(bad)),),
    )
    commit(store, unlearn)
    assert place.rows("SELECT key FROM bms_test.records") == [("fleet/good",)]
    assert place.rows("SELECT key, value FROM bms_test.set_aside") == [("fleet/bad", b"precious-content")]
    store.close()
    other = place.store(tmp_path / "other")
    state = other.open()
    assert state.damaged == (damaged,)
    (shard,) = state.shards
    assert (shard.knowledge, shard.fingerprint) == (((ALICE, ((1, 1),)),), fingerprint_of(good))
    back = Batch(
        puts=((SHARD, bad),),
        intervals=(IntervalChange(SHARD, ALICE, 1, 2, ()),),
        fingerprints=((SHARD, fingerprint_of(bad)),),
        healed=((SHARD, bad.dot),),
    )
    commit(other, back)
    assert other.siblings(["fleet/bad"]) == [(bad,)]
    assert place.rows("SELECT count(*) FROM bms_test.set_aside, bms_test.damaged") == [(0,)]
    assert place.rows("SELECT low, high FROM bms_test.knowledge") == [(1, 2)]


# -- who may use it


def test_a_second_node_on_one_schema_is_refused_while_the_first_lives(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bellande_mesh_sync.store.postgres_server._LOCK_WAIT_S", 0.1)
    store = place.store()
    store.open()
    second = place.store(tmp_path / "second")
    with pytest.raises(HomeInUseError, match="in use by a running node") as caught:
        second.open()
    assert isinstance(caught.value.pid, int)
    store.close()
    second.open()


def test_two_nodes_in_two_schemas_do_not_mix(place: Place, tmp_path: Path) -> None:
    one, two = place.store(), place.store(tmp_path / "two", parameters={"schema": "second"})
    one.open()
    two.open()
    commit(one, batch_of(record("a", 1)))
    assert two.siblings(["a"]) == [()]
    commit(two, batch_of(record("b", 1)))
    assert place.rows("SELECT key FROM bms_test.records") == [("a",)]
    assert place.rows("SELECT key FROM second.records") == [("b",)]


def test_the_records_of_another_mesh_are_refused(place: Place, tmp_path: Path) -> None:
    from bellande_mesh_sync.store.postgres_server import Owner

    store = place.store()
    store.open()
    store.close()
    with pytest.raises(StoreRefusedError, match="another mesh"):
        place.store(tmp_path / "other", owner=Owner("ab" * 32, "ee" * 32)).open()


def test_tables_of_a_later_version_are_refused(place: Place) -> None:
    store = place.store()
    store.open()
    store.close()
    place.run("UPDATE bms_test.store SET version = 9")
    with pytest.raises(StoreRefusedError, match="version 9"):
        store.open()


def test_a_server_that_is_too_old_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellande_mesh_sync.store.postgres_server.SERVER_VERSION_MIN", 99)
    with pytest.raises(StoreRefusedError, match="99 is the oldest"):
        place.store().open()


def test_a_database_that_is_not_utf8_is_refused(place: Place) -> None:
    database = place.server.new_database("ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StoreRefusedError, match="LATIN1"):
        place.store(database=database).open()


def test_a_wrong_password_is_refused_and_not_repeated(place: Place, tmp_path: Path, epochs: Epochs) -> None:
    url = place.server.url(place.database, over_tcp=True).replace("correct", "hush%2Fhush")
    with pytest.raises(StoreRefusedError, match="password authentication failed") as caught:
        postgres_store(url, tmp_path, epochs).open()
    assert "hush" not in str(caught.value)
    assert "hush" not in repr(caught.value.facts)


def test_a_database_that_is_not_there_is_named(place: Place) -> None:
    with pytest.raises(StoreRefusedError, match='database "nowhere" does not exist'):
        place.store(database="nowhere").open()


def test_a_server_that_is_not_there_can_be_tried_again(tmp_path: Path, epochs: Epochs) -> None:
    url = "postgresql://hub:hushhush@127.0.0.1:1/mesh"
    with pytest.raises(StoreUnavailableError, match="refused") as caught:
        postgres_store(url, tmp_path, epochs).open()
    assert caught.value.retryable
    assert "hushhush" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:hushhush@h:port/x", "postgresql://u:hushhush@[h/x", "postgresql://u:hushhush@h/x?a"],
)
def test_a_url_that_is_none_is_not_repeated(tmp_path: Path, epochs: Epochs, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        postgres_store(url, tmp_path, epochs).open()
    assert "hushhush" not in str(caught.value)


@pytest.mark.parametrize("schema", ["Upper", "with space", "pg_mine", "a" * 64, ""])
def test_a_schema_with_an_awkward_name_is_refused(place: Place, schema: str) -> None:
    with pytest.raises(ConfigError, match="schema"):
        place.store(parameters={"schema": schema})


def test_a_missing_right_is_said(place: Place, tmp_path: Path, epochs: Epochs) -> None:
    place.run("DROP ROLE IF EXISTS guest")
    place.run("CREATE ROLE guest LOGIN")
    url = place.server.url(place.database).replace("hub@", "guest@")
    with pytest.raises(StoreRefusedError, match="permission denied"):
        postgres_store(url, tmp_path, epochs).open()


# -- backups


def test_a_restored_database_is_found_out_and_gets_a_new_author(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    store = place.store()
    first = store.open()
    commit(store, batch_of(record("a", 1)))
    store.close()
    backup = place.backup()
    # The node did not start anew since: the epoch file alone would not tell.
    store.open()
    commit(store, batch_of(record("b", 2)))
    store.close()
    restored = place.store(database=backup)
    state = restored.open()
    assert state.epoch != first.epoch
    assert restored.siblings(["a", "b"]) == [(record("a", 1),), ()]
    assert "do not fit" in caplog.text
    assert (place.home / "data" / "server-copy.db.old").exists()


def test_a_restored_home_is_found_out_and_gets_a_new_author(place: Place, tmp_path: Path) -> None:
    store = place.store()
    first = store.open()
    commit(store, batch_of(record("a", 1)))
    store.close()
    shutil.copytree(place.home, tmp_path / "backup")
    store.open()
    commit(store, batch_of(record("b", 2)))
    store.close()
    shutil.rmtree(place.home)
    shutil.copytree(tmp_path / "backup", place.home)
    state = store.open()
    assert state.epoch != first.epoch
    assert store.siblings(["a", "b"]) == [(record("a", 1),), (record("b", 2),)]


def test_the_disk_of_a_hub_is_lost_and_its_chunks_are_missed(place: Place) -> None:
    kept = chunk(b"large" * 10_000)
    store = place.store()
    store.open()
    store.add_chunks([kept])
    commit(store, batch_of(record("a", 1)))
    store.close()
    shutil.rmtree(place.home)
    store.open()
    assert store.siblings(["a"]) == [(record("a", 1),)]
    assert store.has_chunks([kept[0]]) == [False]


# -- full disks


def test_a_full_disk_of_the_server_is_a_clean_no(place: Place) -> None:
    store = place.store()
    store.open()
    commit(store, batch_of(record("a", 1)))
    place.run(
        "CREATE FUNCTION bms_test.refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END$$"
    )
    place.run(
        "CREATE TRIGGER is_full BEFORE INSERT ON bms_test.records "
        "FOR EACH ROW EXECUTE FUNCTION bms_test.refuse()"
    )
    before = store.fingerprints()
    with pytest.raises(DiskFullError, match="postgresql://"):
        store.apply([batch_of(record("b", 2))])
    assert store.fingerprints() == before
    place.run("DROP TRIGGER is_full ON bms_test.records")
    commit(store, batch_of(record("b", 2)))
    assert store.siblings(["b"]) == [(record("b", 2),)]


def test_a_full_disk_of_the_node_is_a_clean_no(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    store = place.store()
    store.open()
    usage = shutil.disk_usage(place.home)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(DiskFullError):
        store.apply([batch_of(record("b", 2))])
    monkeypatch.undo()
    assert place.rows("SELECT count(*) FROM bms_test.records") == [(0,)]


def test_what_the_copy_says_is_what_the_server_says(place: Place) -> None:
    store = place.store()
    store.open()
    commit(store, batch_of(record("a", 1)))
    with closing(place.server.connect(place.database)) as connection:
        (on_server,) = connection.execute("SELECT fingerprint FROM bms_test.shards").fetchone() or (b"",)
    assert int.from_bytes(on_server, "big") == store.fingerprints()[SHARD]
