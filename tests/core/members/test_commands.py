"""Commands about members, on whole nodes: add, remove, clean up, restore, describe ourselves, sleep."""

from __future__ import annotations

from typing import Any

import pytest

from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.members.swim.messages import Datagram, Gossip, Verdict
from bellande_mesh_sync.core.messages import MemberDatagram
from bellande_mesh_sync.ids import NodeId
from tests.core.making import node_of_name, write
from tests.core.shuttle import World

ALICE, BOB, CAROL, DAVE = map(node_of_name, ("alice", "bob", "carol", "dave"))
SECOND_NS = 1_000_000_000


def mesh(*names: str, config: CoreConfig | None = None) -> World:
    """Nodes that are all linked and dial by themselves."""
    world = World(*names, config=config)
    world.run()
    for index, name in enumerate(names):
        for other in names[index + 1 :]:
            world.connect(name, other)
    world.run()
    world.is_dialling = True
    world.pass_time(4)
    return world


def ask(world: World, name: str, command: Any, *arguments: Any) -> Any:
    """The result of a command that ends at once, or an error's code."""
    world.requests += 1
    world.nodes[name].handle(command(world.requests, *arguments))
    answer = world.nodes[name].answers[world.requests]
    return answer.code if isinstance(answer, do.Reject) else answer.result


def state(world: World, observer: str, subject: str) -> str:
    member = world.nodes[observer].core.directory.get(node_of_name(subject))
    return "" if member is None else member.state.value


def linked(world: World, name: str) -> set[NodeId]:
    return set(world.nodes[name].core.links.linked_peers())


# -- add


def test_an_added_address_is_dialled_and_whoever_answers_there_is_a_member() -> None:
    world = World("alice", "bob")
    world.is_dialling = True
    world.pass_time(2)
    assert linked(world, "alice") == set()
    assert ask(world, "alice", on.AddMember, ("bob:1",)) is None
    world.run()
    assert linked(world, "alice") == {BOB}
    assert state(world, "bob", "alice") == "alive"


def test_an_added_address_where_nobody_answers_is_tried_again() -> None:
    world = World("alice")
    world.is_dialling = True
    ask(world, "alice", on.AddMember, ("bob:1",))
    world.pass_time(5)
    world.add("bob")
    world.pass_time(40)
    assert linked(world, "alice") == {BOB}


# -- remove and clean up


def test_a_member_that_is_down_is_removed_for_all_and_dialled_no_more() -> None:
    world = mesh("alice", "bob", "carol")
    world.crash("bob")
    world.pass_time(60)
    assert state(world, "alice", "bob") == state(world, "carol", "bob") == "dead"
    assert ask(world, "alice", on.RemoveMember, BOB) is True
    world.pass_time(5)
    assert state(world, "alice", "bob") == state(world, "carol", "bob") == "left"
    for name in ("alice", "carol"):
        node = world.nodes[name]
        assert BOB not in node.core.directory.owners(world.now)
        dials = len(node.seen(do.Dial))
        world.pass_time(60)
        assert BOB not in [dial.peer for dial in node.seen(do.Dial)[dials:]]


def test_a_removed_member_that_comes_back_is_a_member_again() -> None:
    world = mesh("alice", "bob", "carol")
    world.crash("bob")
    world.pass_time(60)
    ask(world, "alice", on.RemoveMember, BOB)
    world.pass_time(5)
    world.add("bob")
    world.pass_time(20)
    assert state(world, "alice", "bob") == state(world, "carol", "bob") == "alive"
    assert linked(world, "bob") == {ALICE, CAROL}


def test_who_lives_is_not_removed_and_neither_are_we_or_a_stranger() -> None:
    world = mesh("alice", "bob")
    assert ask(world, "alice", on.RemoveMember, BOB) == "still_member"
    assert ask(world, "alice", on.RemoveMember, ALICE) == "still_member"
    assert ask(world, "alice", on.RemoveMember, DAVE) == "not_found"
    assert state(world, "alice", "bob") == "alive"


