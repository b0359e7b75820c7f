"""Whole nodes: two or three cores, joined by hand."""

from __future__ import annotations

import random

import msgspec
import pytest
from blake3 import blake3

from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.config import SECOND_NS, CoreConfig
from bellande_mesh_sync.core.members.member import MemberState
from bellande_mesh_sync.core.messages import (
    CHUNKS_LANE,
    RECORDS_LANE,
    ChunkPart,
    Credit,
    Goodbye,
    Message,
    Records,
    ShardSummary,
    Summary,
    Want,
)
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.core.spreading.pulls import ENDED_MAX
from bellande_mesh_sync.core.spreading.weight import weight_of
from bellande_mesh_sync.store.memory import MemoryStore
from tests.core.making import (
    LINKS_ALONE,
    SHARD,
    at,
    author_named,
    deletion,
    hello_of,
    large_write,
    node_of_name,
    record,
    write,
)
from tests.core.shuttle import World

CHUNKS = [bytes([n]) * 20_000 for n in range(3)]


def pair(config: CoreConfig | None = None) -> World:
    world = World("alice", "bob", config=config)
    world.run()
    world.connect("alice", "bob")
    world.run()
    return world


def triangle(config: CoreConfig | None = None) -> World:
    world = World("alice", "bob", "carol", config=config)
    world.run()
    for a, b in (("alice", "bob"), ("alice", "carol"), ("bob", "carol")):
        world.connect(a, b)
    world.run()
    return world


def resolved(world: World, name: str, request: int) -> tuple[on.Receipt, ...]:
    answer = world.nodes[name].answers[request]
    assert isinstance(answer, do.Resolve), answer
    found: tuple[on.Receipt, ...] = answer.result
    return found


def rejected(world: World, name: str, request: int) -> str:
    answer = world.nodes[name].answers[request]
    assert isinstance(answer, do.Reject), answer
    return answer.code


def add_chunks(world: World, name: str) -> None:
    world.nodes[name].store.add_chunks([(blake3(chunk).digest(), chunk) for chunk in CHUNKS])


# -- writing and acks --------------------------------------------------------------------------


def test_a_write_reaches_every_disk_before_all_is_acked() -> None:
    world = triangle()
    alice, carol = world.nodes["alice"], world.nodes["carol"]
    carol.is_disk_slow = True
    request = alice.submit(write("fleet/a", b"hello"), ack="all")
    world.run()
    assert request not in alice.answers
    carol.is_disk_slow = False
    world.run()
    (receipt,) = resolved(world, "alice", request)
    assert set(receipt.nodes) == {node.core.me.node for node in world.nodes.values()}
    assert all(node.get("fleet/a") == {b"hello"} for node in world.nodes.values())
    world.assert_converged()


def test_a_record_crosses_each_link_once() -> None:
    world = triangle()
    for number in range(50):
        world.nodes["alice"].submit(write(f"fleet/{number}"))
    world.pass_time(1)
    assert all(node.core.counters["records_duplicate"] == 0 for node in world.nodes.values())
    assert not world.nodes["bob"].seen(Want)
    world.assert_converged()


def test_nothing_is_told_or_acked_before_it_is_durable() -> None:
    world = pair()
    alice = world.nodes["alice"]
    alice.is_disk_slow = True
    request = alice.submit(write("fleet/a"))
    world.run()
    assert alice.answers == {}
    assert alice.seen(Records) == []
    alice.is_disk_slow = False
    world.run()
    assert resolved(world, "alice", request)
    assert world.nodes["bob"].get("fleet/a") == {b"value"}


def test_an_ack_that_does_not_come_in_time_is_a_timeout_and_the_write_stays() -> None:
    world = pair()
    world.cut("alice", "bob")
    request = world.nodes["alice"].submit(write("fleet/a"), ack="all", timeout_s=2)
    world.pass_time(1.9)
    assert request not in world.nodes["alice"].answers
    world.pass_time(0.2)
    assert rejected(world, "alice", request) == "ack_timeout"
    assert world.nodes["alice"].get("fleet/a") == {b"value"}


def test_a_caller_is_not_told_that_its_write_stays_before_it_is_on_disk() -> None:
    world = pair()
    alice = world.nodes["alice"]
    alice.is_disk_slow = True
    request = alice.submit(write("fleet/a"), ack="all", timeout_s=2)
    world.pass_time(2.1)
    assert request not in alice.answers
    world.cut("alice", "bob")
    alice.is_disk_slow = False
    world.run()
    assert rejected(world, "alice", request) == "ack_timeout"
    assert alice.get("fleet/a") == {b"value"}


