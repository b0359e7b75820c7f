"""The directory: whom it believes, and what state it holds each member to be in."""

from __future__ import annotations

import msgspec

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.members.directory import Directory
from bellande_mesh_sync.core.members.member import INCARNATION_JUMP_MAX, MemberRecord, MemberState, is_genuine
from bellande_mesh_sync.core.session.links import Links
from tests.core.making import at, link_to, local_node, member_of, node_of_name, verify

BOB, CAROL = node_of_name("bob"), node_of_name("carol")
TIMEOUT_S = CoreConfig().node_timeout_ns / 1e9
REBALANCE_S = CoreConfig().rebalance_after_ns / 1e9
FORGET_S = CoreConfig().forget_after_ns / 1e9


class Place:
    def __init__(self, *stored: MemberRecord, config: CoreConfig | None = None) -> None:
        me = local_node("alice")
        self.links = Links(me.node)
        self.counters = Counters()
        self.directory = Directory(config or CoreConfig(), me, self.links, self.counters, stored)
        self.directory.start(at())

    def apply(self, record: MemberRecord, seconds: float = 0.0) -> bool:
        return self.directory.apply(record, at(seconds))[0]

    def state(self, name: str) -> str:
        member = self.directory.get(node_of_name(name))
        assert member is not None
        return str(member.state)


def test_a_newer_record_is_news_and_an_older_one_is_not() -> None:
    place = Place()
    assert place.apply(member_of("bob", 2))
    assert not place.apply(member_of("bob", 2))
    assert not place.apply(member_of("bob", 1))
    assert place.apply(member_of("bob", 3, addresses=("new:1",)))
    assert place.directory.get(BOB).record.addresses == ("new:1",)  # type: ignore[union-attr]


def test_a_record_with_a_wrong_signature_is_refused_and_counted() -> None:
    place = Place()
    assert not place.apply(msgspec.structs.replace(member_of("bob"), role="admin"))
    assert place.directory.get(BOB) is None
    assert place.counters["member_records_refused"] == 1


def test_an_incarnation_that_jumps_too_far_is_refused() -> None:
    place = Place()
    place.apply(member_of("bob", 1))
    assert not place.apply(member_of("bob", 2 + INCARNATION_JUMP_MAX))
    assert place.counters["member_records_refused"] == 1
    assert place.apply(member_of("bob", 1 + INCARNATION_JUMP_MAX))


def test_there_is_room_for_so_many_members_and_no_more() -> None:
    place = Place(config=CoreConfig(members_max=2))
    assert place.apply(member_of("bob"))
    assert place.apply(member_of("carol"))
    assert not place.apply(member_of("dave"))
    assert place.counters["member_records_over_limit"] == 1
    assert place.apply(member_of("bob", 2))  # Who is known may still change.


def test_a_new_run_takes_a_higher_incarnation_than_the_one_before() -> None:
    place = Place(member_of("alice", 7), member_of("bob"))
    assert place.directory.own.incarnation == 8
    assert is_genuine(place.directory.own, verify)
    assert [member.record.name for member in place.directory.others()] == ["bob"]


def test_a_higher_incarnation_of_ourselves_is_overtaken() -> None:
    place = Place()
    assert place.apply(member_of("alice", 41, left=True))
    assert place.directory.own.incarnation == 42
    assert not place.directory.own.left
    assert not place.apply(place.directory.own)
    assert not place.apply(member_of("alice", 41))


def test_a_forged_record_of_ourselves_is_not_answered() -> None:
    place = Place()
    assert not place.apply(msgspec.structs.replace(member_of("alice", 41), signature=bytes(64)))
    assert place.directory.own.incarnation == 1


def test_a_member_is_alive_while_linked_then_suspect_then_dead() -> None:
    place = Place()
    place.apply(member_of("bob"))
    assert place.state("bob") == MemberState.SUSPECT
    link = link_to("bob")
    place.links.add(link)
    (change,) = place.directory.evaluate(at(1))
    assert (change.old_state, change.new_state, change.reason) == ("suspect", "alive", "linked")
    assert place.directory.evaluate(at(2)) == []
    place.links.remove(link.link)
    (change,) = place.directory.evaluate(at(10))
    assert (change.old_state, change.new_state) == ("alive", "suspect")
    assert place.directory.evaluate(at(1.9 + TIMEOUT_S)) == []
    (change,) = place.directory.evaluate(at(2.1 + TIMEOUT_S))
    assert (change.old_state, change.new_state) == ("suspect", "dead")
    assert f"{TIMEOUT_S:.0f} s" in change.reason


