"""Notes: best-effort messages, over a link or over a neighbour that has one."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.delivery.notes import (
    NEIGHBOURS_ASKED,
    RECENT_MAX,
    ROUTE_NS,
    SENDERS_MAX,
    WAIT_NS,
    WAITING_MAX,
    signed_bytes,
)
from bellande_mesh_sync.core.members.swim.messages import Datagram, Gossip
from bellande_mesh_sync.core.messages import MemberDatagram, Note, ReachAnswer, ReachWant, RelayedNote
from tests.core.making import hello_of, member_of, node_of_name, sign_as
from tests.core.shuttle import End, World

ALICE, BOB, CAROL, DAVE = map(node_of_name, ("alice", "bob", "carol", "dave"))
WAIT_S = WAIT_NS / 1e9


def triangle() -> World:
    """Alice and bob know each other but have no link; carol has one with each."""
    world = World("alice", "bob", "carol")
    world.run()
    for a, b in (("alice", "carol"), ("bob", "carol"), ("alice", "bob")):
        world.connect(a, b)
    world.run()
    world.apart.add(frozenset(("alice", "bob")))
    world.cut("alice", "bob")
    world.run()
    return world


def send(
    world: World, sender: str, to: str | None, body: bytes = b"hello", *, topic: str = "", id: bytes = b"id-1"
) -> int:
    world.requests += 1
    target = None if to is None else node_of_name(to)
    world.nodes[sender].handle(on.SendNote(world.requests, target, topic, body, id))
    return world.requests


def delivered(world: World, name: str) -> list[tuple[bytes, str, bytes]]:
    return [(note.sender, note.topic, note.body) for note in world.nodes[name].seen(do.Deliver)]


def answer(world: World, name: str, request: int) -> Any:
    """What a request ended with: a count, or an error's code; None while it is open."""
    found = world.nodes[name].answers.get(request)
    return found.code if isinstance(found, do.Reject) else None if found is None else found.result


def relayed(
    source: str, target: str, *, id: bytes = b"id-1", body: bytes = b"hello", is_forwarded: bool = True,
    boot: int = 1,
) -> RelayedNote:  # fmt: skip
    note = RelayedNote(node_of_name(source), node_of_name(target), id, "", body, b"", is_forwarded)
    text = signed_bytes(note, boot.to_bytes(8, "big"))
    return msgspec.structs.replace(note, signature=sign_as(source)(text))


# -- over a link


def test_a_note_goes_over_the_link_there_is() -> None:
    world = triangle()
    request = send(world, "alice", "carol", topic="alerts")
    assert answer(world, "alice", request) == 1
    world.run()
    assert delivered(world, "carol") == [(ALICE, "alerts", b"hello")]
    assert delivered(world, "bob") == []


def test_a_note_to_all_goes_to_all_that_are_linked_and_to_nobody_else() -> None:
    world = triangle()
    assert answer(world, "carol", send(world, "carol", None)) == 2
    assert answer(world, "alice", send(world, "alice", None, b"second")) == 1
    world.run()
    assert delivered(world, "alice") == delivered(world, "bob") == [(CAROL, "", b"hello")]
    assert delivered(world, "carol") == [(ALICE, "", b"second")]


def test_a_note_keeps_its_link_in_use() -> None:
    world = triangle()
    world.pass_time(5)
    send(world, "alice", "carol")
    link = world.nodes["alice"].core.links.to(CAROL)
    assert link is not None
    assert link.used_ns == world.now.mono_ns


# -- over a neighbour


def test_a_note_to_a_member_without_a_link_goes_over_a_common_neighbour() -> None:
    world = triangle()
    request = send(world, "alice", "bob", topic="alerts")
    world.run()
    assert answer(world, "alice", request) == 1
    assert delivered(world, "bob") == [(ALICE, "alerts", b"hello")]
    assert delivered(world, "carol") == []
    assert world.nodes["carol"].core.counters["notes_forwarded"] == 1
    assert world.nodes["alice"].core.counters["notes_sent_over_neighbours"] == 1


def test_the_next_notes_take_the_same_way_without_asking_for_a_while() -> None:
    world = triangle()
    alice = world.nodes["alice"]
    send(world, "alice", "bob", id=b"1")
    world.run()
    asked = len(alice.seen(ReachWant))
    assert asked == 1
    assert answer(world, "alice", send(world, "alice", "bob", id=b"2")) == 1
    assert len(alice.seen(ReachWant)) == asked
    world.pass_time(ROUTE_NS / 1e9 + 0.1)
    send(world, "alice", "bob", id=b"3")
    assert len(alice.seen(ReachWant)) == asked + 1
    world.run()
    assert len(delivered(world, "bob")) == 3