def test_a_write_waits_for_the_ack_over_a_link_that_opens_later() -> None:
    world = pair()
    world.cut("alice", "bob")
    request = world.nodes["alice"].submit(write("fleet/a"), ack="all")
    world.run()
    world.connect("bob", "alice")
    world.run()
    assert resolved(world, "alice", request)


def test_if_match_is_refused_with_the_key_and_nothing_is_written() -> None:
    world = pair()
    alice = world.nodes["alice"]
    alice.submit(write("fleet/a", b"1"))
    request = alice.submit(write("fleet/b", b"2"), write("fleet/a", b"2", if_match=""))
    world.run()
    assert rejected(world, "alice", request) == "precondition_failed"
    assert alice.get("fleet/b") == set()


# -- repair ------------------------------------------------------------------------------------


def test_after_a_partition_both_sides_hold_the_writes_of_both_and_a_conflict_is_kept() -> None:
    world = triangle()
    world.nodes["alice"].submit(write("fleet/both", b"before"))
    world.run()
    world.cut("alice", "bob")
    world.cut("alice", "carol")
    world.nodes["alice"].submit(write("fleet/a", b"a"), write("fleet/both", b"from alice"))
    world.nodes["bob"].submit(write("fleet/b", b"b"), write("fleet/both", b"from bob"))
    world.run()
    assert world.nodes["carol"].get("fleet/b") == {b"b"}
    world.connect("carol", "alice")
    world.pass_time(1)
    world.assert_converged()
    for node in world.nodes.values():
        assert node.get("fleet/both") == {b"from alice", b"from bob"}
        assert node.get("fleet/a") == {b"a"}


def test_what_a_push_missed_is_repaired_by_the_next_comparison() -> None:
    world = pair()
    alice = world.nodes["alice"]
    alice.submit(write("fleet/a"))
    alice.commit()
    world.end("alice", "bob").outbox.clear()  # As if the push had never been sent.
    world.run()
    assert world.nodes["bob"].get("fleet/a") == set()
    world.pass_time(40)
    assert world.nodes["bob"].get("fleet/a") == {b"value"}
    world.assert_converged()


def test_a_tombstone_beats_the_old_copy_of_a_node_that_was_away() -> None:
    world = triangle()
    world.nodes["alice"].submit(write("fleet/a"))
    world.run()
    world.cut("alice", "carol")
    world.cut("bob", "carol")
    world.nodes["bob"].submit(deletion("fleet/a"))
    world.run()
    assert world.nodes["carol"].get("fleet/a") == {b"value"}
    world.connect("carol", "alice")
    world.pass_time(1)
    assert all(node.get("fleet/a") == {None} for node in world.nodes.values())
    world.assert_converged()


def test_a_link_lost_in_mid_stream_leaves_nothing_claimed_that_is_not_there() -> None:
    world = World("alice", "bob", config=CoreConfig(page_bytes=1000, credit_bytes=4000))
    alice = world.nodes["alice"]
    for number in range(60):
        alice.submit(write(f"fleet/{number % 40}", bytes(500)))
    world.run()
    for count in range(1, 30, 4):
        world.rng = random.Random(count)
        world.connect("alice", "bob")
        for _ in range(count):
            world.step()
        world.cut("alice", "bob")
        world.rng = None
        world.run()
        world.check()
    world.connect("alice", "bob")
    world.pass_time(2)
    world.assert_converged()


def test_overwritten_records_are_claimed_and_never_sent() -> None:
    world = World("alice", "bob")
    for number in range(100):
        world.nodes["alice"].submit(write("fleet/a", b"%d" % number))
    world.run()
    world.connect("bob", "alice")
    world.run()
    bob = world.nodes["bob"]
    assert bob.core.counters["records_received"] == 1
    assert bob.core.replica.shard(SHARD).committed.contiguous(world.nodes["alice"].core.replica.author) == 100
    world.assert_converged()


def test_a_new_node_learns_what_is_obsolete_from_more_writers_than_streams_may_wait() -> None:
    """It asks each of them for that one's own dots, and all know of all; no timeout, no comparison helps."""
    writers = [f"writer-{number}" for number in range(ENDED_MAX + 3)]
    world = World("hub", "alice", *writers, config=CoreConfig(sync_interval_ns=3600 * SECOND_NS))
    for name in writers:
        world.connect("hub", name)
        world.run()
        world.nodes[name].submit(write("fleet/a"))
        world.run()
    for name in writers:
        world.connect("alice", name)
    world.pass_time(1)
    world.assert_converged()
    assert len(world.nodes["alice"].core.pulls) == 0


