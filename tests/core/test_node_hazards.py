"""Whole nodes where something goes wrong: races, restored homes, and peers that mean harm."""

from __future__ import annotations

import random

import msgspec
import pytest
from blake3 import blake3

from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.members.member import MemberRecord, signed
from bellande_mesh_sync.core.members.swim.doubles import mark_of
from bellande_mesh_sync.core.members.swim.messages import (
    Ack,
    Buckets,
    Datagram,
    Digest,
    Entries,
    Entry,
    Gossip,
    Line,
    Lines,
    SleepNotice,
    Standing,
    StreamPing,
    StreamPong,
    Verdict,
)
from bellande_mesh_sync.core.messages import (
    ChunkMissing,
    ChunkWant,
    Credit,
    Have,
    MemberDatagram,
    MemberStream,
    Message,
    Note,
    Ping,
    Pong,
    ReachAnswer,
    ReachWant,
    Records,
    RelayedNote,
    ShardSummary,
    StreamEnd,
    Summary,
    SurveyReport,
    SurveyWant,
    Want,
)
from bellande_mesh_sync.core.survey import LinkReport
from bellande_mesh_sync.ids import Author, NodeId, Shard
from bellande_mesh_sync.store.memory import MemoryStore
from bellande_mesh_sync.wire.checks import check_message
from bellande_mesh_sync.wire.limits import FRAME_BYTES_MAX, NUMBER_MAX
from tests.core.making import (
    SHARD,
    author_named,
    deletion,
    hello_of,
    large_record,
    member_of,
    node_of_name,
    record,
    sign_as,
    write,
)
from tests.core.shuttle import World

CHUNKS = [bytes([n]) * 20_000 for n in range(3)]
EVERYTHING = ((author_named("dave"), ((1, NUMBER_MAX),)),)


def pair(config: CoreConfig | None = None) -> World:
    world = World("alice", "bob", config=config)
    world.run()
    world.connect("alice", "bob")
    world.run()
    return world


# -- nothing is claimed without its record -----------------------------------------------------


def test_a_node_that_was_away_learns_what_was_replaced_meanwhile_from_several_authors() -> None:
    world = World("alice", "bob", "carol")
    world.run()
    for a, b in (("alice", "bob"), ("alice", "carol"), ("bob", "carol")):
        world.connect(a, b)
    world.run()
    world.cut("carol", "alice")
    world.cut("carol", "bob")
    for number in range(6):
        world.nodes["alice"].submit(write("fleet/a", b"%d" % number))
        world.nodes["bob"].submit(write("fleet/b", b"%d" % number))
        world.run()
    world.connect("carol", "bob")
    world.connect("carol", "alice")
    world.pass_time(100)
    world.assert_converged()


def test_a_large_value_that_is_pushed_and_streamed_at_once_is_not_mistaken_for_obsolete() -> None:
    """Carol streams what alice is pushing: the record is here, its chunks are not."""
    world = World("bob")
    world.run()
    bob = world.nodes["bob"]
    alice, carol = author_named("alice"), node_of_name("carol")
    large = large_record("fleet/map", alice, 1, CHUNKS)
    world.written[SHARD, large.dot] = large
    for number, name in ((1, "alice"), (2, "carol")):
        bob.handle(on.LinkOpened(number, node_of_name(name), hello_of(name), f"{name}:1", 0))
    dots = ((alice, ((1, 1),)),)
    bob.handle(on.Received(2, (Have(SHARD, dots),), 9))  # Alice is linked, so bob waits for her push,
    world.pass_time(0.3)  # which is late: he asks carol.
    (want,) = bob.seen(Want)
    bob.handle(on.Received(1, (Records(SHARD, 0, (large,)),), 9))  # The push.
    bob.handle(
        on.Received(2, (Records(SHARD, want.stream, (large,)), StreamEnd(want.stream, SHARD, dots)), 9)
    )
    world.run()
    world.check()
    assert not bob.core.replica.shard(SHARD).seen.contains(*large.dot)
    bob.store.add_chunks([(blake3(chunk).digest(), chunk) for chunk in CHUNKS])
    (lane,) = [effect for effect in bob.effects if isinstance(effect, do.Dial) and effect.lane == 1][-1:]
    assert lane.peer in (node_of_name("alice"), carol)
    bob.handle(on.ChunksStored(1, tuple(blake3(chunk).digest() for chunk in CHUNKS)))
    world.run()
    assert bob.store.siblings(["fleet/map"])[0] == (large,)
    world.check()


