"""Faults of disks: stalls, torn transactions, flipped bits, failing reads, and backups put back."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from blake3 import blake3

from bellande_mesh_sync.core.data.record import ChunkRef, Manifest
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.core.events import Committed, DamageFound, Examined, MissingFound, PageRead
from bellande_mesh_sync.core.reader import DamagedRecord
from bellande_mesh_sync.errors import StorageError
from bellande_mesh_sync.sim import log_end
from bellande_mesh_sync.sim.world import SECOND_NS
from tests.simulation.test_disk import SHARD, Machine, all_dots, batch, record

BODY = b"chunk"
REF = ChunkRef(blake3(BODY).digest(), len(BODY))


def machine_with(*sequences: int, seed: int = 1) -> Machine:
    machine = Machine(seed=seed)
    machine.disk.add_chunks({REF.hash: BODY})
    machine.disk.commit(1, batch(*sequences))
    machine.rest()
    return machine


def test_a_disk_that_stands_still_ends_no_sync_before_it_goes_on() -> None:
    machine = Machine()
    machine.disk.stalls_until_ns = 10 * SECOND_NS
    machine.disk.commit(1, batch(1))
    machine.world.run_until(10 * SECOND_NS - 1)
    assert machine.events == []
    assert machine.rest() == [Committed(1)]


def test_a_transaction_that_a_crash_tore_is_found_at_the_next_start_and_never_was() -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(60):
        machine = machine_with(1, seed=seed)
        machine.disk.commit(2, batch(2, absorbed=(1,)))
        machine.disk.crash()
        assert machine.watcher.batches == [batch(1)]
        state = machine.disk.open()
        (outcome,) = machine.disk.counts
        outcomes[outcome] += 1
        held = all_dots(2 if outcome == "groups_whole" else 1)
        assert state.shards[0].knowledge == held
        assert machine.disk.open().shards[0].knowledge == held, "it is looked at once"
    assert set(outcomes) == {"groups_whole", "groups_torn", "groups_absent"}


def test_no_torn_transaction_passes_for_a_whole_one() -> None:
    batches, chunks = [batch(1), Batch(epoch=b"12345678")], {REF.hash: BODY}
    written = log_end.encode(batches, chunks)
    assert log_end.decode(written) == (batches, chunks)
    rng = random.Random(1)
    for _ in range(300):
        torn = log_end.tear(written, rng)
        assert torn != written
        assert log_end.decode(torn) is None


def test_chunks_are_durable_with_their_group_or_gone() -> None:
    for seed in range(20):
        machine = Machine(seed=seed)
        machine.disk.add_chunks({REF.hash: BODY})
        machine.disk.commit(1, batch(1))
        machine.disk.crash()
        machine.disk.open()
        is_whole = machine.disk.counts["groups_whole"] == 1
        assert (machine.disk.chunk(REF.hash) == BODY) == is_whole


def test_a_record_that_rotted_is_neither_looked_up_nor_given_to_peers() -> None:
    machine = machine_with(1)
    assert machine.disk.rot_record(random.Random(1))
    damaged = DamagedRecord(SHARD, record(1).dot, "s/k")
    assert machine.disk.siblings(["s/other", "s/k"]) == [(), ()]
    assert machine.rest() == [DamageFound((damaged,))]
    assert machine.disk.is_damaged("s/k")
    machine.disk.open_changes(7, SHARD, all_dots(1))
    assert machine.rest() == [PageRead(7, (), 0, True, code="corrupt_store")], "it is told once"
    assert machine.disk.view_count == 0
    machine.disk.examine(SHARD)
    (answer,) = machine.rest()
    assert isinstance(answer, Examined)
    assert answer.found is not None
    assert answer.found.damaged == (damaged,)
    assert answer.found.unproven == all_dots(1)
    machine.disk.commit(2, Batch(set_aside=(damaged,), relearned=((SHARD, record(1).author, ()),)))
    machine.rest()
    assert not machine.disk.is_damaged("s/k")
    state = machine.disk.open()
    assert state.damaged == (damaged,)
    assert state.shards[0].knowledge == ()


def test_a_rotten_record_that_was_replaced_harms_no_more() -> None:
    machine = machine_with(1)
    machine.disk.rot_record(random.Random(1))
    machine.disk.commit(2, Batch(puts=batch(2).puts, drops=((SHARD, "s/k", record(1).dot),)))
    machine.rest()
    assert machine.disk.siblings(["s/k"]) == [(record(2),)]


def test_a_rotten_chunk_is_found_when_it_is_read_and_can_be_stored_again() -> None:
    machine = machine_with(1)
    manifest = Manifest(1, (REF,))
    assert machine.disk.rot_chunk(random.Random(1))
    machine.disk.find_missing(1, manifest)
    assert machine.rest() == [MissingFound(1, (), False)], "nobody has read it yet"
    assert machine.disk.chunk(REF.hash) is None
    assert machine.rest() == [DamageFound(chunks=(REF,))]
    machine.disk.find_missing(2, manifest)
    assert machine.rest() == [MissingFound(2, (REF,), False)]
    machine.disk.add_chunks({REF.hash: BODY})
    machine.disk.commit(2, Batch())
    machine.rest()
    machine.disk.crash()
    machine.disk.open()
    assert machine.disk.chunk(REF.hash) == BODY


def test_a_look_up_that_fails_fails_once() -> None:
    machine = machine_with(1)
    machine.disk.fails_next_read = True
    with pytest.raises(StorageError):
        machine.disk.siblings(["s/k"])
    assert machine.disk.siblings(["s/k"]) == [(record(1),)]


@pytest.mark.parametrize("whole", [True, False])
def test_a_backup_brings_back_what_was_there_and_is_found_out_at_the_start(whole: bool) -> None:
    machine = machine_with(1)
    machine.disk.crash()
    backup = machine.disk.backup()
    epoch = machine.disk.open().epoch
    machine.disk.commit(2, batch(2, absorbed=(1,)))
    machine.rest()
    machine.disk.crash()
    machine.disk.restore(backup, whole=whole)
    assert machine.watcher.batches == [], "its watcher was told"
    state = machine.disk.open()
    assert state.shards[0].knowledge == all_dots(1)
    assert state.epoch != epoch
    assert machine.disk.counts["epochs_drawn"] == 1
    assert machine.disk.open().epoch == state.epoch


def test_a_restart_and_a_new_epoch_leave_database_and_epoch_file_in_agreement() -> None:
    machine = machine_with(1)
    epoch = machine.disk.open().epoch
    assert machine.disk.open().epoch == epoch
    machine.disk.commit(2, Batch(epoch=b"12345678"))
    machine.rest()
    assert machine.disk.open().epoch == b"12345678"
    assert machine.disk.counts["epochs_drawn"] == 0


def test_a_crash_between_the_epoch_file_and_the_database_costs_a_new_epoch() -> None:
    epochs: set[bytes] = set()
    for seed in range(40):
        machine = Machine(seed=seed)
        old = machine.disk.open().epoch
        machine.disk.commit(1, Batch(epoch=b"12345678"))
        machine.disk.crash()
        found = machine.disk.open().epoch
        epochs.add(found if found == b"12345678" else b"old" if found == old else b"another")
    assert epochs == {b"12345678", b"old", b"another"}


def test_mending_ends_all_that_goes_wrong() -> None:
    machine = machine_with(1)
    disk = machine.disk
    disk.is_full = disk.is_slow = disk.fails_next_sync = disk.fails_next_read = True
    disk.stalls_until_ns = 10**18
    disk.rot_record(random.Random(1))
    disk.rot_chunk(random.Random(1))
    disk.chunk(REF.hash)
    disk.mend()
    assert disk.siblings(["s/k"]) == [(record(1),)]
    assert disk.chunk(REF.hash) == BODY
    disk.commit(2, batch(2, absorbed=(1,)))
    assert machine.rest()[-1] == Committed(2)
