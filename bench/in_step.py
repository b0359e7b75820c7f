"""What it costs two nodes with 1,000,000 records to find out what differs, in bytes and round trips.

Counted on two real cores with the real codec (see core_pair.py): exact, and the same in every run, so one
run is made however many are asked for.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Sequence

from bellande_mesh_sync.core.data.knowledge import Knowledge
from bellande_mesh_sync.core.data.record import Record, fingerprint_of
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.keys import shard_of
from bellande_mesh_sync.store.memory import FINGERPRINT_MODULUS, MemoryStore
from bench.core_pair import CorePair, node_of_half
from bench.filling import keys_of, open_replica, values_of, write_all, write_of
from bench.measure import Report, progress

RECORDS = 1_000_000
DIFFERENT = 1_000
VALUE_BYTES = 100
IN_STEP_BYTES_MAX = 4 * 1024
BEYOND_BYTES_MAX = 32 * 1024
ROUND_TRIPS_MAX = 2.0


def run(runs: int) -> Report:
    del runs  # It comes to the same bytes each time.
    report = Report("in_step")
    rng = random.Random(11)
    progress(f"two stores with {RECORDS:,} records")
    stores = filled(RECORDS)
    gc.freeze()  # All that stays: looking through it again and again would take most of the time.

    pair = CorePair(stores)
    pair.link()
    name = f"{RECORDS:,} records, two nodes in step: bytes to find out"
    report.add(name, "bytes", [pair.bytes_total], at_most=IN_STEP_BYTES_MAX)

    progress(f"{DIFFERENT:,} records missing at one node, at random")
    numbers = rng.sample(range(RECORDS), DIFFERENT)
    lose(stores[1], [keys_of(RECORDS)[number] for number in numbers])
    pair = CorePair(stores)
    pair.link()
    add_difference(report, pair, f"{DIFFERENT:,} of {RECORDS:,} missing at one node")

    progress(f"{DIFFERENT:,} records overwritten, half at each node, at random")
    pair = CorePair(stores)
    keys, value = keys_of(RECORDS), values_of(VALUE_BYTES, seed=12)
    chosen = [keys[number] for number in rng.sample(range(RECORDS), DIFFERENT)]
    for half, part in zip(pair.halves, (chosen[::2], chosen[1::2]), strict=True):
        half.write([write_of(key, value()) for key in part])
    pair.link()
    add_difference(report, pair, f"{DIFFERENT:,} of {RECORDS:,} overwritten, half at each")
    return report


def add_difference(report: Report, pair: CorePair, name: str) -> None:
    assert pair.record_count == DIFFERENT, "each record that differs crosses once"
    beyond = pair.bytes_total - pair.record_bytes
    report.add(f"{name}: bytes beyond the records", "bytes", [beyond], at_most=BEYOND_BYTES_MAX)
    report.add("  the records themselves", "bytes", [pair.record_bytes])
    report.add("  round trips until equal", "", [pair.trips / 2], at_most=ROUND_TRIPS_MAX)


def filled(count: int) -> list[MemoryStore]:
    """Two stores with the same records, all written by the first node."""
    stores = [MemoryStore(new_epoch=lambda: b"epoch--0"), MemoryStore(new_epoch=lambda: b"epoch--1")]
    replica = open_replica(stores[0], node_of_half(0))
    write_all(replica, stores[0], keys_of(count), values_of(VALUE_BYTES, seed=3), copy=stores[1])
    return stores


def lose(store: MemoryStore, keys: Sequence[str]) -> None:
    """Take the records of these keys out of a store, and what it knows of them: as if they had never come."""
    shard = shard_of(keys[0])
    records: list[Record] = [siblings[0] for siblings in store.siblings(keys)]
    known = Knowledge(store.open_changes(shard, ()).knowledge())
    for record in records:
        known.remove(((record.author, ((record.sequence, record.sequence),)),))
    amount = -sum(map(fingerprint_of, records)) % FINGERPRINT_MODULUS
    batch = Batch(
        drops=tuple((shard, record.key, record.dot) for record in records),
        relearned=tuple((shard, author, ranges) for author, ranges in known.delta()),
        fingerprints=((shard, amount),),
    )
    store.apply([batch])
    store.publish([batch])
