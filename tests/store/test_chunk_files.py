"""Packs of chunks: rolling, torn ends, many threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from bellande_mesh_sync.errors import ChunkMissingError, CorruptStoreError, StorageError
from bellande_mesh_sync.store.chunk_files import ChunkFiles
from bellande_mesh_sync.store.packs import Location, scan_pack
from tests.store.builders import chunk


class Index:
    """The index that a database would be."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Location] = {}
        self.end: tuple[int, int] | None = None

    def find(self, hashes: Sequence[bytes]) -> dict[bytes, Location]:
        return {hash: self.entries[hash] for hash in hashes if hash in self.entries}

    def commit(self, files: ChunkFiles) -> None:
        entries, self.end = files.sync()
        self.entries.update(entries)
        files.indexed(entries)


@pytest.fixture
def index() -> Index:
    return Index()


def opened(folder: Path, index: Index, pack_bytes_max: int = 10_000) -> ChunkFiles:
    files = ChunkFiles(folder, index.find, pack_bytes_max=pack_bytes_max)
    files.open(index.end)
    return files


def test_a_full_pack_is_followed_by_the_next(tmp_path: Path, index: Index) -> None:
    chunks = [chunk(os.urandom(3000)) for _ in range(20)]
    files = opened(tmp_path, index)
    for each in chunks:
        files.add([each])
    index.commit(files)
    assert len(list(tmp_path.glob("pack-*.bms"))) == 5
    assert all(files.read(hash) == body for hash, body in chunks)
    assert files.size_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    files.close()
    again = opened(tmp_path, index)
    assert all(again.read(hash) == body for hash, body in chunks)
    again.close()


@pytest.mark.parametrize("left", [1, 39, 41, 3000])
def test_a_torn_end_is_cut_off_and_written_over(tmp_path: Path, index: Index, left: int) -> None:
    files = opened(tmp_path, index)
    kept, torn, later = (chunk(os.urandom(3000)) for _ in range(3))
    files.add([kept])
    index.commit(files)
    assert index.end is not None
    files.add([torn])
    files.add([chunk(os.urandom(9000))])
    files.add([chunk(os.urandom(9000))])  # In a pack of its own.
    files.close()
    os.truncate(tmp_path / "pack-000001.bms", index.end[1] + left)
    again = opened(tmp_path, index)
    assert [path.name for path in tmp_path.iterdir()] == ["pack-000001.bms"]
    assert again.has([kept[0], torn[0]]) == [True, False]
    again.add([later])
    index.commit(again)
    assert again.read(later[0]) == later[1]
    assert [hash for hash, _ in scan_pack(tmp_path / "pack-000001.bms", 1)] == [kept[0], later[0]]
    again.close()


def test_an_interrupted_commit_is_repeated_by_the_next(tmp_path: Path, index: Index) -> None:
    files = opened(tmp_path, index)
    one, two = chunk(b"one"), chunk(b"two")
    files.add([one])
    files.sync()  # And the database refuses its part.
    files.add([two])
    index.commit(files)
    assert index.entries.keys() == {one[0], two[0]}
    files.close()


def test_a_chunk_is_written_once_however_often_it_is_added(tmp_path: Path, index: Index) -> None:
    files = opened(tmp_path, index, 1 << 30)
    chunks = [chunk(b"%d" % number * 100) for number in range(50)]
    threads = [threading.Thread(target=files.add, args=(chunks,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    index.commit(files)
    files.add(chunks)
    assert files.size_bytes == sum(40 + len(body) for _, body in chunks)
    files.close()


def test_more_chunks_than_one_system_call_takes_are_written(tmp_path: Path, index: Index) -> None:
    files = opened(tmp_path, index, 1 << 30)
    chunks = [chunk(b"%d" % number) for number in range(3000)]
    files.add(chunks)
    assert all(files.read(hash) == body for hash, body in chunks)
    files.close()


def test_a_pack_that_is_gone_is_damage_and_its_chunks_are_wanted_again(tmp_path: Path, index: Index) -> None:
    files = opened(tmp_path, index)
    one, two = chunk(os.urandom(11_000)), chunk(b"two")
    files.add([one])
    files.add([two])
    index.commit(files)
    files.close()
    (tmp_path / "pack-000001.bms").unlink()
    again = opened(tmp_path, index)
    with pytest.raises(CorruptStoreError, match="the file is gone"):
        again.read(one[0])
    assert again.has([one[0], two[0]]) == [False, True]
    again.close()


def test_reading_many_packs_keeps_few_files_open(tmp_path: Path, index: Index) -> None:
    files = opened(tmp_path, index, 1)
    chunks = [chunk(b"%d" % number) for number in range(200)]
    for each in chunks:
        files.add([each])
    index.commit(files)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    assert all(files.read(hash) == body for hash, body in chunks)
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 70
    files.close()


def test_an_unknown_chunk_is_missing(tmp_path: Path, index: Index) -> None:
    files = opened(tmp_path, index)
    with pytest.raises(ChunkMissingError):
        files.read(bytes(32))
    files.close()


def test_after_a_failed_sync_nothing_is_claimed_durable(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = opened(tmp_path, index)
    files.add([chunk(b"one")])

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(StorageError, match="could not be synced"):
            files.sync()
    with pytest.raises(StorageError, match="a sync failed"):
        files.sync()
    with pytest.raises(StorageError, match="a sync failed"):
        files.add([chunk(b"two")])
    files.close()


def test_a_foreign_file_among_the_packs_is_named(tmp_path: Path, index: Index) -> None:
    (tmp_path / "pack-copy.bms").write_bytes(b"")
    with pytest.raises(CorruptStoreError, match="not that of a pack"):
        opened(tmp_path, index)