def test_only_members_that_are_dead_for_longer_are_cleaned_up() -> None:
    world = mesh("alice", "bob", "carol", "dave")
    world.crash("bob")
    world.pass_time(100)
    world.crash("carol")
    world.pass_time(60)
    assert state(world, "alice", "carol") == "dead"
    assert ask(world, "alice", on.Cleanup, 80 * SECOND_NS) == (BOB,)
    assert ask(world, "alice", on.Cleanup, 80 * SECOND_NS) == ()
    world.pass_time(5)
    states = [state(world, "dave", name) for name in ("alice", "bob", "carol")]
    assert states == ["alive", "left", "dead"]


# -- restore


def test_members_that_cannot_be_dialled_are_tried_at_once_when_an_operator_asks() -> None:
    world = mesh("alice", "bob")
    world.crash("bob")
    world.pass_time(120)  # By now the pauses are long.
    node = world.nodes["alice"]
    before = len(node.seen(do.Dial))
    assert ask(world, "alice", on.RestoreMembers) == 1
    assert [dial.peer for dial in node.seen(do.Dial)[before:]] == [BOB]


def test_there_is_nobody_to_restore_while_all_are_linked_or_gone() -> None:
    world = mesh("alice", "bob", "carol")
    world.nodes["carol"].handle(on.Leave(1_000))
    world.pass_time(3)
    assert ask(world, "alice", on.RestoreMembers) == 0


# -- ourselves


def test_what_a_node_says_of_itself_reaches_the_others() -> None:
    world = mesh("alice", "bob", "carol")
    before = world.nodes["alice"].core.directory.own.incarnation
    labels = (("rack", "r7"),)
    assert ask(world, "alice", on.UpdateSelf, labels, 50, "hall-2") is None
    world.pass_time(3)
    for name in ("bob", "carol"):
        record = world.nodes[name].core.directory.record_of(ALICE)
        assert record is not None
        assert (record.labels, record.capacity, record.zone) == (labels, 50, "hall-2")
        assert record.incarnation > before


def test_what_is_not_given_stays_as_it_is() -> None:
    world = mesh("alice", "bob")
    ask(world, "alice", on.UpdateSelf, (("a", "b"),), 50, "z")
    ask(world, "alice", on.UpdateSelf, None, None, "other")
    ask(world, "alice", on.UpdateSelf, None, 0, None)
    own = world.nodes["alice"].core.directory.own
    assert (own.labels, own.capacity, own.zone) == ((("a", "b"),), 0, "other")
    ask(world, "alice", on.UpdateSelf, (), None, "")
    own = world.nodes["alice"].core.directory.own
    assert (own.labels, own.capacity, own.zone) == ((), 0, "")


def test_a_node_that_announces_itself_is_heard_in_a_new_incarnation() -> None:
    world = mesh("alice", "bob")
    before = world.nodes["alice"].core.directory.own.incarnation
    assert ask(world, "alice", on.AnnounceSelf) is None
    world.pass_time(3)
    record = world.nodes["bob"].core.directory.record_of(ALICE)
    assert record is not None
    assert record.incarnation == before + 1


def test_a_new_key_for_datagrams_goes_into_the_record_and_on_the_disk() -> None:
    world = mesh("alice", "bob")
    alice = world.nodes["alice"]
    alice.handle(on.SealKeyChanged(b"k" * 32))
    world.pass_time(65)
    assert alice.core.directory.own.seal_key == b"k" * 32
    stored = {record.node: record for record in world.nodes["bob"].store.open().members}
    assert stored[ALICE].seal_key == b"k" * 32
    assert {record.node: record for record in alice.store.open().members}[ALICE].seal_key == b"k" * 32


# -- planned silence


