"""Mending: a damaged record is set aside, and nothing is claimed that only it could have accounted for."""

from __future__ import annotations

import random

import pytest

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.data.examination import Examination, examination_of
from bellande_mesh_sync.core.data.knowledge import Delta, IntervalSet, Knowledge
from bellande_mesh_sync.core.data.record import ChunkRef, Record, fingerprint_of
from bellande_mesh_sync.core.effects import Batch, Effect, Examine, FindMissing, Log, Reject
from bellande_mesh_sync.core.events import DamageFound, Examined, MissingFound, WriteMany
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.core.reader import DamagedRecord
from bellande_mesh_sync.core.spreading.mending import DOUBT_EVERY_NS
from bellande_mesh_sync.ids import Now
from tests.core.making import SHARD, at, author_named, write
from tests.core.shuttle import Node, World

BOB = author_named("bob")


def damaged(record: Record) -> DamagedRecord:
    return DamagedRecord(SHARD, record.dot, record.key)


def written(node: Node, key: str, body: bytes) -> Record:
    node.submit(write(key, body))
    node.world.run()
    (record,) = node.store.siblings([key])[0]
    return record


def knowledge(node: Node) -> Delta:
    return node.core.replica.shard(SHARD).committed.delta()


def mend(node: Node, *rotten: Record) -> None:
    """Some records rot, and it is found out."""
    node.rotten.update(record.dot for record in rotten)
    node.handle(DamageFound(records=tuple(map(damaged, rotten))))
    node.world.run()


def count(node: Node, kind: type[Effect]) -> int:
    return sum(isinstance(effect, kind) for effect in node.effects)


@pytest.fixture
def world() -> World:
    return World("alice", "bob")


def test_a_lone_node_unlearns_what_the_lost_record_had_replaced_too(world: World) -> None:
    alice = world.nodes["alice"]
    first, second = written(alice, "fleet/x", b"1"), written(alice, "fleet/x", b"2")
    other = written(alice, "fleet/y", b"3")
    assert (first.sequence, second.sequence, other.sequence) == (1, 2, 3)
    mend(alice, second)
    world.run()
    assert knowledge(alice) == ((first.author, ((3, 3),)),)
    assert alice.store.siblings(["fleet/x", "fleet/y"]) == [(), (other,)]
    assert alice.core.replica.is_damaged("fleet/x")
    assert alice.core.replica.author == first.author, "no number could be given out twice"
    assert written(alice, "fleet/z", b"4").sequence == 4


def test_a_node_whose_own_last_numbers_are_lost_becomes_a_new_author(world: World) -> None:
    alice = world.nodes["alice"]
    first, last = written(alice, "fleet/x", b"1"), written(alice, "fleet/y", b"2")
    mend(alice, last)
    world.run()
    assert alice.core.replica.author != first.author
    assert alice.store.open().epoch != first.author[32:]
    fresh = written(alice, "fleet/y", b"3")
    assert (fresh.author, fresh.sequence) == (alice.core.replica.author, 1)
    assert not alice.core.replica.is_damaged("fleet/y"), "who writes it anew has given up the old"


def test_what_a_peer_has_comes_back_by_the_normal_pull(world: World) -> None:
    alice, bob = world.nodes.values()
    world.connect("alice", "bob")
    world.run()
    records = [written(alice, f"fleet/{number % 3}", b"%d" % number) for number in range(9)]
    world.run()
    world.assert_converged()
    mend(bob, records[-1])
    assert not bob.ends, "what bob said of his knowledge does not count any more"
    assert len(bob.core.replica.damage) == 1
    world.connect("alice", "bob")
    world.run()
    world.assert_converged()
    assert len(bob.core.replica.damage) == 0
    assert bob.store.open().damaged == ()
    assert bob.core.counters["records_set_aside"] == 1


def test_a_record_that_a_peer_has_replaced_meanwhile_is_damaged_no_more(world: World) -> None:
    alice, bob = world.nodes.values()
    world.connect("alice", "bob")
    lost = written(alice, "fleet/x", b"1")
    world.run()
    world.cut("alice", "bob")
    written(alice, "fleet/x", b"2")
    mend(bob, lost)
    world.run()
    assert bob.core.replica.is_damaged("fleet/x")
    world.connect("alice", "bob")
    world.run()
    world.assert_converged()
    assert not bob.core.replica.is_damaged("fleet/x")


