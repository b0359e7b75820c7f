"""The embedded store against crashes, damage, full disks and old copies."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bellande_mesh_sync.core.data.record import fingerprint_of
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.errors import CorruptStoreError, DiskFullError, StorageError
from bellande_mesh_sync.store.sqlite import SqliteStore
from tests.store.builders import ALICE, BOB, SHARD, Writing, batch_of, chunk, record

Epochs = Callable[[], bytes]
Reopen = Callable[[], SqliteStore]


@pytest.fixture
def make(tmp_path: Path, epochs: Epochs) -> Iterator[Reopen]:
    """Makes stores on the same folders, not opened; all are closed at the end."""
    made: list[SqliteStore] = []

    def make_one() -> SqliteStore:
        made.append(SqliteStore(tmp_path / "data", tmp_path / "chunks", new_epoch=epochs))
        return made[-1]

    yield make_one
    for store in made:
        store.close()


def database(tmp_path: Path) -> Path:
    return tmp_path / "data" / "records.db"


def fill(make: Reopen, count: int) -> None:
    store = make()
    store.open()
    store.apply([batch_of(*(record(f"k{number}", number) for number in range(1, count + 1)))])
    store.close()


def contents(folder: Path) -> dict[str, bytes]:
    # Reading makes an empty log and a scratch file of locks beside it; nothing of the data is in those.
    files = [path for path in sorted(folder.iterdir()) if path.suffix != ".db-shm"]
    return {path.name: content for path in files if (content := path.read_bytes())}


# -- crashes

_CHILD = """
import sys
from pathlib import Path
from tests.store.builders import Writing, record, chunk
from bellande_mesh_sync.store.sqlite import SqliteStore

home = Path(sys.argv[1])
store = SqliteStore(home / "data", home / "chunks", new_epoch=lambda: b"12345678")
state = store.open()
writing = Writing()
for shard in state.shards:
    writing.knowledge.merge(shard.knowledge)
for number in range(writing.knowledge.contiguous(b"a" * 40) + 1, 1_000_000, 10):
    store.add_chunks([chunk(b"%d" % number * 3000)])
    put = [record(f"k{each % 500}", each) for each in range(number, number + 10)]
    drops = [record(f"k{each % 500}", each - 500) for each in range(number, number + 10) if each > 500]
    store.apply([writing.batch(put, drops)])
    print(number + 9, flush=True)
"""


def test_every_batch_whose_apply_returned_survives_a_kill(tmp_path: Path, make: Reopen) -> None:
    last = 0
    for lines in (1, 40, 150, 60):
        acknowledged = _run_and_kill(tmp_path, lines)
        assert acknowledged > last
        last = acknowledged
        store = make()
        state = store.open()
        ((_, ((low, high),)),) = state.shards[0].knowledge
        assert low == 1
        # One batch may have become durable whose return was not heard any more.
        assert acknowledged <= high <= acknowledged + 10
        live = [record(f"k{each % 500}", each) for each in range(max(high - 499, 1), high + 1)]
        assert store.siblings([each.key for each in live]) == [(each,) for each in live]
        assert store.counts().records == len(live)
        assert state.shards[0].fingerprint == sum(map(fingerprint_of, live)) % (1 << 256)
        for number in range(1, high, 10):
            hash, body = chunk(b"%d" % number * 3000)
            assert store.read_chunk(hash) == body
        store.close()


def _run_and_kill(home: Path, lines: int) -> int:
    """Let a child write until it has acknowledged some batches, kill it, return the last number it said."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(root)])}
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(home)], stdout=subprocess.PIPE, env=environment, cwd=root
    ) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.read().splitlines(keepends=True)
    return int([line for line in said if line.endswith(b"\n")][-1])


def test_chunks_that_no_commit_followed_are_cut_off(tmp_path: Path, make: Reopen) -> None:
    store = make()
    store.open()
    kept, lost = chunk(b"kept" * 100), chunk(b"lost" * 100)
    store.add_chunks([kept])
    store.apply([])
    size = (tmp_path / "chunks" / "pack-000001.bms").stat().st_size
    store.add_chunks([lost])
    store.close()
    again = make()
    again.open()
    assert again.has_chunks([kept[0], lost[0]]) == [True, False]
    assert (tmp_path / "chunks" / "pack-000001.bms").stat().st_size == size
    again.add_chunks([lost])
    again.apply([])
    assert again.read_chunk(lost[0]) == lost[1]
    assert again.read_chunk(kept[0]) == kept[1]