def test_a_sleeping_node_is_not_missed_and_comes_back_by_itself() -> None:
    world = mesh("alice", "bob", "carol")
    assert ask(world, "bob", on.Sleep, 30 * SECOND_NS) is None
    world.pass_time(1)
    assert state(world, "alice", "bob") == state(world, "carol", "bob") == "asleep"
    assert linked(world, "bob") == set()
    world.pass_time(28)
    assert state(world, "alice", "bob") == "asleep"
    world.pass_time(10)
    assert state(world, "alice", "bob") == state(world, "carol", "bob") == "alive"
    assert linked(world, "bob") == {ALICE, CAROL}
    changes = [
        change.new_state for change in world.nodes["alice"].seen(do.MemberChanged) if change.node == BOB
    ]
    assert changes[-2:] == ["asleep", "alive"]
    assert "dead" not in changes


def test_programs_on_a_sleeping_node_are_served_on_and_what_they_write_spreads_afterwards() -> None:
    world = mesh("alice", "bob")
    ask(world, "bob", on.Sleep, 30 * SECOND_NS)
    world.nodes["bob"].submit(write("fleet/a", b"in my sleep"))
    world.pass_time(20)
    assert world.nodes["bob"].get("fleet/a") == {b"in my sleep"}
    assert world.nodes["alice"].get("fleet/a") == set()
    world.pass_time(20)
    assert world.nodes["alice"].get("fleet/a") == {b"in my sleep"}
    world.assert_converged()


def test_a_sleep_ends_early_on_command_and_a_second_one_only_sets_the_time_anew() -> None:
    world = mesh("alice", "bob")
    assert ask(world, "bob", on.Wake) is False
    ask(world, "bob", on.Sleep, 30 * SECOND_NS)
    world.pass_time(5)
    ask(world, "bob", on.Sleep, 60 * SECOND_NS)
    world.pass_time(40)  # The first time is over.
    assert world.nodes["bob"].core.membership.is_asleep
    assert ask(world, "bob", on.Wake) is True
    world.pass_time(5)
    assert linked(world, "bob") == {ALICE}
    world.pass_time(60)  # No timer of the sleep changes anything any more.
    assert state(world, "alice", "bob") == "alive"
    assert ask(world, "bob", on.Wake) is False


def test_who_sleeps_for_longer_than_it_said_is_missed() -> None:
    world = mesh("alice", "bob")
    ask(world, "bob", on.Sleep, 30 * SECOND_NS)
    world.pass_time(1)
    world.crash("bob")
    world.pass_time(80)
    assert state(world, "alice", "bob") == "asleep"
    world.pass_time(60)
    assert state(world, "alice", "bob") == "dead"


def test_a_node_that_leaves_in_its_sleep_does_not_wake_up_again() -> None:
    world = mesh("alice", "bob")
    ask(world, "bob", on.Sleep, 5 * SECOND_NS)
    world.pass_time(1)
    assert ask(world, "bob", on.Leave) is None
    dials = len(world.nodes["bob"].seen(do.Dial))
    world.pass_time(20)
    assert world.nodes["bob"].core.directory.own.left
    assert len(world.nodes["bob"].seen(do.Dial)) == dials
    assert linked(world, "alice") == set()


@pytest.mark.parametrize("standing", [2, 3])
def test_nobody_can_talk_a_sleeper_dead(standing: int) -> None:
    world = mesh("alice", "bob", "carol")
    ask(world, "bob", on.Sleep, 60 * SECOND_NS)
    world.pass_time(1)
    record = world.nodes["alice"].core.directory.record_of(BOB)
    assert record is not None
    verdict = Verdict(BOB, record.incarnation, standing, CAROL)
    world.tell("carol", "alice", MemberDatagram(Datagram(Gossip(), (verdict,))))
    world.pass_time(30)
    assert state(world, "alice", "bob") == "asleep"


# -- fewer links


def test_a_node_keeps_to_a_new_limit_of_links() -> None:
    world = mesh("alice", "bob", "carol", "dave")
    assert len(linked(world, "alice")) == 3
    assert ask(world, "alice", on.SetConnectionsMax, 1) is None
    world.pass_time(5)
    assert len(linked(world, "alice")) == 1
    ask(world, "alice", on.SetConnectionsMax, 10)
    world.pass_time(60)
    assert linked(world, "alice") == {BOB, CAROL, DAVE}
    assert {state(world, "bob", name) for name in ("alice", "carol", "dave")} == {"alive"}