def test_a_write_does_not_replace_what_is_lost_for_it_would_not_cover_what_that_had_replaced(
    world: World,
) -> None:
    alice, bob = world.nodes.values()
    world.connect("alice", "bob")
    written(alice, "fleet/x", b"1")
    lost = written(alice, "fleet/x", b"2")
    world.run()
    mend(bob, lost)
    world.run()
    mine = written(bob, "fleet/x", b"mine")
    assert mine.context == ()
    world.connect("alice", "bob")
    world.run()
    world.assert_converged()
    assert set(bob.store.siblings(["fleet/x"])[0]) == {lost, mine}


def test_nothing_is_concluded_in_a_shard_that_is_in_doubt(world: World) -> None:
    alice = world.nodes["alice"]
    alice.is_examined = False
    lost = written(alice, "fleet/x", b"1")
    alice.handle(DamageFound(records=(damaged(lost),)))
    assert SHARD in alice.core.pulls.held
    alice.rotten.add(lost.dot)
    alice.handle(Examined(SHARD, alice.examine(SHARD)))
    assert SHARD in alice.core.pulls.held, "until it is durable that less is known"
    world.run()
    assert SHARD in alice.core.pulls.held, "and found sound"
    alice.handle(Examined(SHARD, alice.examine(SHARD)))
    assert SHARD not in alice.core.pulls.held


def test_an_examination_that_fails_or_a_full_disk_is_tried_again_at_the_next_repair(world: World) -> None:
    alice = world.nodes["alice"]
    alice.is_examined = False
    lost = written(alice, "fleet/x", b"1")
    alice.handle(DamageFound(records=(damaged(lost),)))
    alice.handle(Examined(SHARD, None))
    assert alice.core.exchange.mending.retry(at()) == [Examine(SHARD)]
    alice.is_disk_full = True
    alice.rotten.add(lost.dot)
    alice.handle(Examined(SHARD, alice.examine(SHARD)))
    world.run()
    assert alice.core.counters["commits_failed"] == 1
    assert knowledge(alice) != ()
    alice.is_disk_full = False
    assert Examine(SHARD) in alice.core.exchange.mending.retry(at())
    alice.rotten.add(lost.dot)
    alice.handle(Examined(SHARD, alice.examine(SHARD)))
    world.run()
    assert knowledge(alice) == ()


def test_a_false_alarm_changes_nothing(world: World) -> None:
    alice = world.nodes["alice"]
    alice.is_examined = False
    record = written(alice, "fleet/x", b"1")
    alice.handle(DamageFound(records=(damaged(record),)))
    assert alice.core.replica.is_damaged("fleet/x")
    alice.handle(Examined(SHARD, alice.examine(SHARD)))
    world.run()
    assert not alice.core.replica.is_damaged("fleet/x")
    assert knowledge(alice) == ((record.author, ((1, 1),)),)


def test_while_more_is_found_it_is_examined_again(world: World) -> None:
    alice = world.nodes["alice"]
    alice.is_examined = False
    records = [written(alice, f"fleet/{number}", b"1") for number in range(3)]
    alice.handle(DamageFound(records=(damaged(records[0]),)))
    alice.handle(DamageFound(records=(damaged(records[1]), damaged(records[0]))))
    assert count(alice, Examine) == 1
    assert count(alice, Log) >= 2
    alice.handle(Examined(SHARD, alice.examine(SHARD)))
    assert count(alice, Examine) == 2
    alice.rotten.update((records[0].dot, records[1].dot))
    alice.handle(Examined(SHARD, alice.examine(SHARD)))
    world.run()
    assert len(alice.core.replica.damage) == 2


def test_a_key_in_doubt_is_not_written_on_a_condition(world: World) -> None:
    alice = world.nodes["alice"]
    lost = written(alice, "fleet/x", b"1")
    mend(alice, lost)
    world.run()
    effects = alice.core.handle(
        WriteMany(99, (write("fleet/x", if_match=""),), "local", 10**9), Now(world.now.mono_ns, 1)
    )
    (rejected,) = [effect for effect in effects if isinstance(effect, Reject)]
    assert (rejected.code, rejected.facts["key"]) == ("corrupt_store", "fleet/x")


