"""Every store, opened."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bellande_mesh_sync.store.interface import Store
from bellande_mesh_sync.store.memory import MemoryStore
from bellande_mesh_sync.store.sqlite import SqliteStore
from bellande_mesh_sync.store.temporary_chunks import TemporaryChunks

if TYPE_CHECKING:
    from bellande_mesh_sync.store.postgres import PostgresStore

Epochs = Callable[[], bytes]


def postgres_store(url: str, home: Path, epochs: Epochs, **settings: Any) -> PostgresStore:
    """A store on a server, not opened yet. `settings`: those of PostgresStore."""
    from bellande_mesh_sync.store.postgres import PostgresStore
    from bellande_mesh_sync.store.postgres_server import Owner

    owner = Owner(node="ab" * 32, mesh="cd" * 32)
    settings = {"owner": owner, "default_schema": "bms_test", **settings}
    return PostgresStore(url, home / "data", home / "chunks", new_epoch=epochs, **settings)


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


@pytest.fixture(params=["memory", "memory-packs", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path, epochs: Epochs) -> Iterator[Store]:
    made: Store
    if request.param == "postgres":
        server = request.getfixturevalue("postgres_server")
        made = postgres_store(server.url(schema=f"bms_{secrets.token_hex(6)}"), tmp_path, epochs)
    elif request.param == "sqlite":
        made = SqliteStore(tmp_path / "data", tmp_path / "chunks", new_epoch=epochs)
    elif request.param == "memory":
        made = MemoryStore(new_epoch=epochs)
    else:
        made = MemoryStore(new_epoch=epochs, chunks=TemporaryChunks())
    made.open()
    yield made
    made.close()
