"""What links tell the failure detector: who may be silent, and who is there."""

from __future__ import annotations

import pytest

from bellande_mesh_sync.core.members.swim.effects import SendStream
from bellande_mesh_sync.core.members.swim.hints import HINTS_MAX
from bellande_mesh_sync.core.members.swim.messages import (
    Ack,
    Digest,
    Entries,
    Entry,
    Gossip,
    Lines,
    Ping,
    StreamPing,
    StreamPong,
)
from bellande_mesh_sync.core.members.swim.timers import AckOverdue, GossipDue, ProbeDue
from bellande_mesh_sync.core.members.swim.view import ALIVE, DEAD, LEFT, SUSPECT
from tests.core.making import SECOND_NS, local_node, member_of, node_of_name
from tests.core.members.swimming import Node

OTHERS = ["bob", "carol", "dave", "erin"]


def hint(node: Node, name: str) -> None:
    node.take(node.swim.hint_silent(node_of_name(name), node.now_ns))


def next_probed(node: Node) -> str:
    """Run until a member is pinged in a round of this node, and answer for it."""
    while True:
        node.next_timer()
        for name in OTHERS:
            for ping in node.sent(Ping, name):
                node.hear(name, Ack(ping.sequence, node.swim.incarnation))
                return name


def test_a_member_whose_link_broke_is_probed_next_once_a_ping_had_its_time() -> None:
    node = Node("alice", OTHERS)
    for _ in range(8):
        next_probed(node)
        began_ns = node.now_ns
        hint(node, "carol")
        assert next_probed(node) == "carol"
        assert 0 < node.now_ns - began_ns <= SECOND_NS // 2
        next_probed(node)


def test_a_hint_in_a_quiet_moment_is_followed_at_once() -> None:
    node = Node("alice", OTHERS)
    next_probed(node)
    node.now_ns += 700_000_000
    hint(node, "carol")
    timer = node.next_timer(late_ns=0)
    while not isinstance(timer, ProbeDue):
        timer = node.next_timer(late_ns=0)
    assert timer.due_ns == node.now_ns
    assert len(node.sent(Ping, "carol")) == 1


def test_a_round_brought_forward_takes_the_place_of_the_one_that_was_due() -> None:
    node = Node("alice", OTHERS)
    next_probed(node)
    hint(node, "carol")
    pings = 0
    end_ns = node.now_ns + 20 * SECOND_NS
    while node.now_ns < end_ns:
        next_probed(node)
        pings += 1
    assert pings <= 22


def test_an_open_round_keeps_its_time() -> None:
    node = Node("alice", OTHERS)
    node.run_until(ProbeDue)
    began_ns = node.now_ns
    (name,) = [name for name in OTHERS if node.sent(Ping, name)]
    node.run_until(AckOverdue)
    hint(node, next(other for other in OTHERS if other != name))
    node.run_until(ProbeDue)
    assert node.now_ns - began_ns == SECOND_NS
    assert node.state_of(name) == SUSPECT


def test_a_silent_member_is_suspected_as_long_as_ever() -> None:
    node = Node("alice", OTHERS)
    next_probed(node)
    hint(node, "carol")
    while node.state_of("carol") != SUSPECT:
        node.next_timer()
    for _ in range(23):
        node.run_for(1)
        node.hear("bob", Gossip())
    assert node.state_of("carol") == SUSPECT
    node.run_for(2)
    assert node.state_of("carol") == DEAD


def test_hints_about_one_member_keep_nobody_from_probing_the_others() -> None:
    node = Node("alice", OTHERS)
    probed = []
    for _ in range(40):
        hint(node, "carol")
        probed.append(next_probed(node))
    assert set(probed) == set(OTHERS)
    assert probed.count("carol") <= 26


def test_a_burst_of_hints_is_a_short_queue_without_repetition() -> None:
    names = [f"node {n}" for n in range(3 * HINTS_MAX)]
    node = Node("alice", names)
    for name in names * 2:
        hint(node, name)
    assert len(node.swim._probing.hints) == HINTS_MAX


def test_nothing_is_hinted_of_ourselves_of_strangers_and_of_the_dead() -> None:
    node = Node("alice", OTHERS)
    node.accuse("bob", "carol", DEAD)
    for name in ("alice", "mallory", "carol"):
        hint(node, name)
    assert not node.swim._probing.hints


# -- whom we met


def test_who_is_met_is_news_for_everybody() -> None:
    node = Node("alice", OTHERS)
    node.take(node.swim.met(node_of_name("frank"), member_of("frank", 4), 0))
    assert node.state_of("frank") == ALIVE
    assert not node.streamed(Digest)
    node.run_until(GossipDue)
    told = {record.name for sent in node.datagrams() for record in sent.datagram.records}
    assert told == {"alice", "frank"}