def test_a_missing_row_is_unlearned_and_a_sound_unknown_one_is_claimed(world: World) -> None:
    alice = world.nodes["alice"]
    alice.is_examined = False
    records = [written(alice, f"fleet/{number}", b"1") for number in range(3)]
    found = alice.examine(SHARD)
    alice.handle(DamageFound(shards=(SHARD,)))
    author = records[0].author
    alice.handle(
        Examined(
            SHARD,
            examination_of(
                SHARD,
                found.knowledge,
                Knowledge(((author, ((1, 1), (3, 4))),)),
                fingerprint_stored=found.fingerprint_stored,
                fingerprint=(found.fingerprint - fingerprint_of(records[1])) % (1 << 256),
            ),
        )
    )
    world.run()
    assert knowledge(alice) == ((author, ((1, 1), (3, 4))),)


def test_a_peers_word_makes_a_shard_be_examined_only_now_and_then(world: World) -> None:
    mending = world.nodes["alice"].core.exchange.mending
    assert mending.doubt(SHARD, at(1)) == [Examine(SHARD)]
    mending.examined(Examined(SHARD, Examination(SHARD, (), 0, 0)), at(1))
    assert mending.doubt(SHARD, at(2)) == []
    assert mending.doubt(SHARD, at(1 + DOUBT_EVERY_NS / 1e9)) == [Examine(SHARD)]


def test_a_chunk_that_came_back_in_another_way_is_wanted_no_more(world: World) -> None:
    alice = world.nodes["alice"]
    world.connect("alice", "bob")
    world.run()
    ref = ChunkRef(b"c" * 32, 5)
    core: NodeCore = alice.core
    effects = core.exchange.mending.found(DamageFound(chunks=(ref,)), at())
    (look,) = [effect for effect in effects if isinstance(effect, FindMissing)]
    assert core.exchange.mending.chunk_count == 1
    core.handle(MissingFound(look.fetch, (), False), at())
    assert core.exchange.mending.chunk_count == 0


def test_removing_numbers_leaves_just_the_others() -> None:
    rng = random.Random(1)
    for _ in range(300):
        held = set(rng.sample(range(1, 40), rng.randrange(40 - 1)))
        intervals = IntervalSet((number, number) for number in held)
        low = rng.randrange(1, 40)
        high = rng.randrange(low, 40)
        intervals.remove(low, high)
        assert {n for a, b in intervals for n in range(a, b + 1)} == held - set(range(low, high + 1))
        assert list(intervals) == list(IntervalSet(intervals))
        known = Knowledge(((BOB, tuple(IntervalSet((n, n) for n in held))),))
        out = IntervalSet((n, n) for n in rng.sample(range(1, 40), 20))
        known.remove(((BOB, tuple(out)), (author_named("carol"), ((1, 3),))))
        assert {n for a, b in known.of(BOB) for n in range(a, b + 1)} == {
            n for n in held if not out.contains(n)
        }


def test_a_batch_of_mending_is_kept_by_a_store_in_memory(world: World) -> None:
    alice = world.nodes["alice"]
    record = written(alice, "fleet/x", b"1")
    alice.store.apply([Batch(set_aside=(damaged(record),), relearned=((SHARD, record.author, ()),))])
    state = alice.store.open()
    assert state.damaged == (damaged(record),)
    assert state.shards[0].knowledge == ()
    alice.store.apply([Batch(healed=((SHARD, record.dot),))])
    assert alice.store.open().damaged == ()


def test_small_pages_and_credits_do_not_matter() -> None:
    world = World("alice", "bob", config=CoreConfig(credit_bytes=6000, page_bytes=900, streams_max=2))
    alice, bob = world.nodes.values()
    world.connect("alice", "bob")
    records = [written(alice, f"fleet/{number % 7}", b"%d" % number * 50) for number in range(40)]
    world.run()
    mend(bob, records[-1], records[-3])
    world.run()
    world.connect("alice", "bob")
    world.run()
    world.assert_converged()
