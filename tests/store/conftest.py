"""Both stores, opened."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bellande_mesh_sync.store.engines import TemporaryChunks
from bellande_mesh_sync.store.interface import Store
from bellande_mesh_sync.store.memory import MemoryStore
from bellande_mesh_sync.store.sqlite import SqliteStore

Epochs = Callable[[], bytes]


@pytest.fixture
def epochs() -> Epochs:
    """1, 2, 3, ... as 8 bytes."""
    numbers = itertools.count(1)
    return lambda: next(numbers).to_bytes(8, "big")


@pytest.fixture
def sqlite_store(tmp_path: Path, epochs: Epochs) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "data", tmp_path / "chunks", new_epoch=epochs)
    store.open()
    yield store
    store.close()


@pytest.fixture(params=["memory", "memory-packs", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path, epochs: Epochs) -> Iterator[Store]:
    made: Store
    if request.param == "sqlite":
        made = SqliteStore(tmp_path / "data", tmp_path / "chunks", new_epoch=epochs)
    elif request.param == "memory":
        made = MemoryStore(new_epoch=epochs)
    else:
        made = MemoryStore(new_epoch=epochs, chunks=TemporaryChunks())
    made.open()
    yield made
    made.close()