def test_a_member_held_for_dead_is_told_so_at_once_in_both_ways() -> None:
    node = Node("alice", OTHERS)
    node.accuse("bob", "carol", DEAD)
    node.take(node.swim.met(node_of_name("carol"), member_of("carol", 1), 0))
    (sent,) = node.datagrams()
    assert sent.target == node_of_name("carol")
    assert sent.datagram.verdicts[0].standing == DEAD
    assert [entries.entries[0].standing for entries in node.streamed(Entries)] == [DEAD]


def test_a_suspect_that_is_met_hears_of_it() -> None:
    node = Node("alice", OTHERS)
    node.accuse("bob", "carol", SUSPECT)
    node.take(node.swim.met(node_of_name("carol"), member_of("carol", 1), 0))
    assert [sent.datagram.verdicts[0].standing for sent in node.datagrams()] == [SUSPECT]


def test_a_member_that_left_and_forgot_it_is_told() -> None:
    node = Node("alice", OTHERS)
    node.hear("bob", Gossip(), records=(member_of("carol", 2, left=True),))
    node.take(node.swim.met(node_of_name("carol"), member_of("carol", 2), 0))
    assert [entries.entries[0].standing for entries in node.streamed(Entries)] == [LEFT]


def test_only_who_asks_for_it_begins_an_exchange_and_who_is_alone_asks_for_everything() -> None:
    for others, kind in ((OTHERS, Digest), ([], Lines)):
        node = Node("alice", others)
        node.take(node.swim.met(node_of_name("bob"), member_of("bob", 2), 0, exchange=True))
        assert len(node.streamed(kind)) == 1
        assert [e.target for e in node.effects if isinstance(e, SendStream)] == [node_of_name("bob")]


def test_a_record_of_someone_else_in_a_hello_is_nothing() -> None:
    node = Node("alice", OTHERS)
    node.take(node.swim.met(node_of_name("bob"), member_of("mallory", 2), 0))
    assert node.swim.view.known_count == 5


def test_a_node_that_lost_its_peer_book_learns_its_incarnation_and_answers_over_the_link() -> None:
    """Its datagrams reach nobody: the others have the key of the run before."""
    node = Node("alice", [])
    told = Entries((Entry(member_of("alice", 57), DEAD, 3, None),), ())
    node.take(node.swim.handle_stream(node_of_name("bob"), told, 0))
    assert node.swim.incarnation > 57
    (answer,) = node.streamed(Entries)
    assert [entry.record for entry in answer.entries] == [node.swim.beliefs.own]


def test_a_stream_ping_with_an_old_incarnation_is_answered_with_the_newer_record() -> None:
    node = Node("alice", OTHERS)
    node.hear("bob", Gossip(), records=(member_of("bob", 5),))
    for incarnation, told in ((5, 0), (3, 1)):
        node.take(node.swim.handle_stream(node_of_name("bob"), StreamPing(9, incarnation), 0))
        assert node.streamed(StreamPong) == [StreamPong(9)]
        assert len(node.streamed(Entries)) == told


@pytest.mark.parametrize("standing", [SUSPECT, DEAD])
def test_who_pings_over_a_stream_hears_what_is_held_against_it_and_refutes_it_there(standing: int) -> None:
    """No datagram gets through between the two."""
    alice, bob = Node("alice", OTHERS), Node("bob", ["alice"])
    bob.take(bob.swim.change_self(local_node("bob"), 0))
    alice.hear("bob", Gossip(), records=(bob.swim.own_record,))
    alice.accuse("carol", "bob", standing, 2)
    alice.take(alice.swim.handle_stream(node_of_name("bob"), StreamPing(9, 2), 0))
    (held,) = alice.streamed(Entries)
    assert [entry.standing for entry in held.entries] == [standing]
    bob.take(bob.swim.handle_stream(node_of_name("alice"), held, 0))
    assert bob.swim.incarnation == 3
    (refuted,) = bob.streamed(Entries)
    alice.take(alice.swim.handle_stream(node_of_name("bob"), refuted, 0))
    assert alice.state_of("bob") == ALIVE


def test_who_has_refuted_already_says_so_again_over_the_stream() -> None:
    bob = Node("bob", ["alice"])
    held = Entries((Entry(bob.swim.own_record, SUSPECT, 0, None),), ())
    bob.accuse("alice", "bob", SUSPECT)
    bob.take(bob.swim.handle_stream(node_of_name("alice"), held, 0))
    assert bob.swim.incarnation == 2
    (refuted,) = bob.streamed(Entries)
    assert [entry.record.incarnation for entry in refuted.entries] == [2]


def test_who_says_of_itself_what_is_outdated_is_told_the_newer_record() -> None:
    node = Node("alice", OTHERS)
    node.hear("bob", Gossip(), records=(member_of("bob", 5),))
    node.hear("bob", Gossip(), records=(member_of("bob", 2),))
    assert [sent.datagram.records[0].incarnation for sent in node.datagrams()] == [5]
    node.hear("carol", Gossip(), records=(member_of("bob", 2),))
    assert not node.datagrams()
