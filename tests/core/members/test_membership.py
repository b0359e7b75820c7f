"""Membership: the failure detector of a whole node, its peer book, and what links do for it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.members.member import MemberRecord, is_genuine, signed
from bellande_mesh_sync.core.members.membership import HELD_MESSAGES_MAX, HELD_NODES_MAX, SETTLING_NS
from bellande_mesh_sync.core.members.swim.doubles import mark_of
from bellande_mesh_sync.core.members.swim.messages import (
    Ack,
    Buckets,
    Datagram,
    Digest,
    Gossip,
    Lines,
    Ping,
    Standing,
    StreamPing,
    StreamPong,
    Verdict,
    signed_notice,
)
from bellande_mesh_sync.core.messages import MemberDatagram, MemberStream
from tests.core.making import at, member_of, node_of_name, sign_as, verify
from tests.core.members.membership import Place, entries

ALICE, BOB, CAROL = map(node_of_name, ("alice", "bob", "carol"))
SETTLED_S = SETTLING_NS / 1e9


def with_port(name: str, incarnation: int = 1) -> MemberRecord:
    record = msgspec.structs.replace(member_of(name, incarnation), datagram_port=9, seal_key=bytes(32))
    return signed(record, sign_as(name))


# -- the peer book


def test_a_new_run_takes_a_higher_incarnation_than_the_one_before() -> None:
    place = Place(member_of("alice", 7), member_of("bob"))
    assert place.membership.directory.own.incarnation == 8
    assert is_genuine(place.membership.directory.own, verify)
    place.membership.tick(at(1000))
    assert place.book[ALICE] == place.membership.directory.own


def test_the_shell_is_told_where_the_members_of_the_peer_book_are_and_the_disk_is_left_alone() -> None:
    place = Place(member_of("bob"), member_of("carol"))
    assert {effect.record.node for effect in place.of(do.PeerRecorded)} == {BOB, CAROL}
    assert [record.node for record in place.remembered] == [ALICE]


def test_members_of_the_peer_book_are_in_doubt_until_a_while_after_somebody_was_met() -> None:
    place = Place(member_of("bob"), member_of("carol"))
    place.take(place.membership.tick(at(100)))
    assert place.changes == []
    place.seconds = 100
    place.link("bob")
    assert [(change.name, change.reason) for change in place.changes] == [("bob", "it answers")]
    place.take(place.membership.tick(at(100 + SETTLED_S - 0.1)))
    assert place.state("carol") == "suspect"
    place.take(place.membership.tick(at(100 + SETTLED_S)))
    assert (place.changes[-1].name, place.changes[-1].new_state) == ("carol", "alive")
    assert place.changes[-1].reason == "known to the members met"
    place.take(place.membership.tick(at(100 + 2 * SETTLED_S)))
    assert len(place.changes) == 2


def test_a_datagram_of_a_member_of_the_peer_book_shows_that_it_lives() -> None:
    place = Place(member_of("bob"))
    place.hear("bob", Datagram(Gossip()))
    assert [(change.old_state, change.new_state) for change in place.changes] == [("suspect", "alive")]


def test_something_new_that_a_member_of_the_peer_book_said_shows_that_it_lives() -> None:
    place = Place(member_of("bob"), member_of("carol"))
    place.hear("bob", Datagram(Gossip(), (), (member_of("carol", 2),)))
    assert [change.name for change in place.changes] == ["bob", "carol"]
    assert place.changes[-1].reason == "it said something new"


def test_who_died_while_this_node_was_off_goes_from_doubt_to_dead_without_having_lived() -> None:
    place = Place(member_of("bob"), member_of("carol"))
    place.link("carol")
    place.run_until(60, answering=["carol"])
    states = [(change.old_state, change.new_state) for change in place.changes if change.name == "bob"]
    assert states == [("suspect", "dead")]
    place.take(place.membership.tick(at(61)))
    assert place.state("bob") == "dead"


def test_what_is_new_of_a_member_goes_into_the_peer_book_and_to_the_shell() -> None:
    place = Place()
    place.link("bob")
    place.membership.tick(at(1000))
    assert place.book[BOB] == member_of("bob")
    assert [effect.record for effect in place.of(do.PeerRecorded)] == [member_of("bob")]
    place.hear("bob", Datagram(Gossip(), (), (member_of("bob", 2),)))
    place.membership.tick(at(1000))
    assert place.book[BOB].incarnation == 2
    before = len(place.remembered)
    place.hear("bob", Datagram(Gossip(), (), (member_of("bob", 2), member_of("bob", 1))))
    assert len(place.remembered) == before


def test_who_is_down_for_long_goes_out_of_the_peer_book() -> None:
    config = CoreConfig(forget_after_ns=100_000_000_000)
    place = Place(member_of("bob"), config=config)
    place.link("carol")
    place.hear("carol", entries(member_of("bob", 2, left=True)))
    assert place.state("bob") == "left"
    effects = place.run_until(250, answering=["carol"])
    assert [effect.node for effect in effects if isinstance(effect, do.PeerForgotten)] == [BOB]
    assert BOB not in place.book
    assert place.state("bob") == ""
    assert place.state("carol") == "alive"


def test_a_forgotten_member_that_comes_back_is_a_newcomer() -> None:
    place = Place(member_of("bob", left=True), config=CoreConfig(forget_after_ns=10_000_000_000))
    place.run_until(120)
    assert place.state("bob") == ""
    place.link("bob", record=member_of("bob", 2))
    assert (place.changes[-1].old_state, place.changes[-1].new_state) == ("", "alive")
    place.membership.tick(at(1000))
    assert place.book[BOB].incarnation == 2


# -- who left


def test_who_says_goodbye_is_let_go_by_those_that_wait_for_its_disk() -> None:
    place = Place(member_of("bob"))
    place.hear("bob", Datagram(Gossip(), (), (member_of("bob", 2, left=True),)))
    assert place.left == [BOB]
    place.hear("bob", Datagram(Gossip(), (), (member_of("bob", 2, left=True),)))
    assert place.left == [BOB]


# -- datagrams, and links in their place


def test_between_nodes_with_ports_datagrams_are_datagrams() -> None:
    place = Place(with_port("bob"), datagram_port=7)
    place.hear("bob", Datagram(Ping(5, 1)))
    (reply,) = place.of(do.SendDatagram)
    assert (reply.target, type(reply.datagram.body)) == (BOB, Ack)
    assert place.sent(MemberDatagram) == []


def test_a_datagram_to_or_from_a_node_without_a_port_goes_over_the_link() -> None:
    for mine, record in ((7, member_of("bob")), (0, with_port("bob")), (0, member_of("bob"))):
        place = Place(datagram_port=mine)
        link = place.link("bob", record=record)
        place.hear("bob", Datagram(Ping(5, 1)))
        assert [(number, type(told.body)) for number, told in place.sent(MemberDatagram)] == [
            (link.link, Ack)
        ]
        assert place.of(do.SendDatagram) == []


def test_until_a_datagram_came_from_there_a_member_is_talked_to_over_the_link_and_pinged_both_ways() -> None:
    place = Place(datagram_port=7)
    place.link("bob", record=with_port("bob"))
    place.hear("bob", Datagram(Ping(5, 1)))  # Over the link: no datagram may ever get through.
    assert [type(told.body) for _, told in place.sent(MemberDatagram)] == [Ack]
    assert place.of(do.SendDatagram) == []
    pings = [effect for effect in place.run_until(2) if isinstance(effect, do.SendDatagram)]
    assert {type(ping.datagram.body) for ping in pings} == {Ping}
    place.take(place.membership.packet_came(BOB, Datagram(Ping(6, 1)), at(3)))
    assert [type(reply.datagram.body) for reply in place.of(do.SendDatagram)] == [Ack]
    assert place.sent(MemberDatagram) == []
    place.seconds = 64.0
    place.hear("bob", Datagram(Ping(7, 1)))
    assert [type(told.body) for _, told in place.sent(MemberDatagram)] == [Ack]


def test_over_a_link_that_lives_its_other_end_hears_what_is_held_against_it() -> None:
    place = Place(datagram_port=7)
    link = place.link("bob", record=with_port("bob"))
    place.hear("bob", Datagram(Gossip(), (Verdict(BOB, 1, Standing.DEAD, CAROL),)))
    assert place.state("bob") == "dead"
    link.last_heard_ns = at(9).mono_ns
    place.take(place.membership.tick(at(10)))
    ((number, told),) = place.sent(MemberDatagram)
    assert number == link.link
    assert told.verdicts == (Verdict(BOB, 1, Standing.DEAD, ALICE),)
    place.take(place.membership.tick(at(40)))
    assert place.sent(MemberDatagram) == []  # Nothing came for long: it leads nowhere.


def test_without_ports_and_without_a_link_a_datagram_is_dropped_and_counted() -> None:
    place = Place(member_of("bob"))
    place.hear("bob", Datagram(Ping(5, 1)))
    assert place.of(do.SendDatagram) == []
    assert place.of(do.Send) == []
    assert place.counters["datagrams_unroutable"] == 1


# -- streams, and links opened for them


def test_a_message_for_a_stream_goes_over_the_link_there_is() -> None:
    place = Place()
    link = place.link("bob")
    place.hear("bob", Digest(bytes(16)))
    assert [(number, type(told)) for number, told in place.sent(MemberStream)] == [(link.link, Buckets)]
    assert place.wanted() == []


def test_a_message_for_a_stream_waits_for_a_link_and_is_the_first_thing_said_on_it() -> None:
    place = Place(with_port("bob"), datagram_port=7)
    assert not place.membership.wants_links
    place.hear("bob", Datagram(Digest(bytes(16))))  # Her view is another one: bob's sums are to go to her.
    assert place.wanted() == ["bob"]
    assert place.membership.wants_links
    assert place.sent(MemberStream) == []
    place.link("bob", record=with_port("bob"))
    assert Buckets in [type(told) for _, told in place.sent(MemberStream)]
    assert place.wanted() == []


def test_what_waits_for_one_link_is_bounded_and_the_older_goes() -> None:
    place = Place(with_port("bob"), datagram_port=7)
    for number in range(HELD_MESSAGES_MAX + 3):
        place.hear("bob", StreamPing(number + 1, 1))
    place.link("bob", record=with_port("bob"))
    pongs = [told.sequence for _, told in place.sent(MemberStream) if isinstance(told, StreamPong)]
    assert pongs == list(range(4, 4 + HELD_MESSAGES_MAX))


def test_a_link_is_wanted_with_no_more_than_so_many_members() -> None:
    names = [f"n{number}" for number in range(HELD_NODES_MAX + 5)]
    place = Place(*map(member_of, names))
    for name in names:
        place.membership.want_link(node_of_name(name))
    assert len(place.wanted()) == HELD_NODES_MAX
    place.take(place.membership.dial_failed(node_of_name(names[0]), at()))
    place.membership.want_link(node_of_name(names[-1]))
    assert names[0] not in place.wanted()
    assert names[-1] in place.wanted()


def test_members_that_nobody_can_dial_do_not_take_the_place_of_others_for_good() -> None:
    names = [f"n{number}" for number in range(HELD_NODES_MAX)]
    place = Place(*(member_of(name, addresses=()) for name in names), member_of("bob"))
    for name in names:
        place.membership.want_link(node_of_name(name))
    place.take(place.membership.tick(at(1)))
    place.membership.want_link(BOB)
    assert place.wanted() == ["bob"]


def test_a_new_member_needs_a_dial_and_a_known_one_that_says_something_new_does_not() -> None:
    place = Place(member_of("bob"))
    place.hear("bob", Datagram(Gossip(), (), (member_of("bob", 2),)))
    assert not place.membership.needs_dials
    place.hear("bob", Datagram(Gossip(), (), (member_of("carol"),)))
    assert place.membership.needs_dials


def test_only_the_side_that_dialled_begins_to_compare_views() -> None:
    for is_outbound in (True, False):
        place = Place(member_of("carol"))
        link = replace(place.link("bob"), is_outbound=is_outbound)
        place.take(place.membership.link_opened(link, member_of("bob"), at()))
        kinds = {type(told) for _, told in place.sent(MemberStream)}
        assert (Digest in kinds) == is_outbound


def test_a_node_that_knows_nobody_asks_the_first_one_it_meets_for_everybody() -> None:
    place = Place()
    place.link("bob")
    (question,) = [told for _, told in place.sent(MemberStream)]
    assert isinstance(question, Lines)
    place.hear("bob", entries(member_of("carol"), member_of("dave")))
    assert {change.name for change in place.changes} == {"bob", "carol", "dave"}


@pytest.mark.parametrize("name", ["bob", "carol", "dave"])
def test_a_link_that_broke_makes_the_next_probe_one_of_that_member(name: str) -> None:
    place = Place(with_port("bob"), with_port("carol"), with_port("dave"), datagram_port=7)
    place.run_until(0.2)
    place.take(place.membership.link_lost(node_of_name(name), at(0.2)))
    effects = place.run_until(1.5)
    pinged = [
        effect.target
        for effect in effects
        if isinstance(effect, do.SendDatagram) and isinstance(effect.datagram.body, Ping)
    ]
    assert pinged[0] == node_of_name(name)
    assert place.changes == []


def test_a_member_that_says_where_it_is_now_is_looked_for_there() -> None:
    place = Place(member_of("bob"))
    place.hear("bob", Datagram(Gossip(), (), (member_of("bob", 2),)))
    assert place.moved == []
    place.hear("bob", Datagram(Gossip(), (), (member_of("bob", 3, addresses=("elsewhere:1",)),)))
    assert place.moved == [BOB]


# -- ourselves


def test_a_verdict_on_ourselves_is_refuted_and_the_peer_book_knows_the_new_incarnation() -> None:
    place = Place(member_of("bob"))
    place.hear("bob", Datagram(Gossip(), (Verdict(ALICE, 1, 3, BOB),)))
    assert place.membership.directory.own.incarnation == 2
    place.membership.tick(at(1000))
    assert place.book[ALICE].incarnation == 2


def test_what_changes_about_ourselves_is_said_in_a_new_incarnation() -> None:
    place = Place(member_of("bob"))
    place.take(place.membership.change_self(replace(place.membership.me, zone="hall-2"), at(1)))
    own = place.membership.directory.own
    assert (own.incarnation, own.zone) == (2, "hall-2")
    place.membership.tick(at(1000))
    assert place.book[ALICE] == own
    place.take(place.membership.announce(at(2)))
    assert place.membership.directory.own.incarnation == 3
    assert place.membership.directory.own.zone == "hall-2"


def test_a_leaving_node_says_so_over_every_link_at_once() -> None:
    place = Place()
    links = [place.link("bob", 1), place.link("carol", 2)]
    place.take(place.membership.leave(at(1)))
    own = place.membership.directory.own
    assert own.left
    place.membership.tick(at(1000))
    assert place.book[ALICE] == own
    told = place.sent(MemberDatagram)
    assert {number for number, datagram in told if own in datagram.records} == {link.link for link in links}


def test_a_sleeping_node_tells_for_how_long_over_every_link_and_then_hears_nothing() -> None:
    place = Place()
    links = [place.link("bob", 1), place.link("carol", 2)]
    place.take(place.membership.sleep(90, at(1)))
    notice = signed_notice(ALICE, 1, 90, sign_as("alice"))
    told = [(number, datagram.notices) for number, datagram in place.sent(MemberDatagram)]
    assert [(link.link, (notice,)) for link in links] == told[-2:]
    assert place.membership.is_asleep
    place.run_until(3)  # The word gets around for a second.
    place.effects.clear()
    place.hear("bob", Datagram(Gossip(), (Verdict(CAROL, 1, 3, BOB),)))
    assert place.effects == []
    assert place.run_until(60) == []
    assert place.state("carol") == "alive"


def test_a_node_that_wakes_up_probes_again_in_a_new_incarnation() -> None:
    place = Place(with_port("bob"), datagram_port=7)
    place.link("bob", record=with_port("bob"))
    place.take(place.membership.sleep(90, at(1)))
    place.run_until(30)
    place.take(place.membership.wake(at(30)))
    assert place.membership.directory.own.incarnation == 2
    effects = place.run_until(33)
    assert [effect for effect in effects if isinstance(effect, do.SendDatagram)]


def test_of_a_live_double_the_older_run_stops_and_says_so_once() -> None:
    place = Place(member_of("bob"))
    for incarnation in range(100, 10_000, 100):
        later = msgspec.structs.replace(
            member_of("alice", incarnation),
            boot=b"otherrun",
            started_ms=9,
            more=mark_of(place.membership.directory.own),
        )
        place.hear("bob", Datagram(Gossip(), (), (signed(later, sign_as("alice")),)))
        if place.of(do.Stop):
            break
    assert [effect.code for effect in place.of(do.Stop)] == ["identity_conflict"]
    later = msgspec.structs.replace(member_of("alice", 100_000), boot=b"otherrun", started_ms=9)
    place.hear("bob", Datagram(Gossip(), (), (signed(later, sign_as("alice")),)))
    assert place.of(do.Stop) == []


# -- removing


def test_only_who_is_down_can_be_removed() -> None:
    place = Place(member_of("bob"))
    is_removed, effects = place.membership.remove(BOB, at())
    assert (is_removed, place.membership.directory.is_live(BOB)) == (False, True)
    place.take(effects)
    place.hear("bob", Datagram(Gossip(), (Verdict(BOB, 1, 3, CAROL),)))
    assert place.state("bob") == "dead"
    is_removed, effects = place.membership.remove(BOB, at(2))
    place.take(effects)
    assert is_removed
    assert place.state("bob") == "left"
    assert place.left == [BOB]


def hear_without_a_pause(place: Place, name: str, second: int) -> None:
    """For a second, so that the node does not take itself for one that was stopped."""
    for tick in range(20):
        place.seconds = second + tick / 20
        place.hear(name, Datagram(Gossip()))


def test_only_those_dead_for_longer_are_cleaned_up() -> None:
    place = Place(member_of("bob"), member_of("carol"), member_of("dave", left=True), member_of("eve"))
    place.hear("eve", Datagram(Gossip(), (Verdict(BOB, 1, 3, CAROL),)))
    for seconds in range(50, 53):
        hear_without_a_pause(place, "eve", seconds)
    place.hear("eve", Datagram(Gossip(), (Verdict(CAROL, 1, 3, BOB),)))
    removed, effects = place.membership.cleanup(60 * 1_000_000_000, at(100))
    place.take(effects)
    assert removed == [BOB]
    assert [place.state(name) for name in ("bob", "carol", "dave", "eve")] == [
        "left",
        "dead",
        "left",
        "alive",
    ]
    assert place.membership.cleanup(0, at(101))[0] == [CAROL]
