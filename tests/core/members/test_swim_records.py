"""Records of members: where they are reached is told before anything else of them; our own can change."""

from __future__ import annotations

from dataclasses import replace

from bellande_mesh_sync.core.effects import MemberChanged, PeerForgotten, PeerRecorded
from bellande_mesh_sync.core.members.swim.config import LAN
from bellande_mesh_sync.core.members.swim.messages import Entries, Entry, Gossip
from bellande_mesh_sync.core.members.swim.timers import GossipDue, HealDue
from bellande_mesh_sync.core.members.swim.view import ALIVE, ASLEEP, DEAD, LEFT, SUSPECT, UNKNOWN
from tests.core.making import SECOND_NS, local_node, member_of, node_of_name
from tests.core.members.swimming import Node

OTHERS = ["bob", "carol", "dave", "erin"]


def recorded(node: Node) -> list[tuple[str, int]]:
    return [(e.record.name, e.record.incarnation) for e in node.effects if isinstance(e, PeerRecorded)]


def test_at_the_start_all_members_are_told_of_but_not_ourselves() -> None:
    node = Node("alice", OTHERS)
    assert sorted(recorded(node)) == [(name, 1) for name in OTHERS]


def test_a_record_is_told_before_the_change_that_it_makes() -> None:
    node = Node("alice", OTHERS)
    node.hear("bob", Gossip(), records=(member_of("frank", 3),))
    kinds = [type(e) for e in node.effects if isinstance(e, PeerRecorded | MemberChanged)]
    assert kinds == [PeerRecorded, MemberChanged]
    assert recorded(node) == [("frank", 3)]


def test_only_another_record_is_told_again() -> None:
    node = Node("alice", OTHERS)
    node.accuse("bob", "carol", SUSPECT)
    node.accuse("bob", "carol", DEAD)
    assert recorded(node) == []
    node.hear("bob", Gossip(), records=(member_of("dave", 2),))
    assert recorded(node) == [("dave", 2)]
    assert not [e for e in node.effects if isinstance(e, MemberChanged)]
    node.hear("bob", Gossip(), records=(member_of("dave", 2),))
    assert recorded(node) == []


def test_records_that_come_in_an_exchange_are_told_too() -> None:
    node = Node("alice", OTHERS)
    told = (Entry(member_of("frank"), DEAD, 5, None), Entry(member_of("bob", 7), ALIVE, 0, None))
    entries = Entries(told, ())
    node.take(node.swim.handle_stream(node_of_name("bob"), entries, 0))
    assert recorded(node) == [("frank", 1), ("bob", 7)]


def test_who_is_forgotten_is_told_of() -> None:
    node = Node("alice", OTHERS, replace(LAN, forget_after_ns=100 * SECOND_NS))
    node.accuse("bob", "carol", DEAD)
    while node.state_of("carol") != UNKNOWN:
        node.run_until(HealDue)
    assert [e.node for e in node.effects if isinstance(e, PeerForgotten)] == [node_of_name("carol")]
    assert node.now_ns >= 100 * SECOND_NS


def test_what_changed_about_us_is_said_in_a_new_incarnation_and_in_all_later_ones() -> None:
    node = Node("alice", OTHERS)
    node.take(node.swim.change_self(replace(local_node("alice"), zone="rack 7", datagram_port=9), 0))
    assert node.swim.incarnation == 2
    node.run_until(GossipDue)
    told = [record for sent in node.datagrams() for record in sent.datagram.records]
    assert {(record.incarnation, record.zone, record.datagram_port) for record in told} == {(2, "rack 7", 9)}
    node.accuse("bob", "alice", SUSPECT, 2)
    assert node.swim.incarnation == 3
    assert node.swim.beliefs.own.zone == "rack 7"


def test_what_changes_about_a_sleeper_is_said_when_it_wakes() -> None:
    node = Node("alice", OTHERS)
    node.take(node.swim.sleep(60, 0))
    node.take(node.swim.change_self(replace(local_node("alice"), zone="rack 7"), 0))
    assert (node.swim.incarnation, node.state_of("alice")) == (1, ASLEEP)
    node.take(node.swim.wake(SECOND_NS))
    assert (node.swim.incarnation, node.swim.beliefs.own.zone) == (2, "rack 7")


def test_what_changes_about_one_who_leaves_does_not_bring_it_back() -> None:
    node = Node("alice", OTHERS)
    node.take(node.swim.leave(0))
    node.take(node.swim.change_self(replace(local_node("alice"), zone="rack 7"), 0))
    assert node.state_of("alice") == LEFT
