"""Overwrites of random keys by one node's replica and store, with and without old versions kept."""

from __future__ import annotations

import random
import secrets
import time
from pathlib import Path

from bellande_mesh_sync.core.data.history import HistoryPolicies, HistoryPolicy
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.store.sqlite import SqliteStore
from bench.filling import open_replica, values_of, write_all
from bench.measure import Report, progress
from bench.meshes import fresh_folder

KEYS = 20_000
WRITES = 50_000
VALUE_BYTES = 100
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
        try:
            replica = open_replica(store, NodeId(bytes(32)), HistoryPolicies(HistoryPolicy(versions)))
            rng, value = random.Random(5), values_of(VALUE_BYTES, seed=5)
            write_all(replica, store, [f"bench/history/{number:06d}" for number in range(KEYS)], value)
            began = time.perf_counter()
            keys = [f"bench/history/{rng.randrange(KEYS):06d}" for _ in range(WRITES)]
            write_all(replica, store, keys, value)
            seconds = time.perf_counter() - began
        finally:
            store.close()
        return WRITES / seconds, _size_mib(root / "data")


def _size_mib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir()) / (1 << 20)
