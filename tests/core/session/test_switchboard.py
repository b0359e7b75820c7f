"""The switchboard: which links a node takes in, which make room, and which are gone."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import msgspec

from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.members.swim.messages import Datagram, Gossip
from bellande_mesh_sync.core.messages import CHUNKS_LANE, RECORDS_LANE, MemberDatagram, Note, Ping, Pong
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.core.session.switchboard import DOUBT_NS, LINK_IDLE_NS
from tests.core.making import LINKS_ALONE, at, hello_of, member_of, node_of_name
from tests.core.shuttle import Node, World

T = TypeVar("T")
IDLE_S = LINK_IDLE_NS / 1e9
DOUBT_S = DOUBT_NS / 1e9
PING_S = CoreConfig().ping_interval_ns / 1e9


class Alone:
    """Alice, and peers that are nothing but links."""

    def __init__(self, connections_max: int = 1_000) -> None:
        self.world = World(config=replace(LINKS_ALONE, connections_max=connections_max))
        self.node: Node = self.world.add("alice")
        self.world.run()
        self.names: dict[int, str] = {}
        self.dead: set[str] = set()
        """Peers from which nothing comes any more."""
        self.answered = 0

    @property
    def core(self) -> NodeCore:
        return self.node.core

    def open(
        self, name: str, *, lane: int = RECORDS_LANE, boot: int = 1, dial: int = 0, is_wanted: bool = False
    ) -> int:
        number = len(self.names) + 1
        self.names[number] = name
        hello = msgspec.structs.replace(hello_of(name, lane=lane, boot=boot), is_wanted=is_wanted)
        self.node.handle(on.LinkOpened(number, node_of_name(name), hello, f"{name}:1", dial))
        return number

    def hear(self, link: int, *messages: object) -> None:
        self.node.handle(on.Received(link, messages, 9))  # type: ignore[arg-type]

    def pass_time(self, seconds: float) -> None:
        """The peers answer pings, and their failure detectors ours, as far as links go."""
        for _ in range(round(10 * seconds)):
            self.world.pass_time(0.1)
            self._answer()

    def _answer(self) -> None:
        sent = [effect for effect in self.node.effects[self.answered :] if isinstance(effect, do.Send)]
        self.answered = len(self.node.effects)
        for send in sent:
            if isinstance(send.message, Ping) and self.names[send.link] not in self.dead:
                self.hear(send.link, Pong(send.message.number))

    def linked(self) -> list[str]:
        names = {node_of_name(name): name for name in self.names.values()}
        return [names[link.peer] for link in self.core.links.records_links()]

    def hangups(self) -> list[tuple[str, str]]:
        """(whose link, code) of each so far."""
        return [(self.names[effect.link], effect.code) for effect in self.node.seen(do.Hangup)]

    def know(self, name: str, incarnation: int = 1, *, address: str = "") -> None:
        """Somebody linked tells of a member."""
        record = member_of(name, incarnation, addresses=(address or f"{name}:1",))
        link = self.core.links.records_links()[0]
        self.hear(link.link, MemberDatagram(Datagram(Gossip(), (), (record,))))


# -- a full node


def test_a_link_that_nothing_waits_for_is_refused_by_a_full_node() -> None:
    alone = Alone(connections_max=2)
    alone.open("bob")
    alone.open("carol")
    alone.pass_time(2 * IDLE_S)
    alone.open("dave")
    assert alone.linked() == ["bob", "carol"]
    assert alone.hangups() == [("dave", "busy")]
    assert alone.core.counters["links_refused"] == 1


def test_a_link_that_the_peer_needs_takes_the_place_of_the_least_recently_used_one() -> None:
    alone = Alone(connections_max=2)
    first = alone.open("bob")
    alone.open("carol")
    alone.pass_time(1)
    alone.hear(first, Note(b"", "", b""))  # So carol's is the one that was not used for longest.
    alone.pass_time(IDLE_S + 1)
    alone.open("dave", is_wanted=True)
    assert alone.linked() == ["bob", "dave"]
    assert alone.hangups() == [("carol", "busy")]
    assert alone.core.counters["links_replaced"] == 1


def test_a_link_that_was_used_a_moment_ago_makes_room_for_nobody() -> None:
    alone = Alone(connections_max=1)
    first = alone.open("bob")
    alone.pass_time(IDLE_S + 1)
    alone.hear(first, Note(b"", "", b""))
    alone.pass_time(IDLE_S - 1)
    alone.open("dave", is_wanted=True)
    assert alone.hangups() == [("dave", "busy")]
    alone.pass_time(2)
    alone.open("eve", is_wanted=True)
    assert alone.linked() == ["eve"]


def test_signs_of_life_are_no_use_of_a_link() -> None:
    alone = Alone(connections_max=1)
    first = alone.open("bob")
    for _ in range(round(IDLE_S)):
        alone.pass_time(1)
        alone.hear(first, Ping(1), Pong(7), MemberDatagram(Datagram(Gossip())))
    alone.pass_time(1)
    alone.open("dave", is_wanted=True)
    assert alone.linked() == ["dave"]


def test_a_link_that_this_node_needs_is_dialled_and_makes_itself_room() -> None:
    alone = Alone(connections_max=1)
    alone.open("bob")
    alone.pass_time(IDLE_S + 1)
    alone.know("carol")
    assert alone.node.seen(do.Dial) == []
    alone.node.handle(on.SendNote(1, node_of_name("carol"), "", b"hello", b"id"))
    dial = alone.node.seen(do.Dial)[-1]
    assert (dial.peer, dial.is_wanted) == (node_of_name("carol"), True)
    alone.node.jobs.clear()  # It does not fail.
    alone.open("carol", dial=dial.dial)
    assert alone.linked() == ["carol"]
    assert alone.hangups() == [("bob", "busy")]
    assert isinstance(alone.node.answers[1], do.Resolve)


def test_a_note_to_a_member_without_a_link_dials_nobody_else() -> None:
    alone = Alone(connections_max=3)
    alone.open("bob")
    alone.node.jobs.clear()
    for name in ("carol", "dave"):
        alone.know(name)
        alone.world.run()  # Both dials fail.
    dials = len(alone.node.seen(do.Dial))
    alone.world.now = at(100)
    alone.node.handle(on.SendNote(1, node_of_name("carol"), "", b"hello", b"id"))
    assert [dial.peer for dial in alone.node.seen(do.Dial)[dials:]] == [node_of_name("carol")]


def test_links_for_chunks_are_the_first_to_make_room() -> None:
    alone = Alone(connections_max=3)
    alone.open("bob")
    alone.open("bob", lane=CHUNKS_LANE)
    alone.open("carol")
    alone.open("dave")
    assert alone.linked() == ["bob", "carol", "dave"]
    assert alone.hangups() == [("bob", "closing")]
    alone.open("carol", lane=CHUNKS_LANE)
    assert alone.hangups()[1:] == [("carol", "busy")]


def test_a_restarted_peer_takes_the_place_of_its_own_stale_link_even_if_the_node_is_full() -> None:
    alone = Alone(connections_max=2)
    alone.open("bob")
    stale = alone.open("carol")
    alone.pass_time(1)
    fresh = alone.open("carol", boot=2)
    assert alone.linked() == ["bob", "carol"]
    assert alone.core.links.get(stale) is None
    assert alone.core.links.get(fresh) is not None
    assert [(link, code) for link, code in alone.hangups()] == [("carol", "replaced")]
    assert len(alone.core.links) == 2


def test_chunk_lanes_from_before_a_peers_restart_are_hung_up() -> None:
    alone = Alone()
    alone.open("bob")
    lane = alone.open("bob", lane=CHUNKS_LANE)
    alone.open("bob", boot=2)
    assert alone.core.links.get(lane) is None
    assert alone.linked() == ["bob"]


def test_a_full_node_dials_nobody_by_itself() -> None:
    alone = Alone(connections_max=1)
    alone.open("bob")
    for number in range(5):
        alone.know(f"n{number}")
    alone.pass_time(3)
    assert [dial for dial in alone.node.seen(do.Dial) if not dial.is_wanted] == []


def test_a_full_node_now_and_then_looks_beyond_the_links_it_has() -> None:
    """Two groups, each with as many links as it may have, would never hear of each other's writes."""
    alone = Alone(connections_max=1)
    alone.open("bob")
    alone.know("carol")
    alone.pass_time(70)
    assert {(dial.peer, dial.is_wanted) for dial in alone.node.seen(do.Dial)} == {
        (node_of_name("carol"), True)
    }


