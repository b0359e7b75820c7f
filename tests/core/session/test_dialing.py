"""Dialling: whom, how often, and never in step."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.messages import CHUNKS_LANE
from bellande_mesh_sync.core.session.dialing import (
    DEAD_DIALS_MAX,
    FOUND_DIALS_MAX,
    FOUND_MAX,
    FOUND_TRIES_MAX,
    LASTING_NS,
    UNDER_WAY_MAX,
    WANTED_DIALS_MAX,
    Dialer,
)
from bellande_mesh_sync.core.session.links import Links
from bellande_mesh_sync.ids import Now
from tests.core.making import at, link_to, member_of, node_of_name

CONFIG = CoreConfig()
BOB = member_of("bob")
NO_LINKS = Links(node_of_name("alice"))


def dialer(*bootstrap: str, seed: int = 1) -> Dialer:
    return Dialer(CONFIG, bootstrap, random.Random(seed))


def pause_after(one: Dialer, dial: int, now: Now) -> int:
    """How long after this failed dial the next one starts, to the millisecond."""
    one.failed(dial, "unreachable", now)
    for ms in range(31_001):
        if one.due([BOB], [], set(), 1, Now(now.mono_ns + ms * 1_000_000, 0)):
            return ms
    raise AssertionError("never dialled again")


def test_a_member_without_a_link_is_dialled_once_at_a_time() -> None:
    one = dialer()
    (dial,) = one.due([BOB], [], set(), 9, at())
    assert (dial.peer, dial.address) == (BOB.node, "bob:1")
    assert one.due([BOB], [], set(), 9, at(100)) == []
    assert dialer().due([BOB], [], {BOB.node}, 9, at()) == []
    assert dialer().due([member_of("bob", addresses=())], [], set(), 9, at()) == []


def test_there_are_never_more_dials_than_room() -> None:
    members = [member_of(f"n{i}") for i in range(9)]
    one = dialer("x:1")
    assert len(one.due(members, [], set(), 4, at())) == 4
    assert len(one.due(members, [], set(), 99, at())) == 6
    assert dialer().due(members, [], set(), 0, at()) == []
    assert dialer().due(members, [], set(), -3, at()) == []


@given(st.integers(0, 1000))
def test_pauses_grow_within_their_bounds(seed: int) -> None:
    one = dialer(seed=seed)
    now = at()
    for failures in range(1, 8):
        (dial,) = one.due([BOB], [], set(), 1, now)
        one.failed(dial.dial, "unreachable", now)
        longest_ns = min(CONFIG.redial_min_ns << failures, CONFIG.redial_max_ns)
        assert one.due([BOB], [], set(), 1, Now(now.mono_ns + CONFIG.redial_min_ns - 1, 0)) == []
        now = Now(now.mono_ns + max(longest_ns, CONFIG.redial_min_ns), 0)


def test_pauses_of_different_nodes_are_not_in_step() -> None:
    pauses = set()
    for seed in range(20):
        one, now = dialer(seed=seed), at()
        for _ in range(6):
            (dial,) = one.due([BOB], [], set(), 1, now)
            one.failed(dial.dial, "unreachable", now)
            now = Now(now.mono_ns + CONFIG.redial_max_ns, 0)
        (dial,) = one.due([BOB], [], set(), 1, now)
        pauses.add(pause_after(one, dial.dial, now))
    assert len(pauses) > 10
    assert max(pauses) <= CONFIG.redial_max_ns // 1_000_000 + 1


def test_every_address_of_a_member_gets_its_turn() -> None:
    one, member = dialer(), member_of("bob", addresses=("a:1", "b:1", "c:1"))
    dialled, now = [], at()
    for _ in range(4):
        (dial,) = one.due([member], [], set(), 1, now)
        dialled.append(dial.address)
        one.failed(dial.dial, "unreachable", now)
        now = Now(now.mono_ns + CONFIG.redial_max_ns, 0)
    assert dialled == ["a:1", "b:1", "c:1", "a:1"]


def test_a_bootstrap_address_is_left_alone_while_whoever_answered_there_is_linked() -> None:
    one = dialer("boot:1")
    (dial,) = one.due([], [], set(), 9, at())
    assert (dial.peer, dial.address) == (None, "boot:1")
    one.opened(dial.dial, BOB.node)
    assert one.due([BOB], [], {BOB.node}, 9, at(100)) == []


def test_ones_own_bootstrap_address_is_never_dialled_again() -> None:
    one = dialer("me:1", "bob:1")
    mine, other = one.due([], [], set(), 9, at())
    one.failed(mine.dial, "self", at())
    one.failed(other.dial, "unreachable", at())
    assert [dial.address for dial in one.due([], [], set(), 9, at(100))] == ["bob:1"]


def test_a_lost_link_is_dialled_again_soon_but_not_all_at_once() -> None:
    starts = set()
    for seed in range(20):
        one = dialer(seed=seed)
        (dial,) = one.due([BOB], [], set(), 1, at())
        one.opened(dial.dial, BOB.node)
        one.lost(BOB.node, "lost", LASTING_NS, at(5))
        starts.add(
            next(
                ms
                for ms in range(300)
                if one.due([BOB], [], set(), 1, Now(at(5).mono_ns + ms * 1_000_000, 0))
            )
        )
    assert len(starts) > 5
    assert max(starts) <= CONFIG.redial_min_ns // 1_000_000 + 1


def test_one_link_for_chunks_is_dialled_at_a_time_and_its_failure_names_the_peer() -> None:
    one = dialer()
    dial = one.dial_for_chunks(BOB)
    assert dial is not None
    assert (dial.lane, dial.peer) == (CHUNKS_LANE, BOB.node)
    assert one.dial_for_chunks(BOB) is None
    assert one.dial_for_chunks(member_of("carol", addresses=())) is None
    assert one.chunk_dial_failed(dial.dial) == BOB.node
    again = one.dial_for_chunks(BOB)
    assert again is not None
    one.opened(again.dial, BOB.node)
    assert one.dial_for_chunks(BOB) is not None


def test_an_unknown_dial_changes_nothing() -> None:
    one = dialer()
    one.opened(77, node_of_name("bob"))
    assert one.failed(77, "unreachable", at()) is None


def test_a_member_is_not_dialled_twice_at_once_because_it_is_also_the_bootstrap_address() -> None:
    """Two dials one way would each be the newer link at one of the ends: both would be hung up."""
    one = dialer("bob:1")
    assert [dial.address for dial in one.due([BOB], [], set(), 9, at())] == ["bob:1"]


# -- the dead


def test_only_a_few_dead_members_are_tried_in_one_round_and_the_living_before_them() -> None:
    one = dialer()
    dead = [member_of(f"dead-{number}") for number in range(30)]
    live = [member_of(f"live-{number}") for number in range(9)]
    dials = one.due(live, dead, set(), 100, at())
    assert [dial.peer for dial in dials] == [member.node for member in live + dead[:DEAD_DIALS_MAX]]
    assert len(one.due(live, dead, set(), 100, at(1))) == DEAD_DIALS_MAX
    assert len(dialer().due(live, dead, set(), 10, at())) == 10
    assert len(dialer().due(live, dead, set(), 9, at())) == 9


def test_no_more_than_so_many_handshakes_are_under_way_at_once() -> None:
    one = dialer()
    members = [member_of(f"n{number}") for number in range(UNDER_WAY_MAX + 40)]
    dials = one.due(members, [], set(), 1_000, at())
    assert len(dials) == UNDER_WAY_MAX
    assert one.due(members, [], set(), 1_000, at(1)) == []
    for dial in dials[:7]:
        one.failed(dial.dial, "unreachable", at(1))
    assert len(one.due(members, [], set(), 1_000, at(1))) == 7


# -- who moved


def test_a_member_that_moved_is_dialled_at_once_at_its_new_address() -> None:
    one, now = dialer(), at()
    for _ in range(6):
        (dial,) = one.due([BOB], [], set(), 9, now)
        one.failed(dial.dial, "unreachable", now)
        now = Now(now.mono_ns + CONFIG.redial_max_ns, 0)
    (dial,) = one.due([BOB], [], set(), 9, now)
    one.failed(dial.dial, "unreachable", now)
    assert one.due([BOB], [], set(), 9, now) == []
    moved = member_of("bob", 2, addresses=("elsewhere:1",))
    assert [dial.address for dial in one.due([moved], [], set(), 9, now)] == ["elsewhere:1"]


# -- links that something waits for


def test_a_wanted_link_is_dialled_whether_there_is_room_or_not() -> None:
    one = dialer()
    assert one.due([BOB], [], set(), 0, at()) == []
    (dial,) = one.due_wanted([BOB], set(), at())
    assert (dial.peer, dial.is_wanted) == (BOB.node, True)
    assert one.due_wanted([BOB], set(), at(9)) == []
    assert one.opened(dial.dial, BOB.node)
    assert one.due_wanted([BOB], {BOB.node}, at(9)) == []


def test_so_many_wanted_dials_are_under_way_at_once() -> None:
    one = dialer()
    members = [member_of(f"n{number}") for number in range(WANTED_DIALS_MAX + 4)]
    dials = one.due_wanted(members, set(), at())
    assert len(dials) == WANTED_DIALS_MAX
    assert one.due_wanted(members, set(), at()) == []
    one.failed(dials[0].dial, "unreachable", at())
    assert one.opened(dials[1].dial, members[1].node)
    more = one.due_wanted(members, {members[1].node}, at())
    assert [dial.peer for dial in more] == [member.node for member in members[-4:-2]]


def test_a_dial_that_nothing_waits_for_opens_no_wanted_link() -> None:
    one = dialer()
    (dial,) = one.due([BOB], [], set(), 1, at())
    assert not dial.is_wanted
    assert not one.opened(dial.dial, BOB.node)
    assert not one.opened(77, BOB.node)


# -- addresses from operators, and those heard of


def test_an_added_address_is_dialled_at_once_even_if_it_has_failed_before() -> None:
    one = dialer("boot:1")
    (dial,) = one.due([], [], set(), 9, at())
    one.failed(dial.dial, "unreachable", at())
    assert one.due([], [], set(), 9, at()) == []
    one.add(["boot:1", "other:1"])
    assert [dial.address for dial in one.due([], [], set(), 9, at())] == ["boot:1", "other:1"]


def test_an_address_that_is_added_while_it_is_dialled_is_not_dialled_twice() -> None:
    one = dialer("boot:1")
    (dial,) = one.due([], [], set(), 9, at())
    one.add(["boot:1"])
    assert one.due([], [], set(), 9, at()) == []
    one.failed(dial.dial, "unreachable", at())
    assert [dial.address for dial in one.due([], [], set(), 9, at(60))] == ["boot:1"]


def test_an_address_heard_of_is_given_up_after_a_few_failures() -> None:
    one, now = dialer(), at()
    one.found(["found:1"], NO_LINKS)
    for _ in range(FOUND_TRIES_MAX):
        (dial,) = one.due([], [], set(), 9, now)
        assert (dial.peer, dial.address) == (None, "found:1")
        one.failed(dial.dial, "unreachable", now)
        now = Now(now.mono_ns + CONFIG.redial_max_ns, 0)
    assert one.due([], [], set(), 9, now) == []
    one.found(["found:1"], NO_LINKS)
    assert len(one.due([], [], set(), 9, now)) == 1


def test_an_address_heard_of_where_a_member_answered_is_dialled_by_name_from_then_on() -> None:
    one = dialer()
    one.found(["found:1"], NO_LINKS)
    (dial,) = one.due([], [], set(), 9, at())
    one.opened(dial.dial, BOB.node)
    one.lost(BOB.node, "closed", LASTING_NS, at(1))
    assert [dial.peer for dial in one.due([BOB], [], set(), 9, at(60))] == [BOB.node]


def test_an_added_address_is_never_given_up_even_if_it_was_only_heard_of_before() -> None:
    one, now = dialer(), at()
    one.found(["found:1"], NO_LINKS)
    one.add(["found:1"])
    for _ in range(FOUND_TRIES_MAX + 3):
        (dial,) = one.due([], [], set(), 9, now)
        one.failed(dial.dial, "unreachable", now)
        now = Now(now.mono_ns + CONFIG.redial_max_ns, 0)


def test_whoever_shouts_on_the_local_network_cannot_make_us_remember_any_number_of_addresses() -> None:
    one = dialer("boot:1")
    one.found([f"a{number}:1" for number in range(10 * FOUND_MAX)], NO_LINKS)
    dials = []
    while more := one.due([], [], set(), 10_000, at()):
        dials += more
        assert len([dial for dial in more if dial.address != "boot:1"]) <= FOUND_DIALS_MAX
        for dial in more:
            one.failed(dial.dial, "unreachable", at())
    assert len(dials) == FOUND_MAX
    assert dials[0].address == "boot:1"
    one.found(["boot:1"], NO_LINKS)  # A bootstrap address stays one.


def test_addresses_heard_of_take_no_room_from_members() -> None:
    one = dialer()
    one.found((f"a{number}:1" for number in range(50)), NO_LINKS)
    assert len(one.due([], [], set(), 100, at())) == FOUND_DIALS_MAX
    assert one.under_way_count == 0
    assert one.due([], [], set(), 100, at(1)) == []
    members = [member_of(f"n{number}") for number in range(UNDER_WAY_MAX)]
    assert len(one.due(members, [], set(), 1_000, at(1))) == UNDER_WAY_MAX


def test_an_address_heard_of_again_is_left_alone_while_whoever_answered_there_is_linked() -> None:
    one, links = dialer(), Links(node_of_name("alice"))
    one.found(["found:1"], links)
    (dial,) = one.due([], [], set(), 9, at())
    one.opened(dial.dial, BOB.node)
    links.add(link_to("bob"))
    one.found(["found:1"], links)
    assert one.due([], [], {BOB.node}, 9, at(60)) == []
    links.remove(1)
    one.found(["found:1"], links)
    assert [dial.address for dial in one.due([], [], set(), 9, at(120))] == ["found:1"]


# -- links that do not last


def refused(one: Dialer, code: str, seconds: float, members: list[MemberRecord]) -> int:
    """How often the members, or the bootstrap address, are dialled within so many seconds."""
    count = 0
    for tick in range(round(seconds)):
        for dial in one.due(members, [], set(), 9, at(tick)):
            count += 1
            one.opened(dial.dial, BOB.node)
            one.lost(BOB.node, code, 50_000_000, at(tick))
    return count


@pytest.mark.parametrize("code", ["busy", "closing", "closed"])
def test_a_peer_that_refuses_every_link_is_dialled_after_growing_pauses(code: str) -> None:
    assert refused(dialer(), code, 600, [BOB]) < 70
    assert refused(dialer("boot:1"), code, 600, []) < 70


def test_pauses_begin_anew_after_a_link_that_lasted() -> None:
    one = dialer()
    refused(one, "busy", 600, [BOB])
    (dial,) = one.due([BOB], [], set(), 9, at(700))
    one.opened(dial.dial, BOB.node)
    one.lost(BOB.node, "closed", LASTING_NS, at(800))
    assert len(one.due([BOB], [], set(), 9, at(801))) == 1


def test_an_address_of_a_member_that_left_is_tried_again_for_a_newcomer_may_be_there() -> None:
    one = dialer("bob:1")
    (dial,) = one.due([BOB], [], set(), 9, at())
    assert dial.peer == BOB.node
    one.opened(dial.dial, BOB.node)
    one.lost(BOB.node, "closing", LASTING_NS, at(5))
    (dial,) = one.due([], [], set(), 9, at(60))
    assert (dial.peer, dial.address) == (None, "bob:1")


def test_an_address_is_left_alone_while_whoever_answered_there_is_asleep() -> None:
    one = dialer("boot:1")
    (dial,) = one.due([], [], set(), 9, at())
    one.opened(dial.dial, BOB.node)
    one.lost(BOB.node, "closing", LASTING_NS, at(5))
    assert one.due([], [], set(), 9, at(60), frozenset({BOB.node})) == []
    assert len(one.due([], [], set(), 9, at(60))) == 1


def test_all_pauses_end_when_an_operator_asks_for_it() -> None:
    one = dialer("boot:1")
    for dial in one.due([BOB], [], set(), 9, at()):
        one.failed(dial.dial, "unreachable", at())
    assert one.due([BOB], [], set(), 9, at()) == []
    one.retry_all()
    assert len(one.due([BOB], [], set(), 9, at())) == 2


def test_a_forgotten_member_that_comes_back_is_dialled_without_a_pause() -> None:
    one = dialer()
    (dial,) = one.due([BOB], [], set(), 9, at())
    one.failed(dial.dial, "unreachable", at())
    one.forget(BOB.node)
    assert len(one.due([BOB], [], set(), 9, at())) == 1