def test_a_new_database_finds_the_chunks_that_are_there(tmp_path: Path, make: Reopen) -> None:
    chunks = [chunk(b"%d" % number * 500) for number in range(20)]
    store = make()
    store.open()
    store.add_chunks(chunks)
    store.apply([])
    store.close()
    shutil.rmtree(tmp_path / "data")
    pack = tmp_path / "chunks" / "pack-000001.bms"
    pack.write_bytes(pack.read_bytes()[:-10])
    for _ in range(2):
        again = make()
        again.open()
        assert again.has_chunks([hash for hash, _ in chunks]) == [True] * 19 + [False]
        assert again.read_chunk(chunks[3][0]) == chunks[3][1]
        again.close()


# -- damage


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, make: Reopen) -> None:
    database(tmp_path).parent.mkdir()
    database(tmp_path).write_bytes(b"these are not the bytes you are looking for" * 1000)
    before = contents(tmp_path / "data")
    with pytest.raises(CorruptStoreError, match=r"records\.db is damaged: file is not a database"):
        make().open()
    assert contents(tmp_path / "data") == before


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path, make: Reopen) -> None:
    database(tmp_path).parent.mkdir()
    other = sqlite3.connect(database(tmp_path))
    other.execute("CREATE TABLE cats(name)")
    other.close()
    before = contents(tmp_path / "data")
    with pytest.raises(CorruptStoreError, match="another program"):
        make().open()
    assert contents(tmp_path / "data") == before


def test_a_database_of_a_later_format_is_refused(tmp_path: Path, make: Reopen) -> None:
    fill(make, 1)
    connection = sqlite3.connect(database(tmp_path))
    connection.execute("PRAGMA user_version=3")
    connection.close()
    with pytest.raises(CorruptStoreError, match="its format is 3"):
        make().open()


@pytest.mark.parametrize("page", [0, 0.3, 0.6, 0.95])
def test_a_page_of_garbage_is_found_at_the_start(tmp_path: Path, make: Reopen, page: float) -> None:
    fill(make, 3000)
    with database(tmp_path).open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(int(size * page) // 16384 * 16384)
        file.write(bytes(range(256)) * 64)
    before = contents(tmp_path / "data")
    with pytest.raises(CorruptStoreError, match=r"records\.db is damaged"):
        make().open()
    assert contents(tmp_path / "data") == before


def test_a_damaged_chunk_is_refused_and_can_be_stored_again(tmp_path: Path, make: Reopen) -> None:
    one, two = chunk(b"one" * 1000), chunk(b"two" * 1000)
    store = make()
    store.open()
    store.add_chunks([one, two])
    store.apply([])
    pack = tmp_path / "chunks" / "pack-000001.bms"
    raw = bytearray(pack.read_bytes())
    raw[100] ^= 1
    pack.write_bytes(raw)
    with pytest.raises(CorruptStoreError, match="does not fit its hash"):
        store.read_chunk(one[0])
    assert store.read_chunk(two[0]) == two[1]
    assert store.has_chunks([one[0], two[0]]) == [False, True]
    store.add_chunks([one])
    assert store.read_chunk(one[0]) == one[1]
    store.apply([])
    assert store.has_chunks([one[0]]) == [True]
    store.close()
    again = make()
    again.open()
    assert again.read_chunk(one[0]) == one[1]


def test_a_pack_that_lost_its_end_is_named_at_the_start(tmp_path: Path, make: Reopen) -> None:
    store = make()
    store.open()
    store.add_chunks([chunk(b"one" * 1000)])
    store.apply([])
    store.close()
    pack = tmp_path / "chunks" / "pack-000001.bms"
    os.truncate(pack, 100)
    with pytest.raises(CorruptStoreError, match=r"pack-000001\.bms is damaged: it has 100 bytes"):
        make().open()
    assert pack.stat().st_size == 100


# -- full disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = os.geteuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], stderr=subprocess.DEVNULL
    )
    if not mounted:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.check_call(["umount", "-l", str(folder)])