def test_a_way_over_a_neighbour_that_is_gone_is_looked_for_anew() -> None:
    world = triangle()
    send(world, "alice", "bob", id=b"1")
    world.run()
    world.cut("alice", "carol")
    request = send(world, "alice", "bob", id=b"2")
    assert answer(world, "alice", request) is None
    world.connect("alice", "carol")
    world.run()
    assert answer(world, "alice", request) is None  # Nobody was linked that could have been asked.
    world.pass_time(WAIT_S)
    assert answer(world, "alice", request) == "unreachable"


def test_of_several_neighbours_the_first_that_has_a_link_carries_the_note_and_it_comes_once() -> None:
    world = triangle()
    world.add("dave")
    world.run()
    for name in ("alice", "bob"):
        world.connect(name, "dave")
    world.run()
    send(world, "alice", "bob")
    world.run()
    assert delivered(world, "bob") == [(ALICE, "", b"hello")]
    forwarded = [world.nodes[name].core.counters["notes_forwarded"] for name in ("carol", "dave")]
    assert sorted(forwarded) == [0, 1]


def test_no_more_than_so_many_neighbours_are_asked() -> None:
    world = World("alice")
    world.run()
    alice = world.nodes["alice"]
    for number in range(NEIGHBOURS_ASKED + 3):
        name = f"n{number}"
        alice.handle(on.LinkOpened(number + 1, node_of_name(name), hello_of(name), f"{name}:1", 0))
    alice.handle(on.LinkOpened(99, BOB, hello_of("bob"), "bob:1", 0))
    alice.handle(on.LinkClosed(99, "closed", ""))
    send(world, "alice", "bob")
    assert len(alice.seen(ReachWant)) == NEIGHBOURS_ASKED


# -- waiting


def test_a_note_waits_for_a_link_that_opens_and_is_sent_over_it() -> None:
    world = triangle()
    world.cut("alice", "carol")
    request = send(world, "alice", "bob")
    world.pass_time(2)
    assert answer(world, "alice", request) is None
    world.connect("bob", "alice")
    assert answer(world, "alice", request) == 1
    world.run()
    assert delivered(world, "bob") == [(ALICE, "", b"hello")]
    world.pass_time(2 * WAIT_S)
    assert len(delivered(world, "bob")) == 1


def test_who_wants_to_send_a_note_dials_the_receiver_meanwhile() -> None:
    world = World("alice", "bob", "carol", config=CoreConfig(connections_max=1))
    world.run()
    world.connect("alice", "bob")
    world.tell("bob", "alice", MemberDatagram(Datagram(Gossip(), (), (member_of("carol"),))))
    world.run()
    alice = world.nodes["alice"]
    assert CAROL not in [dial.peer for dial in alice.seen(do.Dial)]  # There is no room for her.
    send(world, "alice", "carol")
    (dial,) = [dial for dial in alice.seen(do.Dial) if dial.peer == CAROL]
    assert dial.is_wanted


def test_if_nobody_has_a_link_the_receiver_is_unreachable_after_a_while() -> None:
    world = triangle()
    world.cut("bob", "carol")
    request = send(world, "alice", "bob")
    world.pass_time(WAIT_S - 0.1)
    assert answer(world, "alice", request) is None
    world.pass_time(0.2)
    assert answer(world, "alice", request) == "unreachable"
    assert world.nodes["alice"].core.counters["notes_unroutable"] == 1
    world.connect("alice", "bob")
    world.run()
    assert delivered(world, "bob") == []


@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_a_note_to_ourselves_or_to_a_stranger_is_unreachable_at_once(name: str) -> None:
    world = triangle()
    assert answer(world, "alice", send(world, "alice", name)) == "unreachable"
    world.run()
    assert delivered(world, "alice") == []


def test_a_note_to_a_member_that_left_is_unreachable_at_once() -> None:
    world = triangle()
    world.nodes["bob"].handle(on.Leave(1_000))
    world.pass_time(2)
    assert answer(world, "alice", send(world, "alice", "bob")) == "unreachable"


