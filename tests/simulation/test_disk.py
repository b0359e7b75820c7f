"""The simulated disk: what is durable when, and what a crash takes."""

from __future__ import annotations

import random

from blake3 import blake3

from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.data.record import VALUE, ChunkRef, Manifest, Record, fingerprint_of
from bellande_mesh_sync.core.effects import Batch, IntervalChange
from bellande_mesh_sync.core.events import CommitFailed, Committed, Event, MissingFound, PageRead
from bellande_mesh_sync.ids import Author, Shard, Stamp
from bellande_mesh_sync.sim.checkers import Disk
from bellande_mesh_sync.sim.disk import DiskConfig, SimDisk
from bellande_mesh_sync.sim.world import SECOND_NS, World

AUTHOR = Author(b"a" * 40)
SHARD = Shard("s/0")


class Watcher:
    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def applied(self, disk: Disk, batch: Batch) -> None:
        self.batches.append(batch)

    def wiped(self, disk: Disk) -> None:
        self.batches.clear()


class Machine:
    """A disk, its world, and what it told its node."""

    def __init__(self, config: DiskConfig | None = None, seed: int = 1) -> None:
        self.world = World(seed)
        self.watcher = Watcher()
        self.events: list[Event] = []
        self.disk = SimDisk(self.world, 0, config or DiskConfig(), random.Random(seed), self.watcher)
        self.disk.post = self._post
        self.disk.open()

    def _post(self, event: Event, prepare: object = None) -> None:
        if callable(prepare):
            prepare()
        self.events.append(event)

    def rest(self) -> list[Event]:
        self.world.run_until(self.world.now_ns + 60 * SECOND_NS)
        events, self.events[:] = list(self.events), []
        return events


def record(sequence: int, *, key: str = "s/k", manifest: Manifest | None = None) -> Record:
    body = b"%d" % sequence
    inline = None if manifest else body
    return Record(
        key,
        AUTHOR,
        sequence,
        Stamp(sequence),
        VALUE,
        len(body),
        blake3(body).digest(),
        inline=inline,
        manifest=manifest,
    )


def batch(*sequences: int, absorbed: tuple[int, ...] = ()) -> Batch:
    records = [record(sequence) for sequence in sequences]
    return Batch(
        puts=tuple((SHARD, each) for each in records),
        intervals=(IntervalChange(SHARD, AUTHOR, (*absorbed, sequences[0])[0], sequences[-1], absorbed),),
        fingerprints=((SHARD, sum(fingerprint_of(each) for each in records)),),
    )


def all_dots(last: int) -> Delta:
    return ((AUTHOR, ((1, last),)),)


def test_a_commit_is_told_once_it_is_durable_and_visible() -> None:
    machine = Machine()
    machine.disk.commit(1, batch(1))
    assert machine.watcher.batches == []
    assert machine.disk.siblings(["s/k"]) == [()]
    assert machine.rest() == [Committed(1)]
    assert machine.watcher.batches == [batch(1)]
    assert machine.disk.siblings(["s/k"]) == [(record(1),)]
    assert machine.disk.platter.state().shards[0].fingerprint == fingerprint_of(record(1))


def test_commits_that_wait_for_a_sync_share_the_next_one() -> None:
    machine = Machine()
    machine.disk.commit(1, batch(1))
    for number in range(2, 10):
        machine.disk.commit(number, batch(number, absorbed=(1,)))
    assert machine.rest() == [Committed(1), Committed(9)]
    assert machine.disk.sync_count == 2


def test_a_crash_loses_what_was_not_synced_as_a_whole_or_not_at_all() -> None:
    outcomes = set()
    for seed in range(20):
        machine = Machine(seed=seed)
        machine.disk.commit(1, batch(1))
        machine.rest()
        machine.disk.commit(2, batch(2, absorbed=(1,)))  # Its sync begins at once ...
        machine.disk.commit(3, batch(3, absorbed=(1,)))  # ... and this one waits for the next.
        machine.disk.crash()
        state = machine.disk.open()
        assert machine.rest() == []
        outcomes.add(state.shards[0].knowledge)
    assert outcomes == {all_dots(1), all_dots(2)}


def test_a_full_disk_refuses_all_open_commits_at_once_and_leaves_no_trace() -> None:
    machine = Machine()
    machine.disk.commit(1, batch(1))
    machine.disk.is_full = True
    machine.disk.commit(2, batch(2, absorbed=(1,)))
    assert [type(event) for event in machine.rest()] == [CommitFailed]
    assert machine.watcher.batches == []
    machine.disk.is_full = False
    machine.disk.commit(3, batch(1))
    assert machine.rest() == [Committed(3)]


def test_a_failed_sync_stops_the_node_instead_of_telling_it_anything() -> None:
    machine = Machine()
    stopped: list[bool] = []
    machine.disk.sync_failed = lambda: stopped.append(True)
    machine.disk.fails_next_sync = True
    machine.disk.commit(1, batch(1))
    assert machine.rest() == []
    assert stopped == [True]


def test_a_slow_disk_takes_seconds() -> None:
    machine = Machine(DiskConfig(slow_sync_mean_ns=5 * SECOND_NS))
    machine.disk.is_slow = True
    machine.disk.commit(1, batch(1))
    machine.world.run_until(SECOND_NS // 100)
    assert machine.events == []
    assert machine.rest() == [Committed(1)]


def test_a_view_shows_the_moment_it_was_opened_page_by_page() -> None:
    machine = Machine(DiskConfig(page_bytes=1))
    machine.disk.commit(1, batch(1, 2))
    machine.rest()
    machine.disk.open_changes(7, SHARD, ((AUTHOR, ((1, 9),)),))
    (first,) = machine.rest()
    machine.disk.commit(2, batch(3, absorbed=(1,)))
    machine.rest()
    machine.disk.next_page(7)
    (second,) = machine.rest()
    assert isinstance(first, PageRead)
    assert isinstance(second, PageRead)
    assert first.records + second.records == (record(1), record(2))
    assert (first.is_last, second.is_last) == (False, True)
    assert second.knowledge == all_dots(2)
    assert machine.disk.view_count == 0


def test_every_read_of_a_closed_view_still_ends_in_one_answer() -> None:
    machine = Machine()
    machine.disk.open_changes(7, SHARD, all_dots(1))
    machine.disk.close_changes(7)
    assert machine.rest() == [PageRead(7, (), 0, True, code="closed")]


def test_chunks_are_readable_at_once_and_durable_with_the_next_commit() -> None:
    body = b"chunk"
    ref = ChunkRef(blake3(body).digest(), len(body))
    manifest = Manifest(1, (ref, ref))
    machine = Machine()
    machine.disk.find_missing(1, manifest)
    assert machine.rest() == [MissingFound(1, (ref,), False)]
    machine.disk.add_chunks({ref.hash: body})
    assert machine.disk.chunk(ref.hash) == body
    machine.disk.crash()
    machine.disk.open()
    assert machine.disk.chunk(ref.hash) is None
    machine.disk.add_chunks({ref.hash: body})
    machine.disk.commit(1, Batch())
    machine.rest()
    machine.disk.crash()
    machine.disk.open()
    assert machine.disk.chunk(ref.hash) == body
    machine.disk.find_missing(2, manifest)
    assert machine.rest() == [MissingFound(2, (), False)]


def test_a_wiped_disk_is_a_new_store_with_a_new_epoch() -> None:
    machine = Machine()
    epoch = machine.disk.platter.epoch
    machine.disk.commit(1, batch(1))
    machine.rest()
    machine.disk.wipe()
    state = machine.disk.open()
    assert state.shards == ()
    assert state.epoch != epoch