def test_records_for_another_shard_than_their_keys_are_refused() -> None:
    world = pair()
    alice = world.nodes["alice"]
    alice.submit(write("fleet/a", b"mine"))
    world.run()
    author = alice.core.replica.author
    forged = record("fleet/a", author_named("dave"), 1, context=((author, 1, ()),))
    world.tell("bob", "alice", Records(Shard("fleet/7"), 0, (forged,)))
    world.run()
    assert alice.get("fleet/a") == {b"mine"}
    world.check()


def test_a_number_that_no_store_can_hold_is_refused() -> None:
    """Stores keep 40 bits of it; SQLite's would fail the commit, and with it the whole node."""
    world = pair()
    author = author_named("dave")
    world.tell("bob", "alice", Records(SHARD, 0, (record("fleet/a", author, 1 << 40, stamp=1),)))
    world.run()
    assert not world.nodes["alice"].core.replica.shard(SHARD).seen.contains(author, 1 << 40)


# -- restored and cloned homes -----------------------------------------------------------------


def overtaken() -> World:
    """Alice runs on a copy of her store from before her first write, which bob has."""
    world = pair()
    alice = world.nodes["alice"]
    epoch = alice.core.replica.author[32:]
    for number in range(3):
        alice.submit(write(f"fleet/{number}", b"first run"))
    world.run()
    world.crash("alice")
    backup = MemoryStore(new_epoch=lambda: epoch)
    backup.apply([do.Batch(members=(member_of("bob"),))])
    world.add("alice", store=backup)
    world.run()
    return world


def test_a_write_under_a_number_that_others_know_from_before_is_not_acked_by_them() -> None:
    world = overtaken()
    alice = world.nodes["alice"]
    request = alice.submit(write("fleet/new", b"second run"), ack="one")
    world.run()
    world.connect("alice", "bob")
    world.pass_time(60)
    is_acked = isinstance(alice.answers[request], do.Resolve)
    assert not is_acked or world.nodes["bob"].get("fleet/new") == {b"second run"}


def told(*records: MemberRecord) -> MemberStream:
    return MemberStream(Entries(tuple(Entry(record, Standing.ALIVE, 0, None) for record in records), ()))


def clone_of(own: MemberRecord, started_ms: int, boot: bytes) -> MemberRecord:
    """What another run with the same key answers to our record."""
    name = own.name
    record = msgspec.structs.replace(
        member_of(name, own.incarnation + 1), started_ms=started_ms, boot=boot, more=mark_of(own)
    )
    return signed(record, sign_as(name))


@pytest.mark.parametrize(
    ("started_ms", "boot", "codes"), [(1, b"clone-01", ["identity_conflict"]), (0, bytes(8), [])]
)
def test_of_a_node_and_its_clone_the_one_that_began_earlier_stops(
    started_ms: int, boot: bytes, codes: list[str]
) -> None:
    """Each would go above the other's incarnation, for ever and on every disk of the mesh."""
    world = pair()
    bob = world.nodes["bob"]
    first = bob.core.directory.own.incarnation
    for _ in range(20):
        own = bob.core.directory.own
        world.tell("alice", "bob", told(clone_of(own, started_ms, boot)))
        world.run()
    assert [effect.code for effect in bob.seen(do.Stop)] == codes
    assert bob.core.directory.own.incarnation < first + 200


# -- acks --------------------------------------------------------------------------------------


def test_one_other_disk_is_enough_for_one_even_if_its_node_was_not_known_before() -> None:
    world = World("alice", "bob")
    world.run()
    request = world.nodes["alice"].submit(write("fleet/a"), ack="one")
    world.run()
    world.connect("alice", "bob")
    world.run()
    assert isinstance(world.nodes["alice"].answers.get(request), do.Resolve)


def test_no_writes_at_all_are_done_at_once() -> None:
    world = World("alice")
    request = world.nodes["alice"].submit(ack="all")
    world.run()
    assert isinstance(world.nodes["alice"].answers.get(request), do.Resolve)


# -- large values ------------------------------------------------------------------------------