# -- fewer links than before


def test_when_fewer_links_are_allowed_the_least_used_close_lanes_for_chunks_first() -> None:
    alone = Alone()
    links = [alone.open(name) for name in ("bob", "carol", "dave")]
    alone.open("dave", lane=CHUNKS_LANE)
    alone.pass_time(1)
    alone.hear(links[0], Note(b"", "", b""))
    alone.pass_time(1)
    alone.hear(links[2], Note(b"", "", b""))
    alone.node.handle(on.SetConnectionsMax(1, 2))
    assert alone.linked() == ["bob", "dave"]
    assert [name for name, _ in alone.hangups()] == ["dave", "carol"]
    alone.node.handle(on.SetConnectionsMax(2, 1))
    assert alone.linked() == ["dave"]
    assert isinstance(alone.node.answers[2], do.Resolve)
    alone.open("eve")
    assert alone.hangups()[-1] == ("eve", "busy")
    alone.node.handle(on.SetConnectionsMax(3, 0))
    assert alone.linked() == []


def test_when_more_links_are_allowed_they_are_dialled() -> None:
    alone = Alone(connections_max=1)
    alone.open("bob")
    alone.know("carol")
    alone.pass_time(2)
    alone.node.handle(on.SetConnectionsMax(1, 2))
    alone.pass_time(2)
    assert node_of_name("carol") in [dial.peer for dial in alone.node.seen(do.Dial)]


