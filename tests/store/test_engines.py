"""What a db_url names."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

from bellande_mesh_sync.errors import ConfigError
from bellande_mesh_sync.store.engines import open_engine
from bellande_mesh_sync.store.memory import MemoryStore
from bellande_mesh_sync.store.sqlite import SqliteStore
from tests.store.builders import batch_of, chunk, record
from tests.store.conftest import Epochs


def test_the_embedded_store_in_the_home_is_the_default(tmp_path: Path, epochs: Epochs) -> None:
    store = open_engine("", data_dir=tmp_path / "data", chunks_dir=tmp_path / "chunks", new_epoch=epochs)
    assert isinstance(store, SqliteStore)
    store.open()
    store.close()
    assert (tmp_path / "data" / "records.db").exists()


def test_a_sqlite_url_names_the_file(tmp_path: Path, epochs: Epochs) -> None:
    url = f"sqlite:///{tmp_path}/elsewhere/mesh.db"
    for _ in range(2):
        store = open_engine(url, data_dir=tmp_path / "data", chunks_dir=tmp_path / "chunks", new_epoch=epochs)
        state = store.open()
        store.apply([batch_of(record("a", 1))])
        store.close()
        assert state.epoch == (1).to_bytes(8, "big")
    assert (tmp_path / "elsewhere" / "mesh.db").exists()
    assert not (tmp_path / "data").exists()


def test_memory_leaves_nothing_behind(
    tmp_path: Path, epochs: Epochs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store = open_engine("memory:", data_dir=None, chunks_dir=None, new_epoch=epochs)
    assert isinstance(store, MemoryStore)
    store.open()
    one = chunk(b"one" * 1000)
    store.add_chunks([one])
    assert store.read_chunk(one[0]) == one[1]
    assert list(tmp_path.iterdir())
    store.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "url", ["rocksdb:///x", "mysql://u:hushhush@localhost/x", "sqlite://x", "sqlite:///", "memory", "/a/file"]
)
def test_other_urls_are_refused_with_what_is_supported(tmp_path: Path, epochs: Epochs, url: str) -> None:
    with pytest.raises(ConfigError, match="sqlite:///PATH") as caught:
        open_engine(url, data_dir=tmp_path, chunks_dir=tmp_path, new_epoch=epochs)
    assert caught.value.field == "db_url"
    assert "hushhush" not in str(caught.value)


def test_a_server_url_without_the_extra_says_what_to_install(
    tmp_path: Path, epochs: Epochs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bellande_mesh_sync.store.postgres", None)
    with pytest.raises(ConfigError, match=r"bellande-mesh-sync\[postgres\]"):
        open_engine(
            "postgresql://localhost/x",
            data_dir=tmp_path,
            chunks_dir=tmp_path,
            new_epoch=epochs,
            node="ab" * 32,
            mesh="cd" * 32,
        )


def test_a_node_without_a_home_needs_memory(epochs: Epochs) -> None:
    for url in ("", "postgresql://localhost/x"):
        with pytest.raises(ConfigError, match="memory:"):
            open_engine(url, data_dir=None, chunks_dir=None, new_epoch=epochs)