def test_more_than_the_credit_arrives_all_the_same() -> None:
    world = pair(CoreConfig(credit_bytes=20_000, page_bytes=4000))
    alice = world.nodes["alice"]
    alice.is_disk_slow = True
    for number in range(600):
        alice.submit(write(f"fleet/{number}", bytes(1000)))
    alice.is_disk_slow = False  # One sync for all of them, so all are pushed at once.
    world.pass_time(5)
    assert world.nodes["alice"].core.counters["records_held_back"] > 0
    world.assert_converged()


def test_credit_comes_back_in_full_for_duplicates_refusals_and_refused_commits() -> None:
    config = CoreConfig(credit_bytes=1600)  # Given back from 100 bytes on.
    world = pair(config)
    bob = world.nodes["bob"]
    bob.is_disk_slow = True
    author = author_named("dave")
    good = record("fleet/a", author, 1, body=bytes(400))
    damaged = record("fleet/b", author, 2, body=bytes(400), stamp=1)
    damaged = msgspec.structs.replace(damaged, digest=bytes(32))
    ahead = record("fleet/c", author, 3, body=bytes(400), stamp=(world.now.wall_ms + 99_999) << 16)
    world.tell("alice", "bob", Records(SHARD, 0, (good, good, damaged, ahead)))
    world.tell("alice", "bob", Records(SHARD, 0, (good,)))
    before = sum(credit.amount_bytes for credit in bob.seen(Credit))
    bob.is_disk_full = True
    bob.is_disk_slow = False
    world.run()
    bob.is_disk_full = False
    after = sum(credit.amount_bytes for credit in bob.seen(Credit))
    assert before == weight_of(good) * 2 + weight_of(damaged) + weight_of(ahead)
    assert after == before + weight_of(good)
    assert bob.core.counters["clock_ahead"] == bob.core.counters["records_damaged"] == 1
    assert bob.get("fleet/a") == set()


# -- large values ------------------------------------------------------------------------------


def test_a_large_value_counts_only_when_its_chunks_are_here() -> None:
    world = pair()
    world.is_dialling = True
    add_chunks(world, "alice")
    request = world.nodes["alice"].submit(large_write("fleet/map", CHUNKS), ack="all")
    world.run()
    assert resolved(world, "alice", request)
    bob = world.nodes["bob"]
    assert bob.store.has_chunks([blake3(chunk).digest() for chunk in CHUNKS]) == [True] * 3
    assert any(e.lane == CHUNKS_LANE for e in bob.effects if isinstance(e, do.Dial))
    world.assert_converged()


def test_chunks_share_the_link_for_records_when_no_other_can_be_opened() -> None:
    world = pair()
    add_chunks(world, "alice")
    world.nodes["alice"].submit(large_write("fleet/map", CHUNKS))
    world.run()
    world.assert_converged()
    assert len(world.nodes["bob"].ends) == 1


def test_a_large_value_whose_chunks_nobody_has_is_not_claimed() -> None:
    world = pair()
    world.nodes["alice"].submit(large_write("fleet/map", CHUNKS))
    world.pass_time(3)
    assert world.nodes["bob"].core.counters["fetches_abandoned"] >= 1
    assert world.nodes["bob"].get("fleet/map") == set()
    add_chunks(world, "alice")
    world.pass_time(60)
    world.assert_converged()


# -- the disk ----------------------------------------------------------------------------------


def test_a_full_disk_rejects_writes_and_works_again_when_there_is_room() -> None:
    world = pair()
    alice = world.nodes["alice"]
    alice.submit(write("fleet/a", b"before"))
    world.run()
    alice.is_disk_full = True
    lost = alice.submit(write("fleet/a", b"lost"), ack="all")
    world.run()
    assert rejected(world, "alice", lost) == "disk_full"
    assert alice.get("fleet/a") == {b"before"}
    alice.is_disk_full = False
    request = alice.submit(write("fleet/a", b"after"), ack="all")
    world.run()
    assert resolved(world, "alice", request)[0].version.endswith(".2")
    assert world.nodes["bob"].get("fleet/a") == {b"after"}
    world.assert_converged()


def test_what_a_full_disk_could_not_take_from_a_peer_comes_again() -> None:
    world = pair()
    bob = world.nodes["bob"]
    bob.is_disk_full = True
    request = world.nodes["alice"].submit(write("fleet/a"), ack="all", timeout_s=100)
    world.run()
    assert request not in world.nodes["alice"].answers
    bob.is_disk_full = False
    world.pass_time(60)
    assert resolved(world, "alice", request)
    world.assert_converged()


