"""Overwrites of random keys by one node's replica and store, with and without old versions kept."""

from __future__ import annotations

import random
import secrets
import time
from pathlib import Path

from blake3 import blake3

from bellande_mesh_sync.core.data.clock import HybridClock
from bellande_mesh_sync.core.data.history import HistoryPolicies, HistoryPolicy
from bellande_mesh_sync.core.data.record import VALUE
from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.core.data.space_policies import SpacePolicies
from bellande_mesh_sync.core.events import Write
from bellande_mesh_sync.ids import NodeId, Now, author_of
from bellande_mesh_sync.store.sqlite import SqliteStore
from bench.measure import Report, progress
from bench.meshes import fresh_folder

KEYS = 20_000
WRITES = 50_000
VALUE_BYTES = 100
BATCH = 1_000
KEPT = (0, 1, 3, 10, 100)


def run(runs: int) -> Report:
    report = Report("history")
    figures: dict[int, list[tuple[float, float]]] = {versions: [] for versions in KEPT}
    for number in range(runs):
        for versions in KEPT:
            figures[versions].append(one_run(versions))
            rate = figures[versions][-1][0]
            progress(f"history, run {number + 1} of {runs}, {versions} kept: {rate:,.0f} overwrites/s")
    for versions, results in figures.items():
        rates, sizes = zip(*results, strict=True)
        kept = f"{versions} old versions kept" if versions else "no history"
        report.add(f"{WRITES:,} overwrites of {KEYS:,} keys, {kept}", "writes/s", list(rates))
        report.add(f"the database after them, {kept}", "MiB", list(sizes))
    return report


def one_run(versions: int) -> tuple[float, float]:
    """Overwrites a second, synced a thousand at a time, and the size of the database in MiB."""
    with fresh_folder() as root:
        store = SqliteStore(root / "data", root / "chunks", new_epoch=lambda: secrets.token_bytes(8))
        state = store.open()
        try:
            policies = HistoryPolicies(HistoryPolicy(versions))
            author = author_of(NodeId(bytes(32)), state.epoch)
            replica = Replica(author, HybridClock(60_000), store, state, SpacePolicies(), policies)
            rng = random.Random(5)
            _write(replica, store, [f"bench/history/{number:06d}" for number in range(KEYS)], rng)
            began = time.perf_counter()
            _write(replica, store, [f"bench/history/{rng.randrange(KEYS):06d}" for _ in range(WRITES)], rng)
            seconds = time.perf_counter() - began
        finally:
            store.close()
        return WRITES / seconds, _size_mib(root / "data")


def _write(replica: Replica, store: SqliteStore, keys: list[str], rng: random.Random) -> None:
    for start in range(0, len(keys), BATCH):
        writes = [_write_of(key, rng.randbytes(VALUE_BYTES)) for key in keys[start : start + BATCH]]
        replica.write(writes, Now(time.monotonic_ns(), time.time_ns() // 1_000_000))
        commit = replica.seal()
        assert commit is not None, "there is something to commit"
        store.apply([commit.batch])
        store.publish([commit.batch])
        replica.committed(commit.commit)


def _write_of(key: str, value: bytes) -> Write:
    return Write(key, VALUE, len(value), blake3(value).digest(), "", value)


def _size_mib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir()) / (1 << 20)