def test_a_linked_peer_can_vouch_for_a_member() -> None:
    place = Place()
    place.apply(member_of("bob"))
    place.apply(member_of("carol"))
    link = link_to("bob")
    place.links.add(link)
    link.reported = (CAROL,)
    changes = {change.name: change for change in place.directory.evaluate(at(1))}
    assert changes["carol"].new_state == "alive"
    assert changes["carol"].reason == "no link from here; bob has one"
    link.reported = ()
    (change,) = place.directory.evaluate(at(2))
    assert (change.name, change.new_state) == ("carol", "suspect")


def test_who_left_stays_left_and_who_returns_is_judged_anew() -> None:
    place = Place()
    place.apply(member_of("bob", 1))
    _, (change,) = place.directory.apply(member_of("bob", 2, left=True), at(1))
    assert (change.new_state, change.reason) == ("left", "it said goodbye")
    assert place.directory.evaluate(at(10 * TIMEOUT_S)) == []
    _, (change,) = place.directory.apply(member_of("bob", 3), at(10 * TIMEOUT_S))
    assert (change.old_state, change.new_state) == ("left", "suspect")  # Not dead: the silence starts now.


def test_a_newcomer_that_has_left_already_is_known_as_left() -> None:
    place = Place()
    news, (change,) = place.directory.apply(member_of("bob", 1, left=True), at())
    assert news
    assert (change.old_state, change.new_state) == ("", "left")


def test_owners_are_all_but_those_who_left_or_are_dead_for_long() -> None:
    place = Place()
    for name in ("bob", "carol", "dave"):
        place.apply(member_of(name))
    place.links.add(link_to("bob"))
    place.apply(member_of("dave", 2, left=True))
    place.directory.evaluate(at(1))
    me = node_of_name("alice")
    assert place.directory.owners(at(1)) == {me, BOB, CAROL}
    dead_s = TIMEOUT_S + 1
    place.directory.evaluate(at(dead_s))
    assert place.state("carol") == "dead"
    assert place.directory.owners(at(dead_s + REBALANCE_S - 1)) == {me, BOB, CAROL}
    place.directory.evaluate(at(dead_s + REBALANCE_S))
    assert place.directory.owners(at(dead_s + REBALANCE_S)) == {me, BOB}


def test_the_dead_are_dialled_until_they_are_forgotten_and_those_who_left_are_not() -> None:
    place = Place(member_of("bob"), member_of("carol", 1, left=True))
    assert [record.name for record in place.directory.to_dial(at(FORGET_S - 1))] == ["bob"]
    assert place.directory.to_dial(at(FORGET_S)) == []


def test_the_silence_of_those_in_the_peer_book_counts_from_the_start() -> None:
    me = local_node("alice")
    links = Links(me.node)
    directory = Directory(CoreConfig(), me, links, Counters(), [member_of("bob")])
    directory.start(at(1e6))
    assert directory.evaluate(at(1e6 + TIMEOUT_S - 1)) == []
    assert directory.evaluate(at(1e6 + TIMEOUT_S))[0].new_state == "dead"


def test_a_leaving_node_says_so_under_a_new_incarnation() -> None:
    place = Place()
    record = place.directory.leave()
    assert record.left
    assert record.incarnation == 2
    assert is_genuine(record, verify)
    assert place.apply(member_of("alice", 9))
    assert place.directory.own.left  # Overtaken, and still leaving.


def test_a_newcomer_is_told_everything_our_own_record_first() -> None:
    place = Place(member_of("carol"), member_of("bob"))
    first, *rest = place.directory.records()
    assert first == place.directory.own
    assert [record.node for record in rest] == sorted([BOB, CAROL])
