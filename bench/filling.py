"""Many records in a store at once, past the network: what a node holds before the measuring starts."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from blake3 import blake3

from bellande_mesh_sync.core.data.clock import HybridClock
from bellande_mesh_sync.core.data.history import NO_HISTORY, HistoryPolicies
from bellande_mesh_sync.core.data.record import VALUE
from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.core.data.space_policies import SpacePolicies
from bellande_mesh_sync.core.events import Write
from bellande_mesh_sync.home import Home
from bellande_mesh_sync.ids import NodeId, Now, author_of
from bellande_mesh_sync.security.identity import load_identity
from bellande_mesh_sync.store.interface import Store
from bellande_mesh_sync.store.sqlite import SqliteStore

BATCH = 1_000
CLOCK_DRIFT_MAX_MS = 60_000


def fill_home(path: Path, count: int, value_bytes: int, seed: int = 3) -> None:
    """`count` records, written by the stopped node of this home, in `bench/`."""
    home = Home(path)
    node = load_identity(home.identity_dir).node
    store = SqliteStore(home.data_dir, home.chunks_dir, new_epoch=lambda: secrets.token_bytes(8))
    try:
        replica = open_replica(store, node)
        write_all(replica, store, keys_of(count), values_of(value_bytes, seed))
    finally:
        store.close()


def open_replica(store: Store, node: NodeId, histories: HistoryPolicies = NO_HISTORY) -> Replica:
    state = store.open()
    author = author_of(node, state.epoch)
    return Replica(author, HybridClock(CLOCK_DRIFT_MAX_MS), store, state, SpacePolicies(), histories)


def keys_of(count: int) -> list[str]:
    return [f"bench/small/{number:07d}" for number in range(count)]


def values_of(value_bytes: int, seed: int) -> Callable[[], bytes]:
    rng = random.Random(seed)
    return lambda: rng.randbytes(value_bytes)


def write_all(
    replica: Replica, store: Store, keys: Sequence[str], value: Callable[[], bytes], copy: Store | None = None
) -> None:
    """Write the keys as a node would, synced a thousand at a time. `copy` is given what comes of it too."""
    for start in range(0, len(keys), BATCH):
        writes = [write_of(key, value()) for key in keys[start : start + BATCH]]
        replica.write(writes, Now(time.monotonic_ns(), time.time_ns() // 1_000_000))
        commit = replica.seal()
        assert commit is not None, "there is something to commit"
        for each in (store, copy) if copy is not None else (store,):
            each.apply([commit.batch])
            each.publish([commit.batch])
        replica.committed(commit.commit)


def write_of(key: str, value: bytes) -> Write:
    return Write(key, VALUE, len(value), blake3(value).digest(), "", value)