def test_chunks_of_a_peer_without_an_address_come_over_the_link_for_records() -> None:
    world = World("bob")
    world.run()
    bob = world.nodes["bob"]
    hello = hello_of("alice")
    hello = type(hello)(
        hello.protocol_oldest, hello.protocol_newest, hello.mesh, hello.node, hello.boot, hello.lane,
        member_of("alice", addresses=()), hello.credit_bytes,
    )  # fmt: skip
    bob.handle(on.LinkOpened(1, node_of_name("alice"), hello, "10.0.0.1:4711", 0))
    bob.handle(
        on.Received(
            1, (Records(SHARD, 0, (large_record("fleet/map", author_named("alice"), 1, CHUNKS),)),), 9
        )
    )
    world.pass_time(2)
    assert sum(len(want.hashes) for want in bob.seen(ChunkWant)) == len(CHUNKS)


# -- bounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["have", "summary", "want", "records"])
def test_shards_a_peer_only_talks_about_leave_nothing_behind(kind: str) -> None:
    world = pair()
    alice = world.nodes["alice"]
    messages: list[Message] = []
    for number in range(100):
        shard = Shard(f"made-up-{number}/0")
        about: dict[str, Message] = {
            "have": Have(shard, ()),
            "summary": Summary((ShardSummary(shard, (), bytes(32)),)),
            "want": Want(number + 1, shard, ()),
            "records": Records(shard, 0, ()),
        }
        messages.append(about[kind])
    world.tell("bob", "alice", *messages)
    world.run()
    assert [shard for shard, _ in alice.core.replica.shards() if shard != SHARD] == []


def test_a_peer_cannot_make_us_change_our_epoch_over_a_shard_that_does_not_exist() -> None:
    world = pair()
    alice = world.nodes["alice"]
    alice.submit(write("fleet/a"))
    world.run()
    author = alice.core.replica.author
    for number in range(5):
        dots = ((alice.core.replica.author, ((1, NUMBER_MAX),)),)
        world.tell("bob", "alice", Have(Shard(f"made-up-{number}/0"), dots))
    assert alice.core.counters["epochs_renewed"] <= 1
    assert alice.core.replica.author == author or alice.core.counters["epochs_renewed"] == 1


def test_no_message_is_larger_than_a_frame_however_scattered_the_knowledge_and_many_the_members() -> None:
    """After a link broke in mid-stream knowledge is as full of holes as there were replaced writes."""
    world = World("bob")
    scattered = MemoryStore(new_epoch=lambda: b"epoch-01")
    changes = tuple(do.IntervalChange(SHARD, author_named("dave"), n, n, ()) for n in range(2, 400_000, 2))
    members = tuple(member_of(f"node-{number}") for number in range(5_000))
    scattered.apply([do.Batch(intervals=changes, members=members)])
    alice = world.add("alice", store=scattered)
    world.connect("alice", "bob")
    alice.handle(on.Received(next(iter(alice.ends)), (Want(1, SHARD, EVERYTHING),), 9))
    while alice.jobs:
        alice.handle(alice.jobs.popleft())
    alice.commit()
    for message in [effect.message for effect in alice.effects if isinstance(effect, do.Send)]:
        size = len(msgspec.msgpack.encode(message))
        assert size < FRAME_BYTES_MAX - 1000, f"a {type(message).__name__} of {size} bytes"
        check_message(message)