# -- silence and doubt


def test_a_link_over_which_nothing_comes_for_three_pings_is_hung_up() -> None:
    alone = Alone()
    alone.open("bob")
    alone.pass_time(1)
    alone.dead.add("bob")
    alone.pass_time(3 * PING_S - 1)
    assert alone.hangups() == []
    alone.pass_time(2 + PING_S / 2)
    assert alone.hangups() == [("bob", "silent")]
    assert alone.core.counters["links_silent"] == 1


def test_after_a_change_of_our_address_a_dead_link_is_found_soon_and_a_live_one_stays() -> None:
    alone = Alone()
    alone.open("bob")
    alone.open("carol")
    alone.pass_time(1)
    alone.dead.add("bob")
    alone.node.handle(on.AddressesChanged(("new:1",)))
    assert alone.core.directory.own.addresses == ("new:1",)
    alone.pass_time(DOUBT_S + 1.5)
    assert alone.hangups() == [("bob", "silent")]
    alone.pass_time(3 * PING_S)
    assert alone.linked() == ["carol"]


def test_after_a_change_of_a_members_address_its_link_is_in_doubt() -> None:
    alone = Alone()
    alone.open("carol")
    alone.open("bob")
    alone.pass_time(1)
    alone.dead.add("bob")
    alone.know("bob", 2, address="elsewhere:1")
    alone.pass_time(DOUBT_S + 1.5)
    assert alone.hangups() == [("bob", "silent")]
    alone.pass_time(1)
    assert "elsewhere:1" in [dial.address for dial in alone.node.seen(do.Dial)]


def test_links_for_chunks_outlive_a_doubt_and_go_when_it_is_confirmed() -> None:
    alone = Alone()
    alone.open("bob")
    lane = alone.open("bob", lane=CHUNKS_LANE)
    alone.pass_time(1)
    alone.node.handle(on.AddressesChanged(("new:1",)))
    alone.pass_time(DOUBT_S + 1.5)
    assert alone.core.links.get(lane) is not None
    alone.dead.add("bob")
    alone.node.handle(on.AddressesChanged(("newer:1",)))
    alone.pass_time(DOUBT_S + 1.5)
    assert alone.hangups() == [("bob", "silent"), ("bob", "closing")]


def test_a_word_over_a_link_in_doubt_ends_the_doubt() -> None:
    alone = Alone()
    link = alone.open("bob")
    alone.pass_time(1)
    alone.node.handle(on.AddressesChanged(("new:1",)))
    alone.dead.add("bob")  # No pong comes,
    alone.world.pass_time(0.1)
    alone.hear(link, Note(b"", "", b""))  # but something else.
    alone.pass_time(DOUBT_S + 3)
    assert alone.hangups() == []


# -- who wants no links


def test_a_node_that_leaves_takes_no_links_and_dials_nobody() -> None:
    alone = Alone()
    alone.open("bob")
    alone.know("carol")
    alone.node.handle(on.Leave(1))
    assert alone.hangups() == [("bob", "closing")]
    dials = len(alone.node.seen(do.Dial))
    alone.open("dave")
    assert alone.hangups()[1:] == [("dave", "closing")]
    alone.node.handle(on.Found(None, ("found:1",)))
    alone.pass_time(5)
    assert len(alone.node.seen(do.Dial)) == dials
    assert alone.linked() == []


