"""An operator says that a member which is down will not come back: all believe it, until it does."""

from __future__ import annotations

from itertools import permutations

import pytest

from bellande_mesh_sync.core.members.swim.config import LAN
from bellande_mesh_sync.core.members.swim.effects import SendStream
from bellande_mesh_sync.core.members.swim.merging import REMOVED_DIALLED
from bellande_mesh_sync.core.members.swim.messages import (
    Datagram,
    Digest,
    Entries,
    Entry,
    Gossip,
    Ping,
    Verdict,
    signed_notice,
)
from bellande_mesh_sync.core.members.swim.timers import GossipDue, HealDue
from bellande_mesh_sync.core.members.swim.view import ALIVE, ASLEEP, DEAD, LEFT, REMOVED, SUSPECT, UNKNOWN
from tests.core.making import member_of, node_of_name, sign_as
from tests.core.members.swimming import Node

OTHERS = ["bob", "carol", "dave", "erin"]


def remove(node: Node, name: str) -> bool:
    is_removed, effects = node.swim.remove(node_of_name(name), node.now_ns)
    node.take(effects)
    return is_removed


def outlast(node: Node) -> None:
    """Let pass what others' removals have to wait for."""
    node.now_ns += LAN.removal_patience_ns


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
    outlast(node)
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
    [(UNKNOWN, DEAD), (ALIVE, SUSPECT), (SUSPECT, SUSPECT), (DEAD, REMOVED), (ASLEEP, REMOVED)],
)
def test_an_exchange_carries_it_to_those_for_whom_the_member_is_down(here: int, after: int) -> None:
    node = Node("alice", OTHERS if here != UNKNOWN else ["bob"])
    if here != UNKNOWN:
        put(node, here)
        outlast(node)
    entries = Entries((Entry(member_of("carol"), REMOVED, 5, None),), ())
    node.take(node.swim.handle_stream(node_of_name("bob"), entries, node.now_ns))
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
        for _ in range(3):
            for datagram in order:
                node.take(node.swim.handle_datagram(node_of_name("bob"), datagram, node.now_ns))
            outlast(node)
        ends.add((node.state_of("carol"), node.swim.view.fingerprint()))
    assert [state for state, _ in ends] == [REMOVED]


# -- removals that somebody made up


@pytest.mark.parametrize("standing", [DEAD, ASLEEP, LEFT])
def test_a_removal_by_others_counts_for_nothing_until_the_member_has_been_down_here_for_a_while(
    standing: int,
) -> None:
    node = Node("alice", OTHERS)
    put(node, standing)
    entries = Entries((Entry(node.swim.view.record(index_of(node, "carol")), REMOVED, 10**9, None),), ())
    for age_ns, after in ((LAN.removal_patience_ns - 1, standing), (LAN.removal_patience_ns, REMOVED)):
        node.now_ns = age_ns
        if after == standing:
            node.accuse("bob", "carol", REMOVED, node.swim.view.incarnation(index_of(node, "carol")))
        node.take(node.swim.handle_stream(node_of_name("bob"), entries, node.now_ns))
        assert node.state_of("carol") == after


def index_of(node: Node, name: str) -> int:
    return node.swim.view.roster.find(node_of_name(name))


def test_an_age_that_somebody_made_up_does_not_shorten_the_wait() -> None:
    node = Node("alice", ["bob"])
    dead = Entries((Entry(member_of("carol"), DEAD, 7200, None),), ())
    node.take(node.swim.handle_stream(node_of_name("bob"), dead, node.now_ns))
    node.accuse("bob", "carol", REMOVED)
    assert node.state_of("carol") == DEAD


def test_an_exchange_about_a_removal_that_does_not_count_yet_is_not_followed_by_another_one() -> None:
    node = Node("alice", OTHERS)
    put(node, DEAD)
    entries = Entries((Entry(member_of("carol"), REMOVED, 5, None),), ())
    node.take(node.swim.handle_stream(node_of_name("bob"), entries, node.now_ns))
    assert node.effects == []


def test_one_datagram_of_deaths_and_removals_makes_nobody_forget_who_has_just_answered() -> None:
    node = Node("alice", OTHERS)
    node.run_for(10, answering=OTHERS)
    verdicts = [
        Verdict(node_of_name(name), 1, standing, node_of_name(name))
        for name in OTHERS[1:]
        for standing in (SUSPECT, DEAD, REMOVED)
    ]
    node.hear("bob", Gossip(), *verdicts)
    states = [node.state_of(name) for name in OTHERS[1:]]
    assert set(states) <= {SUSPECT, DEAD}
    assert SUSPECT in states


def test_a_member_said_to_be_dead_that_answered_us_lately_is_told_and_gets_the_shortest_time() -> None:
    node = Node("alice", OTHERS)
    node.run_for(10, answering=OTHERS)
    node.accuse("bob", "carol", DEAD)
    assert node.state_of("carol") == SUSPECT
    node.run_until(GossipDue)
    told = [(sent.target, v.standing) for sent in node.datagrams() for v in sent.datagram.verdicts]
    assert (node_of_name("carol"), SUSPECT) in told
    node.run_for(6, answering=["bob", "dave", "erin"])
    assert node.state_of("carol") == DEAD


def test_a_member_said_to_be_dead_that_has_not_answered_for_long_is_dead() -> None:
    node = Node("alice", OTHERS)
    node.run_for(10, answering=OTHERS)
    end_ns = node.now_ns + LAN.suspicion_ns(5, 0)
    while node.now_ns < end_ns:
        node.now_ns += LAN.lag_ns // 2  # Or it would take itself for one that was stopped.
        node.hear("bob", Gossip())
    node.accuse("bob", "carol", DEAD)
    assert node.state_of("carol") == DEAD


def test_who_was_removed_is_tried_again_and_told_what_is_held_against_it() -> None:
    node = Node("alice", OTHERS)
    put(node, DEAD)
    remove(node, "carol")
    tries = calls = 0
    for _ in range(10 * REMOVED_DIALLED):
        node.run_until(HealDue)
        digests = [sent for sent in node.datagrams() if sent.target == node_of_name("carol")]
        tries += len([sent for sent in digests if sent.datagram.verdicts[0].standing == REMOVED])
        links = [effect for effect in node.effects if isinstance(effect, SendStream)]
        calls += sum(isinstance(effect.message, Digest) for effect in links)
    assert tries > 8 * REMOVED_DIALLED
    assert 3 <= calls <= 30