def hostile_messages(world: World) -> list[Message]:
    alice = world.nodes["alice"].core.replica.author
    dave, zero = author_named("dave"), Author(bytes(40))
    odd: list[tuple[Author, tuple[tuple[int, int], ...]]] = [
        (author, ((1, 1), (3, 3), (NUMBER_MAX, NUMBER_MAX))) for author in sorted((alice, dave, zero))
    ]
    return [
        Have(SHARD, tuple(odd)),
        Have(SHARD, ((alice, ((1, NUMBER_MAX),)),)),
        Want(1, SHARD, EVERYTHING),
        Want(1, SHARD, ()),
        Want(NUMBER_MAX, Shard("nowhere/3"), EVERYTHING),
        StreamEnd(1, SHARD, EVERYTHING),
        StreamEnd(NUMBER_MAX, SHARD, ()),
        Records(SHARD, 0, ()),
        Records(SHARD, NUMBER_MAX, (record("fleet/a", alice, 1 << 30, context=((alice, NUMBER_MAX, ()),)),)),
        Records(SHARD, 1, (record("fleet/a", dave, 1, stamp=0), record("fleet/a", dave, 1, stamp=0))),
        Records(SHARD, 0, (large_record("fleet/x", dave, 2, CHUNKS),)),
        Summary((ShardSummary(SHARD, EVERYTHING, bytes(32)), ShardSummary(SHARD, (), bytes(32)))),
        Summary(()),
        Credit(0),
        Credit(1 << 40),
        Ping(NUMBER_MAX),
        Pong(NUMBER_MAX),
        Pong(0),
        Note(b"", "", b""),
        ChunkWant((bytes(32),) * 3),
        ChunkWant(()),
        ChunkMissing((bytes(32), blake3(CHUNKS[0]).digest())),
        told(),
        told(member_of("alice", 5), member_of("bob", 9), member_of("eve", NUMBER_MAX - 1)),
        told(member_of("eve", 3, left=True)),
        MemberStream(Digest(bytes(16))),
        MemberStream(Buckets(bytes(8 * 256), Verdict(node_of_name("alice"), 1, 3, node_of_name("bob")))),
        MemberStream(Lines(b"\xff" * 32, (Line(node_of_name("eve"), 7, 1), Line(NodeId(bytes(32)), 0, 5)))),
        MemberStream(StreamPing(7)),
        MemberStream(StreamPong(7)),
        MemberDatagram(Datagram(Ack(1, 0), (Verdict(node_of_name("bob"), 1, 2, node_of_name("alice")),))),
        MemberDatagram(Datagram(Gossip(), (Verdict(node_of_name("bob"), 1, 6, node_of_name("eve")),))),
        MemberDatagram(Datagram(Gossip(), (), (), (SleepNotice(node_of_name("alice"), 1, 60, bytes(64)),))),
        MemberStream(StreamPing(NUMBER_MAX, NUMBER_MAX)),
        MemberStream(Entries((Entry(member_of("eve"), Standing.REMOVED, NUMBER_MAX, None),), ())),
        ReachWant(1, node_of_name("eve")),
        ReachAnswer(1, True),
        RelayedNote(node_of_name("bob"), node_of_name("alice"), b"id", "", b"", bytes(64)),
        RelayedNote(node_of_name("bob"), node_of_name("eve"), b"id", "", b"", bytes(64), True),
        SurveyWant(1),
        SurveyReport(1, (LinkReport(node_of_name("eve"), -1, 1000, False),)),
    ]


@pytest.mark.parametrize("seed", range(30))
def test_well_formed_messages_never_raise_whatever_they_say(seed: int) -> None:
    rng = random.Random(seed)
    world = pair(CoreConfig(credit_bytes=5000, page_bytes=500))
    alice = world.nodes["alice"]
    for number in range(20):
        alice.submit(write(f"fleet/{number}"), ack="all")
    world.run()
    for _ in range(60):
        if not [end for end in alice.ends.values() if end.other and end.other.owner.name == "bob"]:
            world.connect("bob", "alice")
        world.tell("bob", "alice", *rng.sample(hostile_messages(world), 3))
        if rng.random() < 0.3:
            alice.submit(write("fleet/a"), deletion("fleet/b"), ack="one")
        for node in world.nodes.values():
            if rng.random() < 0.5 and node.jobs:
                node.handle(node.jobs.popleft())
            if rng.random() < 0.5 and node.commits:
                node.commit()
    world.nodes["bob"].is_running = False  # What alice answers is nobody's business here.
    world.pass_time(100)


def test_a_full_disk_is_not_asked_for_the_same_members_as_fast_as_it_can_refuse() -> None:
    world = World("alice", "bob")
    bob = world.nodes["bob"]
    bob.is_disk_full = True
    world.connect("alice", "bob")
    world.run()
    assert 0 < bob.core.counters["commits_failed"] <= 5
    world.pass_time(70)  # Two comparisons try again.
    assert bob.core.counters["commits_failed"] <= 10
    bob.is_disk_full = False
    world.pass_time(40)
    known = {member.node for member in bob.store.open().members}
    assert known == {node.core.me.node for node in world.nodes.values()}