def test_a_full_disk_refuses_a_batch_as_a_whole_and_loses_nothing(small_disk: Path, epochs: Epochs) -> None:
    store = SqliteStore(small_disk / "data", small_disk / "chunks", new_epoch=epochs)
    store.open()
    writing = Writing()
    kept: list[str] = []
    refused: DiskFullError | None = None
    while refused is None:
        puts = [
            record(f"k{number}", number, body=os.urandom(8000))
            for number in range(len(kept) + 1, len(kept) + 21)
        ]
        batch = writing.batch(puts)
        try:
            store.apply([batch])
        except DiskFullError as error:
            refused = error
        else:
            store.publish([batch])
            kept += [put.key for put in puts]
    assert "is full" in str(refused)
    assert kept
    fingerprints = store.fingerprints()
    assert all(len(found) == 1 for found in store.siblings(kept))
    store.close()
    state = store.open()
    assert state.shards[0].knowledge == ((ALICE, ((1, len(kept)),)),)
    assert {SHARD: state.shards[0].fingerprint} == fingerprints
    assert store.counts().records == len(kept)
    store.close()


def test_starts_on_a_full_disk_keep_the_epoch_and_so_does_the_one_after(
    small_disk: Path, epochs: Epochs
) -> None:
    def start() -> bytes:
        store = SqliteStore(small_disk / "data", small_disk / "chunks", new_epoch=epochs)
        epoch = store.open().epoch
        store.close()
        return epoch

    first = start()
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))
    os.truncate(filler, filler.stat().st_size - 40 * 1024)  # SQLite needs a little to open it at all.
    assert [start(), start()] == [first, first]
    filler.unlink()
    assert [start(), start()] == [first, first]


def test_chunks_that_do_not_fit_on_the_disk_are_refused(small_disk: Path, epochs: Epochs) -> None:
    store = SqliteStore(small_disk / "data", small_disk / "chunks", new_epoch=epochs)
    store.open()
    small = chunk(b"small")
    store.add_chunks([small])
    with pytest.raises(DiskFullError):
        store.add_chunks([chunk(os.urandom(5 << 20))])
    os.truncate(small_disk / "chunks" / "pack-000001.bms", 45)
    store.apply([batch_of(record("a", 1))])
    assert store.read_chunk(small[0]) == small[1]
    store.close()


_LIMITED_CHILD = """
import resource, sys
from pathlib import Path
from tests.store.builders import Writing, record
from bellande_mesh_sync.errors import StorageError
from bellande_mesh_sync.store.sqlite import SqliteStore

home = Path(sys.argv[1])
store = SqliteStore(home / "data", home / "chunks", new_epoch=lambda: b"12345678")
store.open()
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
writing = Writing()
for number in range(1, 1000):
    try:
        store.apply([writing.batch([record(f"k{number}", number, body=bytes(9000))])])
    except StorageError as error:
        print(error.code, number - 1, flush=True)
        raise SystemExit(0)
"""


def test_a_write_that_the_system_refuses_is_an_error_and_keeps_what_was_there(
    tmp_path: Path, make: Reopen
) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(root)])}
    said = subprocess.check_output(
        [sys.executable, "-c", _LIMITED_CHILD, str(tmp_path)], env=environment, cwd=root, text=True
    )
    code, count = said.split()
    assert code in ("disk_full", "storage")
    store = make()
    state = store.open()
    assert state.shards[0].knowledge == ((ALICE, ((1, int(count)),)),)
    assert store.counts().records == int(count)


def test_a_batch_that_cannot_be_written_changes_nothing(sqlite_store: SqliteStore) -> None:
    first = batch_of(record("a", 1))
    sqlite_store.apply([first])
    sqlite_store.publish([first])
    before = sqlite_store.fingerprints()
    impossible = record("b", 1 << 41)
    with pytest.raises(StorageError, match="beyond what the store can hold"):
        sqlite_store.apply([batch_of(record("b", 1, BOB), drops=(record("a", 1),)), batch_of(impossible)])
    assert sqlite_store.fingerprints() == before
    assert sqlite_store.siblings(["a", "b"]) == [(record("a", 1),), ()]
    second = batch_of(record("b", 1, BOB))
    sqlite_store.apply([second])
    sqlite_store.publish([second])
    assert sqlite_store.siblings(["b"]) == [(record("b", 1, BOB),)]


# -- old copies


def test_the_epoch_stays_while_database_and_file_agree(make: Reopen) -> None:
    store = make()
    first = store.open().epoch
    store.close()
    assert make().open().epoch == first


def test_a_restored_database_gets_a_new_epoch(tmp_path: Path, make: Reopen) -> None:
    store = make()
    first = store.open().epoch
    store.close()
    backup = database(tmp_path).read_bytes()
    store.open()
    store.apply([Batch(epoch=b"moved on")])
    store.close()
    database(tmp_path).write_bytes(backup)
    again = make()
    new = again.open().epoch
    assert new not in (first, b"moved on")
    again.close()
    assert make().open().epoch == new