def test_no_more_than_so_many_notes_wait() -> None:
    world = triangle()
    world.end("carol", "alice").is_held = True  # Nothing that carol answers arrives.
    requests = [send(world, "alice", "bob", id=b"%d" % number) for number in range(WAITING_MAX + 1)]
    assert [answer(world, "alice", request) for request in requests[-2:]] == [None, "busy"]
    world.end("carol", "alice").is_held = False
    world.run()
    assert {answer(world, "alice", request) for request in requests[:-1]} == {1}
    assert len(delivered(world, "bob")) == WAITING_MAX
    assert world.nodes["alice"].core.backlog()["notes"] == 0


# -- a link in doubt


def doubtful() -> tuple[World, End]:
    """Alice and bob have a link, and alice has a new address: it may lead nowhere."""
    world = World("alice", "bob")
    world.run()
    world.connect("alice", "bob")
    world.pass_time(1)
    world.end("bob", "alice").is_held = True
    world.end("alice", "bob").is_held = True
    world.nodes["alice"].handle(on.AddressesChanged(("new:1",)))
    return world, world.end("bob", "alice")


def test_a_note_waits_while_the_link_is_in_doubt_and_goes_out_when_the_doubt_is_over() -> None:
    world, there = doubtful()
    request = send(world, "alice", "bob")
    assert answer(world, "alice", request) is None
    assert world.nodes["alice"].seen(Note) == []
    world.end("alice", "bob").is_held = there.is_held = False
    world.run()
    assert answer(world, "alice", request) == 1
    assert delivered(world, "bob") == [(ALICE, "", b"hello")]


def test_a_note_that_waits_for_a_link_in_doubt_goes_over_the_one_that_replaces_it() -> None:
    world, _ = doubtful()
    request = send(world, "alice", "bob")
    world.cut("alice", "bob")
    world.connect("bob", "alice")
    world.run()
    assert answer(world, "alice", request) == 1
    assert delivered(world, "bob") == [(ALICE, "", b"hello")]


def test_a_note_that_waits_for_a_link_in_doubt_is_unreachable_if_nothing_comes_of_it() -> None:
    world, _ = doubtful()
    request = send(world, "alice", "bob")
    world.pass_time(WAIT_S + 0.1)
    assert answer(world, "alice", request) == "unreachable"


def test_a_note_takes_the_way_over_a_neighbour_while_its_link_is_in_doubt() -> None:
    world = triangle()
    world.apart.clear()
    world.connect("alice", "bob")
    world.run()
    link = world.nodes["alice"].core.links.to(BOB)
    assert link is not None
    link.doubted_ns = world.now.mono_ns
    request = send(world, "alice", "bob")
    world.run()
    assert answer(world, "alice", request) == 1
    assert world.nodes["carol"].core.counters["notes_forwarded"] == 1
    assert delivered(world, "bob") == [(ALICE, "", b"hello")]


# -- what a neighbour may not do


def test_a_note_forged_in_the_name_of_another_is_refused() -> None:
    world = triangle()
    good = relayed("alice", "bob")
    forged = (
        msgspec.structs.replace(good, signature=bytes(64)),
        msgspec.structs.replace(good, signature=b""),
        msgspec.structs.replace(good, body=b"other"),
        msgspec.structs.replace(good, topic="other"),
        msgspec.structs.replace(good, id=b"other"),
        msgspec.structs.replace(good, source=CAROL),
        msgspec.structs.replace(relayed("alice", "dave"), target=BOB),
        relayed("stranger", "bob"),
    )
    world.tell("carol", "bob", *forged)
    assert delivered(world, "bob") == []
    assert world.nodes["bob"].core.counters["notes_forged"] == len(forged)
    world.tell("carol", "bob", good)
    assert delivered(world, "bob") == [(ALICE, "", b"hello")]


def test_a_note_that_a_neighbour_sends_again_comes_once() -> None:
    world = triangle()
    world.tell("carol", "bob", relayed("alice", "bob"), relayed("alice", "bob"))
    world.tell("carol", "bob", relayed("alice", "bob"))
    assert len(delivered(world, "bob")) == 1


def test_notes_of_different_senders_are_different_even_under_one_id() -> None:
    world = triangle()
    world.tell("carol", "bob", relayed("carol", "bob"), relayed("alice", "bob"))
    assert [sender for sender, _, _ in delivered(world, "bob")] == [CAROL, ALICE]


