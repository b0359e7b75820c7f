"""An operator says that a member which is down will not come back: all believe it, until it does."""

from __future__ import annotations

from itertools import permutations

import pytest

from bellande_mesh_sync.core.members.swim.messages import (
    Datagram,
    Entries,
    Entry,
    Gossip,
    Ping,
    Verdict,
    signed_notice,
)
from bellande_mesh_sync.core.members.swim.timers import GossipDue
from bellande_mesh_sync.core.members.swim.view import ALIVE, ASLEEP, DEAD, LEFT, REMOVED, SUSPECT, UNKNOWN
from tests.core.making import member_of, node_of_name, sign_as
from tests.core.members.swimming import Node

OTHERS = ["bob", "carol", "dave", "erin"]


def remove(node: Node, name: str) -> bool:
    is_removed, effects = node.swim.remove(node_of_name(name), node.now_ns)
    node.take(effects)
    return is_removed


def put(node: Node, standing: int) -> None:
    """Make carol so at this node."""
    carol = node_of_name("carol")
    if standing in (SUSPECT, DEAD):
        node.accuse("bob", "carol", standing)
    elif standing == ASLEEP:
        notice = signed_notice(carol, 1, 60, sign_as("carol"))
        node.take(node.swim.handle_datagram(carol, Datagram(Gossip(), notices=(notice,)), 0))
    elif standing == LEFT:
        node.hear("carol", Gossip(), records=(member_of("carol", 2, left=True),))
    assert node.state_of("carol") == standing


@pytest.mark.parametrize("standing", [DEAD, ASLEEP, LEFT])
def test_a_member_that_is_down_is_removed_and_all_are_told(standing: int) -> None:
    node = Node("alice", OTHERS)
    put(node, standing)
    assert remove(node, "carol")
    assert node.state_of("carol") == REMOVED
    assert node.swim.state_of(node_of_name("carol")) == "left"
    node.run_until(GossipDue)
    told = {(v.node, v.standing, v.by) for sent in node.datagrams() for v in sent.datagram.verdicts}
    assert told == {(node_of_name("carol"), REMOVED, node_of_name("alice"))}
    assert remove(node, "carol")


@pytest.mark.parametrize("standing", [ALIVE, SUSPECT])
def test_a_member_that_lives_is_not_removed(standing: int) -> None:
    node = Node("alice", OTHERS)
    put(node, standing)
    assert not remove(node, "carol")
    assert not remove(node, "mallory")
    assert not remove(node, "alice")
    node.accuse("bob", "carol", REMOVED)
    assert node.state_of("carol") == standing


def test_programs_are_told_who_removed_it() -> None:
    node = Node("alice", OTHERS)
    put(node, DEAD)
    node.accuse("bob", "carol", REMOVED)
    change = node.changes[-1]
    assert (change.old_state, change.new_state, change.reason) == ("dead", "left", "removed by bob")


def test_who_was_removed_comes_back_by_its_own_word_only() -> None:
    node = Node("alice", OTHERS)
    put(node, DEAD)
    remove(node, "carol")
    node.hear("bob", Gossip(), records=(member_of("carol", 1),))
    put_back = node.state_of("carol")
    node.hear("bob", Gossip(), records=(member_of("carol", 2),))
    assert (put_back, node.state_of("carol")) == (REMOVED, ALIVE)


def test_who_was_removed_and_asks_is_told_and_refutes() -> None:
    alice, carol = Node("alice", OTHERS), Node("carol", ["alice"])
    put(alice, DEAD)
    remove(alice, "carol")
    alice.hear("carol", Ping(5, 1))
    (sent,) = alice.datagrams()
    carol.take(carol.swim.handle_datagram(node_of_name("alice"), sent.datagram, 0))
    assert carol.swim.incarnation == 2


@pytest.mark.parametrize(
    ("here", "after"),
    [(UNKNOWN, REMOVED), (ALIVE, SUSPECT), (SUSPECT, SUSPECT), (DEAD, REMOVED), (ASLEEP, REMOVED)],
)
def test_an_exchange_carries_it_to_those_for_whom_the_member_is_down(here: int, after: int) -> None:
    node = Node("alice", OTHERS if here != UNKNOWN else ["bob"])
    if here != UNKNOWN:
        put(node, here)
    entries = Entries((Entry(member_of("carol"), REMOVED, 5, None),), ())
    node.take(node.swim.handle_stream(node_of_name("bob"), entries, 0))
    assert node.state_of("carol") == after


def test_the_order_in_which_a_sleep_a_death_and_a_removal_come_in_does_not_matter() -> None:
    carol = node_of_name("carol")
    updates = [
        Datagram(Gossip(), notices=(signed_notice(carol, 1, 60, sign_as("carol")),)),
        Datagram(Gossip(), verdicts=(Verdict(carol, 1, DEAD, node_of_name("bob")),)),
        Datagram(Gossip(), verdicts=(Verdict(carol, 1, REMOVED, node_of_name("bob")),)),
    ]
    ends = set()
    for order in permutations(updates):
        node = Node("alice", OTHERS)
        for _ in range(2):
            for datagram in order:
                node.take(node.swim.handle_datagram(node_of_name("bob"), datagram, 0))
        ends.add((node.state_of("carol"), node.swim.view.fingerprint()))
    assert [state for state, _ in ends] == [REMOVED]