def test_too_many_uncommitted_bytes_are_refused_as_busy() -> None:
    world = World("alice", config=CoreConfig(uncommitted_bytes_max=5000))
    alice = world.nodes["alice"]
    alice.is_disk_slow = True
    requests = [alice.submit(write(f"fleet/{n}", bytes(2000))) for n in range(5)]
    assert [rejected(world, "alice", r) for r in requests[3:]] == ["busy", "busy"]
    alice.is_disk_slow = False
    world.run()
    assert all(resolved(world, "alice", r) for r in requests[:3])
    assert resolved(world, "alice", alice_again(world))


def alice_again(world: World) -> int:
    request = world.nodes["alice"].submit(write("fleet/again"))
    world.run()
    return request


def test_a_restarted_node_goes_on_where_it_was() -> None:
    world = pair()
    world.nodes["alice"].submit(write("fleet/a", b"1"))
    world.run()
    world.crash("alice")
    alice = world.add("alice")
    world.run()
    world.connect("alice", "bob")
    request = alice.submit(write("fleet/a", b"2"), ack="all")
    world.run()
    assert resolved(world, "alice", request)[0].version.endswith(".2")
    assert world.nodes["bob"].get("fleet/a") == {b"2"}
    world.assert_converged()


def test_a_store_that_was_overtaken_takes_a_new_epoch_and_loses_nothing() -> None:
    world = pair()
    alice = world.nodes["alice"]
    for number in range(5):
        alice.submit(write(f"fleet/{number}", b"first run"))
    world.run()
    old_author = alice.core.replica.author
    world.crash("alice")
    backup = MemoryStore(new_epoch=lambda: old_author[32:])  # From before the first write.
    alice = world.add("alice", store=backup)
    world.run()
    assert alice.core.replica.author == old_author
    world.connect("alice", "bob")
    world.run()
    assert alice.core.replica.author != old_author
    assert alice.core.counters["epochs_renewed"] == 1
    request = alice.submit(write("fleet/0", b"second run"), ack="all")
    world.run()
    assert resolved(world, "alice", request)
    assert alice.get("fleet/4") == {b"first run"}
    assert world.nodes["bob"].get("fleet/0") == {b"second run"}
    assert backup.open().epoch == alice.core.replica.author[32:]
    world.assert_converged()


# -- members and links -------------------------------------------------------------------------


def test_a_node_that_leaves_is_known_as_left_and_not_waited_for() -> None:
    world = triangle()
    world.nodes["carol"].is_disk_slow = True
    request = world.nodes["alice"].submit(write("fleet/a"), ack="all")
    world.run()
    assert request not in world.nodes["alice"].answers
    world.nodes["carol"].handle(on.Leave(99))
    world.run()
    assert 99 in world.nodes["carol"].answers
    assert resolved(world, "alice", request)
    member = world.nodes["alice"].core.directory.get(node_of_name("carol"))
    assert member is not None
    assert member.state == MemberState.LEFT
    assert world.nodes["carol"].ends == {}


def test_who_left_and_returns_is_alive_and_catches_up() -> None:
    world = pair()
    world.nodes["bob"].handle(on.Leave(99))
    world.run()
    world.crash("bob")
    world.nodes["alice"].submit(write("fleet/a"))
    world.run()
    world.add("bob")
    world.run()
    world.connect("bob", "alice")
    world.run()
    member = world.nodes["alice"].core.directory.get(node_of_name("bob"))
    assert member is not None
    assert member.state == MemberState.ALIVE
    world.assert_converged()


def test_nodes_find_each_other_through_one_they_both_know() -> None:
    world = World("alice")
    world.is_dialling = True
    world.add("bob", bootstrap=["alice:1"])
    world.add("carol", bootstrap=["alice:1"])
    world.pass_time(5)
    for node in world.nodes.values():
        assert len(node.core.links.linked_peers()) == 2
    world.nodes["carol"].submit(write("fleet/a"))
    world.run()
    world.assert_converged()


def test_crossed_dials_leave_one_link() -> None:
    world = World("alice", "bob")
    world.connect("alice", "bob")
    world.connect("bob", "alice")
    world.pass_time(2)
    left, right = world.nodes["alice"].core.links, world.nodes["bob"].core.links
    assert len(left.records_links()) == len(right.records_links()) == 1
    assert left.records_links()[0].is_outbound != right.records_links()[0].is_outbound


def test_a_silent_link_is_pinged_and_then_hung_up() -> None:
    world = pair(LINKS_ALONE)
    end = world.end("bob", "alice")
    end.is_held = True
    world.pass_time(14)
    assert world.nodes["alice"].core.links.to(node_of_name("bob")) is not None
    world.pass_time(3)
    assert world.nodes["alice"].core.links.to(node_of_name("bob")) is None
    assert world.nodes["alice"].core.counters["links_silent"] == 1