def test_a_note_to_an_earlier_run_of_the_receiver_is_refused() -> None:
    world = triangle()
    note = relayed("alice", "bob")
    world.tell("carol", "bob", note)
    world.crash("bob")
    world.add("bob")
    world.connect("carol", "bob")
    world.run()
    world.tell("carol", "bob", note)
    assert delivered(world, "bob") == []
    assert world.nodes["bob"].core.counters["notes_forged"] == 1
    world.tell("carol", "bob", relayed("alice", "bob", boot=2))
    assert delivered(world, "bob") == [(ALICE, "", b"hello")]


def test_what_others_send_does_not_make_a_note_new_again() -> None:
    world = triangle()
    note = relayed("alice", "bob")
    world.tell("carol", "bob", note)
    for number in range(RECENT_MAX + 9):
        world.tell("carol", "bob", relayed("carol", "bob", id=b"%d" % number))
    world.tell("carol", "bob", note)
    assert delivered(world, "bob").count((ALICE, "", b"hello")) == 1
    assert world.nodes["bob"].core.counters["notes_repeated"] == 1


def test_only_so_many_ids_of_so_many_senders_are_remembered() -> None:
    world = triangle()
    notes = world.nodes["bob"].core.notes
    for number in range(RECENT_MAX + 9):
        world.tell("carol", "bob", relayed("alice", "bob", id=b"%d" % number))
    assert len(notes._recent[ALICE]) == RECENT_MAX
    for number in range(SENDERS_MAX + 9):
        assert notes._is_new(relayed(f"n{number}", "bob"))
    assert len(notes._recent) == SENDERS_MAX


def test_a_relayed_note_goes_no_further_than_over_one_neighbour() -> None:
    """Or two nodes that each take the other for the way would send it to and fro."""
    world = triangle()
    carol = world.nodes["carol"]
    for note in (relayed("alice", "bob"), relayed("dave", "bob", is_forwarded=False)):
        world.tell("alice", "carol", note)  # Forwarded once already; not by its sender.
    world.tell("alice", "carol", relayed("alice", "dave", is_forwarded=False))  # Carol has no link there.
    world.run()
    assert delivered(world, "bob") == []
    assert carol.core.counters["notes_not_forwarded"] == 3
    assert carol.core.counters["notes_forwarded"] == 0
    world.tell("alice", "carol", relayed("alice", "bob", is_forwarded=False))
    world.run()
    assert delivered(world, "bob") == [(ALICE, "", b"hello")]


def test_answers_that_nobody_asked_for_change_nothing() -> None:
    world = triangle()
    world.cut("bob", "carol")
    world.tell("carol", "alice", ReachAnswer(1, True), ReachAnswer(77, True))
    request = send(world, "alice", "bob")
    world.run()  # Carol says that she has none,
    world.tell("carol", "alice", ReachAnswer(request, True))  # and then something else.
    assert answer(world, "alice", request) is None
    assert world.nodes["alice"].seen(RelayedNote) == []


def test_a_question_is_answered_with_what_links_there_are() -> None:
    world = triangle()
    world.tell("alice", "carol", ReachWant(5, BOB), ReachWant(6, DAVE), ReachWant(7, CAROL))
    answers = {each.number: each.has_link for each in world.nodes["carol"].seen(ReachAnswer)}
    assert answers == {5: True, 6: False, 7: False}


@pytest.mark.parametrize("seed", range(20))
def test_in_whatever_order_things_arrive_each_note_comes_at_most_once(seed: int) -> None:
    """And if its sender was told that it went out and no link broke, it comes."""
    rng = random.Random(seed)
    world = triangle()
    world.rng = rng
    sent: dict[bytes, int] = {}
    for number in range(30):
        body = b"%d" % number
        sender, receiver = rng.sample(["alice", "bob", "carol"], 2)
        sent[body] = send(world, sender, receiver, body, id=body)
        for _ in range(rng.randrange(6)):
            world.step()
        if rng.random() < 0.1 and not world.nodes["alice"].core.links.to(BOB):
            world.connect("alice", "bob")
    world.rng = None
    world.pass_time(WAIT_S + 1)
    bodies = [body for name in world.nodes for _, _, body in delivered(world, name)]
    assert len(bodies) == len(set(bodies))
    assert set(bodies) == set(sent)
    assert world.nodes["alice"].seen(Note)