def test_a_database_of_before_the_last_start_gets_a_new_epoch_although_the_file_has_the_same(
    tmp_path: Path, make: Reopen
) -> None:
    store = make()
    first = store.open().epoch
    store.close()
    backup = database(tmp_path).read_bytes()
    store.open()
    store.apply([batch_of(record("since", 1))])
    store.close()
    database(tmp_path).write_bytes(backup)
    assert make().open().epoch != first


@pytest.mark.parametrize("again", ["over what is there", "into an empty place"])
def test_a_home_that_was_copied_back_as_a_whole_gets_a_new_epoch(
    tmp_path: Path, make: Reopen, again: str
) -> None:
    store = make()
    first = store.open().epoch
    store.close()
    shutil.copytree(tmp_path / "data", tmp_path / "backup")
    store.open()
    store.apply([batch_of(record("since", 1))])
    store.close()
    if again == "into an empty place":
        shutil.rmtree(tmp_path / "data")
    shutil.copytree(tmp_path / "backup", tmp_path / "data", dirs_exist_ok=True)
    restored = make()
    second = restored.open().epoch
    assert second != first
    restored.close()
    assert make().open().epoch == second


@pytest.mark.parametrize("content", [None, "", "zz", "0011"])
def test_a_missing_or_unreadable_epoch_file_means_a_new_epoch(
    tmp_path: Path, make: Reopen, content: str | None
) -> None:
    store = make()
    first = store.open().epoch
    store.close()
    path = tmp_path / "data" / "epoch"
    path.unlink()
    if content is not None:
        path.write_text(content)
    new = make().open().epoch
    assert new != first
    assert path.read_text().strip() == new.hex()


# -- views


def test_a_view_is_ended_when_it_keeps_the_log_from_starting_anew(tmp_path: Path, epochs: Epochs) -> None:
    store = SqliteStore(tmp_path / "data", tmp_path / "chunks", new_epoch=epochs, wal_bytes_max=40 << 20)
    store.open()
    writing = Writing()
    puts = [record(f"k{number}", number, body=bytes(16_000)) for number in range(1, 8001)]
    store.apply([writing.batch(puts[:100])])
    view = store.open_changes(SHARD, ((ALICE, ((1, 100),)),))
    view.read_page(100)
    for start in range(100, 8000, 400):
        store.apply([writing.batch(puts[start : start + 400])])
    wal = tmp_path / "data" / "records.db-wal"
    assert wal.stat().st_size < 96 << 20
    with pytest.raises(StorageError, match="open for too long"):
        view.read_page(100)
    view.close()
    store.close()
    assert not wal.exists()


def test_views_left_open_are_closed_with_the_store(tmp_path: Path, make: Reopen) -> None:
    store = make()
    store.open()
    store.apply([batch_of(record("a", 1))])
    view = store.open_changes(SHARD, ((ALICE, ((1, 1),)),))
    store.close()
    with pytest.raises(StorageError):
        view.read_page(100)
    view.close()
    assert not (tmp_path / "data" / "records.db-wal").exists()


def test_views_and_chunks_are_read_while_batches_are_applied(sqlite_store: SqliteStore) -> None:
    writing = Writing()
    body = chunk(b"chunk" * 1000)
    sqlite_store.add_chunks([body])
    failures: list[BaseException] = []
    is_over = threading.Event()

    def read() -> None:
        try:
            while not is_over.is_set():
                view = sqlite_store.open_changes(SHARD, ((ALICE, ((1, 100_000),)),))
                ((_, ((_, known),)),) = view.knowledge() or ((ALICE, ((0, 0),)),)
                count, is_last = 0, False
                while not is_last:
                    page = view.read_page(50_000)
                    count, is_last = count + len(page.records), page.is_last
                view.close()
                assert count == known
                assert sqlite_store.read_chunk(body[0]) == body[1]
        except BaseException as error:  # noqa: BLE001 - shown in the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for start in range(1, 4000, 100):
        batch = writing.batch([record(f"k{number}", number) for number in range(start, start + 100)])
        sqlite_store.apply([batch])
        sqlite_store.publish([batch])
        sqlite_store.add_chunks([chunk(b"%d" % start)])
    is_over.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert sqlite_store.counts().records == 4000
