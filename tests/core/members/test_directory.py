"""The directory: what programs and people are told of each member, and whose disks count."""

from __future__ import annotations

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.effects import MemberChanged
from bellande_mesh_sync.core.members.directory import Directory
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.members.swim.roster import Roster
from bellande_mesh_sync.core.members.swim.view import ALIVE, ASLEEP, DEAD, LEFT, REMOVED, SUSPECT, View
from bellande_mesh_sync.ids import NodeId
from tests.core.making import at, member_of, node_of_name, verify
from tests.core.members.swimming import put

ALICE, BOB, CAROL = map(node_of_name, ("alice", "bob", "carol"))
REBALANCE_S = CoreConfig().rebalance_after_ns / 1e9
NAMES = {ALIVE: "alive", SUSPECT: "suspect", DEAD: "dead", ASLEEP: "asleep", LEFT: "left", REMOVED: "left"}


class Place:
    """Alice's directory over a view that the test fills; `stored` is the peer book."""

    def __init__(self, *stored: MemberRecord) -> None:
        self.view = View(Roster(verify))
        put(self.view, member_of("alice"))
        for record in stored:
            put(self.view, record, LEFT if record.left else ALIVE)
        self.directory = Directory(CoreConfig(), ALICE, self.view)
        self.directory.start(at())

    def become(self, name: str, standing: int, seconds: float = 0.0) -> list[MemberChanged]:
        """The failure detector believes this now, and says so."""
        put(self.view, member_of(name), standing, at(seconds).mono_ns)
        node = node_of_name(name)
        change = MemberChanged(node, name, "whatever", NAMES[standing], f"now {NAMES[standing]}")
        return self.directory.changed(change, at(seconds))

    def state(self, name: str) -> str:
        member = self.directory.get(node_of_name(name))
        return "" if member is None else member.state.value


# -- the peer book


def test_who_is_only_known_from_the_peer_book_is_shown_as_suspect_or_as_left() -> None:
    place = Place(member_of("bob"), member_of("carol", left=True))
    assert (place.state("bob"), place.state("carol")) == ("suspect", "left")
    assert place.directory.get(BOB).reason == "known from the peer book"  # type: ignore[union-attr]
    assert place.directory.has_unheard


def test_the_doubt_counts_from_the_start_of_this_run() -> None:
    view = View(Roster(verify))
    put(view, member_of("bob"))
    directory = Directory(CoreConfig(), ALICE, view)
    directory.start(at(1e6))
    assert directory.get(BOB).since_ns == at(1e6).mono_ns  # type: ignore[union-attr]


def test_a_member_of_the_peer_book_that_was_heard_is_alive_and_that_is_told_once() -> None:
    place = Place(member_of("bob"), member_of("carol"))
    (change,) = place.directory.heard(BOB, "linked", at(1))
    assert change == MemberChanged(BOB, "bob", "suspect", "alive", "linked")
    assert place.directory.heard(BOB, "linked", at(2)) == []
    assert place.state("carol") == "suspect"
    assert place.directory.has_unheard


def test_hearing_a_stranger_or_somebody_who_left_changes_nothing() -> None:
    place = Place(member_of("carol", left=True))
    assert place.directory.heard(BOB, "linked", at()) == []
    assert place.directory.heard(CAROL, "linked", at()) == []
    assert place.state("carol") == "left"


def test_all_that_are_still_in_doubt_are_cleared_together() -> None:
    place = Place(member_of("bob"), member_of("carol"), member_of("dave"))
    place.directory.heard(BOB, "linked", at())
    changes = place.directory.all_heard("known to the members met", at(3))
    assert {change.name for change in changes} == {"carol", "dave"}
    assert {change.reason for change in changes} == {"known to the members met"}
    assert not place.directory.has_unheard
    assert place.directory.all_heard("again", at(4)) == []


def test_what_the_failure_detector_finds_ends_the_doubt_and_is_told_only_if_it_shows() -> None:
    place = Place(member_of("bob"), member_of("carol"))
    assert place.become("bob", SUSPECT, 1) == []  # It was shown as that already,
    assert place.directory.get(BOB).reason == "now suspect"  # type: ignore[union-attr]
    (change,) = place.become("bob", DEAD, 9)
    assert (change.old_state, change.new_state) == ("suspect", "dead")
    assert [change.name for change in place.directory.all_heard("known", at(10))] == ["carol"]
    assert place.state("bob") == "dead"  # and nobody clears it afterwards.


# -- what is told


def test_a_newcomer_comes_from_no_state() -> None:
    place = Place()
    assert place.become("bob", ALIVE, 1) == [MemberChanged(BOB, "bob", "", "alive", "now alive")]
    assert place.state("bob") == "alive"


def test_each_change_is_told_from_what_was_last_shown() -> None:
    place = Place()
    steps = [place.become("bob", standing, 1)[0] for standing in (ALIVE, SUSPECT, DEAD, ASLEEP, ALIVE, LEFT)]
    assert [change.old_state for change in steps] == ["", "alive", "suspect", "dead", "asleep", "alive"]
    assert place.become("bob", LEFT, 2) == []