def test_a_quiet_link_that_answers_pings_stays() -> None:
    world = pair()
    world.pass_time(120)
    link = world.nodes["alice"].core.links.to(node_of_name("bob"))
    assert link is not None
    assert link.rtt_ns >= 0


@pytest.mark.parametrize(
    "message",
    [hello_of("bob"), Goodbye("closing", "bye"), ChunkPart(bytes(32), 0, 1, b"x")],
    ids=lambda message: type(message).__name__,
)
def test_a_message_that_must_not_reach_the_core_closes_the_link(message: Message) -> None:
    world = pair()
    world.tell("bob", "alice", message, Records(SHARD, 0, (record("fleet/a", author_named("dave"), 1),)))
    alice = world.nodes["alice"]
    assert [effect.code for effect in alice.effects if isinstance(effect, do.Hangup)] == ["bad_frame"]
    assert alice.core.links.to(node_of_name("bob")) is None
    world.run()
    assert alice.get("fleet/a") == set()  # What came behind it does not count.


def test_a_note_goes_over_an_open_link_or_is_unroutable() -> None:
    world = pair()
    alice, bob = world.nodes["alice"], world.nodes["bob"]
    alice.handle(on.SendNote(71, node_of_name("bob"), "alerts", b"hi", b"1"))
    alice.handle(on.SendNote(72, None, "alerts", b"all", b"2"))
    alice.handle(on.SendNote(73, node_of_name("carol"), "alerts", b"hi", b"3"))
    world.run()
    assert [effect.body for effect in bob.effects if isinstance(effect, do.Deliver)] == [b"hi", b"all"]
    assert rejected(world, "alice", 73) == "unreachable"


def test_equal_knowledge_with_unequal_fingerprints_is_reported() -> None:
    world = pair()
    world.nodes["alice"].submit(write("fleet/a"))
    world.run()
    alice = world.nodes["alice"]
    delta = alice.core.replica.shard(SHARD).committed.delta()
    world.tell("bob", "alice", Summary((ShardSummary(SHARD, delta, b"\1" * 32),)))
    assert alice.core.counters["fingerprint_mismatches"] == 1
    assert [effect.code for effect in alice.effects if isinstance(effect, do.Log)] == ["fingerprint_mismatch"]


def test_the_same_events_give_the_same_effects() -> None:
    def story() -> list[str]:
        world = World("alice", "bob", "carol", seed=7)
        world.is_dialling = True
        for a, b in (("alice", "bob"), ("bob", "carol"), ("carol", "alice")):
            world.connect(a, b)
        for number in range(30):
            world.nodes[["alice", "bob", "carol"][number % 3]].submit(write(f"fleet/{number % 7}"), ack="all")
        world.pass_time(20)
        return [repr(effect) for node in world.nodes.values() for effect in node.effects]

    assert story() == story()


def opened(core: NodeCore, number: int, name: str, lane: int, *, dial: int = 0) -> list[do.Effect]:
    hello = hello_of(name, lane=lane)
    return core.handle(on.LinkOpened(number, node_of_name(name), hello, f"{name}:1", dial), at(number))


def test_a_link_for_chunks_makes_room_for_one_for_records_and_not_the_other_way_round() -> None:
    world = World("alice", config=CoreConfig(connections_max=3))
    world.run()
    core = world.nodes["alice"].core
    assert core is not None
    opened(core, 1, "bob", RECORDS_LANE)
    opened(core, 2, "bob", CHUNKS_LANE)
    opened(core, 3, "bob", CHUNKS_LANE)
    hangups = [e for e in opened(core, 4, "carol", RECORDS_LANE) if isinstance(e, do.Hangup)]
    assert [(hangup.link, hangup.code) for hangup in hangups] == [(2, "closing")]
    assert core.links.to(node_of_name("carol")) is not None
    refused, *_ = opened(core, 5, "carol", CHUNKS_LANE)
    assert isinstance(refused, do.Hangup)
    assert (refused.link, refused.code) == (5, "busy")
    opened(core, 6, "dave", RECORDS_LANE)
    hangups = [e for e in opened(core, 7, "erin", RECORDS_LANE) if isinstance(e, do.Hangup)]
    assert [(hangup.link, hangup.code) for hangup in hangups] == [(7, "busy")]
    assert len(core.links) == 3
    assert core.directory.is_live(node_of_name("erin")), "without a link, and a member all the same"