def test_a_node_that_sleeps_takes_no_links_and_dials_nobody_until_it_wakes() -> None:
    alone = Alone()
    alone.open("bob")
    alone.know("carol")
    alone.node.handle(on.Sleep(1, 20_000_000_000))
    assert alone.hangups() == [("bob", "closing")]
    dials = len(alone.node.seen(do.Dial))
    alone.open("dave")
    assert alone.hangups()[1:] == [("dave", "closing")]
    alone.pass_time(19)
    assert len(alone.node.seen(do.Dial)) == dials
    alone.pass_time(2)
    assert {dial.peer for dial in alone.node.seen(do.Dial)[dials:]} >= {
        node_of_name("bob"), node_of_name("carol"),
    }  # fmt: skip
    alone.open("dave")
    assert alone.linked() == ["dave"]


# -- heard of on the local network


def test_an_address_heard_of_is_dialled_unless_its_member_is_linked() -> None:
    alone = Alone()
    alone.open("bob")
    alone.node.handle(on.Found(node_of_name("bob"), ("bob:2",)))
    alone.node.handle(on.Found(None, ("bob:1",)))
    assert alone.node.seen(do.Dial) == []
    alone.node.handle(on.Found(node_of_name("carol"), ("carol:1",)))
    alone.node.handle(on.Found(None, ("x:1",)))
    assert [(dial.peer, dial.address) for dial in alone.node.seen(do.Dial)] == [
        (None, "carol:1"), (None, "x:1"),
    ]  # fmt: skip


def test_an_address_heard_of_that_leads_to_a_linked_member_leaves_its_link_alone() -> None:
    """Or anyone on the network could have all links replaced for ever."""
    world = World("alice", "bob")
    alice, bob = world.nodes["alice"], world.nodes["bob"]
    first, _ = world.connect("alice", "bob")
    world.pass_time(20)
    alice.handle(on.Found(None, ("elsewhere:1",)))
    dial = alice.seen(do.Dial)[-1]
    assert (dial.address, dial.peer) == ("elsewhere:1", None)
    alice.jobs.clear()  # It does not fail.
    world.connect("alice", "bob", dial=dial.dial)
    world.pass_time(3)
    assert first.is_open
    assert [link.link for link in alice.core.links.records_links()] == [first.number]
    for node in (alice, bob):
        assert node.core.counters["links_opened"] == 1
        assert node.core.counters["links_lost"] == 0


def test_a_peer_that_moved_and_dials_anew_takes_the_place_of_its_old_link_at_once() -> None:
    alone = Alone()
    alone.open("bob")
    alone.pass_time(20)
    hello = msgspec.structs.replace(hello_of("bob"), member=member_of("bob", 2, addresses=("elsewhere:1",)))
    alone.names[2] = "bob"
    alone.node.handle(on.LinkOpened(2, node_of_name("bob"), hello, "elsewhere:1", 0))
    assert [link.link for link in alone.core.links.records_links()] == [2]


def test_a_peer_that_lost_its_link_unnoticed_is_taken_in_once_the_old_one_is_silent() -> None:
    alone = Alone()
    alone.open("bob")
    alone.pass_time(1)
    alone.dead.add("bob")
    alone.pass_time(PING_S)
    alone.open("bob")
    assert alone.linked() == ["bob"]
    assert alone.hangups() == [("bob", "duplicate")]
    assert alone.core.links.get(1) is not None
    alone.pass_time(PING_S + 1)
    third = alone.open("bob")
    assert [link.link for link in alone.core.links.records_links()] == [third]


# -- what is remembered of the gone


def test_nothing_is_kept_for_dialling_a_member_that_is_forgotten() -> None:
    world = World(config=CoreConfig(forget_after_ns=60_000_000_000))
    alice = world.add("alice")
    world.add("bob")
    world.connect("alice", "bob")
    world.run()
    world.crash("bob")
    world.pass_time(60)
    dialer = alice.core.switchboard._dialer
    assert node_of_name("bob") in dialer._members
    world.pass_time(200)
    assert alice.core.directory.get(node_of_name("bob")) is None
    assert dialer._members == {}
    assert {record.node for record in alice.store.open().members} == {node_of_name("alice")}