def test_the_time_in_a_state_begins_with_it_and_another_reason_does_not_begin_it_anew() -> None:
    place = Place()
    place.become("bob", ALIVE, 1)
    place.become("bob", DEAD, 5)
    place.become("bob", DEAD, 9)
    assert place.directory.get(BOB).since_ns == at(5).mono_ns  # type: ignore[union-attr]


def test_a_stranger_has_the_beginning_of_its_id_for_a_name_and_no_entry() -> None:
    place = Place()
    assert place.directory.name_of(BOB) == BOB.hex()[:12]
    assert place.directory.record_of(BOB) is None
    assert place.directory.get(BOB) is None
    assert place.directory.name_of(ALICE) == "alice"
    assert place.directory.own.node == ALICE


def test_all_others_come_in_the_order_of_their_ids() -> None:
    place = Place(*(member_of(f"n{number}") for number in range(20)))
    nodes = [member.record.node for member in place.directory.others()]
    assert nodes == sorted(nodes)
    assert len(nodes) == 20
    assert ALICE not in nodes


# -- whom to dial, and who is near


def test_suspects_are_dialled_like_the_living_and_who_sleeps_or_left_is_not() -> None:
    place = Place()
    for name, standing in (
        ("a", ALIVE), ("s", SUSPECT), ("d", DEAD), ("z", ASLEEP), ("l", LEFT), ("r", REMOVED),
    ):  # fmt: skip
        place.become(name, standing)
    live, dead = place.directory.live_and_dead()
    assert {record.name for record in live} == {"a", "s"}
    assert [record.name for record in dead] == ["d"]
    assert [name for name in "asdzlr" if place.directory.is_live(node_of_name(name))] == ["a", "s"]
    assert not place.directory.is_live(BOB)


def test_who_is_nearest_is_asked_among_all_members_this_node_included() -> None:
    place = Place(member_of("bob"))
    place.become("carol", ALIVE)
    place.become("carol", DEAD)
    assert len(place.directory.nearest) == 3
    for node in (ALICE, BOB, CAROL):
        assert place.directory.nearest.nearest(node, 1) == [node]


def test_nothing_is_left_of_a_member_that_is_forgotten() -> None:
    place = Place(member_of("bob"), member_of("carol"))
    place.view.forget(place.view.roster.find(BOB))
    place.directory.forgotten(BOB)
    assert place.directory.get(BOB) is None
    assert [member.record.name for member in place.directory.others()] == ["carol"]
    assert BOB not in place.directory.nearest.nearest(BOB, 9)
    assert BOB not in place.directory.owners(at())
    assert [change.name for change in place.directory.all_heard("known", at())] == ["carol"]
    place.directory.forgotten(BOB)
    assert place.become("bob", ALIVE)[0].old_state == ""


# -- whose disks count


def owners(place: Place, seconds: float) -> set[NodeId]:
    return set(place.directory.owners(at(seconds)))


def test_all_members_are_owners_even_those_that_are_in_doubt() -> None:
    place = Place(member_of("bob"), member_of("carol", left=True))
    place.become("dave", SUSPECT)
    assert owners(place, 0) == {ALICE, BOB, node_of_name("dave")}


def test_who_is_dead_or_asleep_for_long_is_no_owner_any_more() -> None:
    for standing in (DEAD, ASLEEP):
        place = Place(member_of("bob"), member_of("carol"))
        place.become("bob", standing, 5)
        assert owners(place, 5) == {ALICE, BOB, CAROL}
        assert owners(place, 4.9 + REBALANCE_S) == {ALICE, BOB, CAROL}
        assert owners(place, 5 + REBALANCE_S) == {ALICE, CAROL}
        place.become("bob", ALIVE, 6 + REBALANCE_S)
        assert owners(place, 6 + REBALANCE_S) == {ALICE, BOB, CAROL}


def test_several_that_died_one_after_the_other_cease_to_count_one_after_the_other() -> None:
    place = Place(member_of("bob"), member_of("carol"))
    place.become("bob", DEAD, 5)
    place.become("carol", DEAD, 9)
    assert owners(place, 9) == {ALICE, BOB, CAROL}
    assert owners(place, 5 + REBALANCE_S) == {ALICE, CAROL}
    assert owners(place, 9 + REBALANCE_S) == {ALICE}


def test_who_left_is_no_owner_from_that_moment() -> None:
    place = Place(member_of("bob"))
    assert owners(place, 1) == {ALICE, BOB}
    place.become("bob", LEFT, 2)
    assert owners(place, 2) == {ALICE}


def test_a_sleeper_that_overslept_is_counted_from_when_it_fell_asleep() -> None:
    place = Place()
    place.become("bob", ALIVE)
    place.become("bob", ASLEEP, 1)
    place.become("bob", DEAD, 100)
    assert owners(place, REBALANCE_S) == {ALICE, BOB}
    assert owners(place, 1 + REBALANCE_S) == {ALICE}
