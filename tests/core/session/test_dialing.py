"""Dialling: whom, how often, and never in step."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.messages import CHUNKS_LANE
from bellande_mesh_sync.core.session.dialing import Dialer
from bellande_mesh_sync.ids import Now
from tests.core.making import at, member_of, node_of_name

CONFIG = CoreConfig()
BOB = member_of("bob")
NONE_LINKED: set[bytes] = set()


def dialer(*bootstrap: str, seed: int = 1) -> Dialer:
    return Dialer(CONFIG, bootstrap, random.Random(seed))


def pause_after(one: Dialer, dial: int, now: Now) -> int:
    """How long after this failed dial the next one starts, to the millisecond."""
    one.failed(dial, "unreachable", now)
    for ms in range(31_001):
        if one.due([BOB], set(), 1, Now(now.mono_ns + ms * 1_000_000, 0)):
            return ms
    raise AssertionError("never dialled again")


def test_a_member_without_a_link_is_dialled_once_at_a_time() -> None:
    one = dialer()
    (dial,) = one.due([BOB], set(), 9, at())
    assert (dial.peer, dial.address) == (BOB.node, "bob:1")
    assert one.due([BOB], set(), 9, at(100)) == []
    assert dialer().due([BOB], {BOB.node}, 9, at()) == []
    assert dialer().due([member_of("bob", addresses=())], set(), 9, at()) == []


def test_there_are_never_more_dials_than_room() -> None:
    members = [member_of(f"n{i}") for i in range(9)]
    one = dialer("x:1")
    assert len(one.due(members, set(), 4, at())) == 4
    assert len(one.due(members, set(), 99, at())) == 6
    assert dialer().due(members, set(), 0, at()) == []
    assert dialer().due(members, set(), -3, at()) == []


@given(st.integers(0, 1000))
def test_pauses_grow_within_their_bounds(seed: int) -> None:
    one = dialer(seed=seed)
    now = at()
    for failures in range(1, 8):
        (dial,) = one.due([BOB], set(), 1, now)
        one.failed(dial.dial, "unreachable", now)
        longest_ns = min(CONFIG.redial_min_ns << failures, CONFIG.redial_max_ns)
        assert one.due([BOB], set(), 1, Now(now.mono_ns + CONFIG.redial_min_ns - 1, 0)) == []
        now = Now(now.mono_ns + max(longest_ns, CONFIG.redial_min_ns), 0)


def test_pauses_of_different_nodes_are_not_in_step() -> None:
    pauses = set()
    for seed in range(20):
        one, now = dialer(seed=seed), at()
        for _ in range(6):
            (dial,) = one.due([BOB], set(), 1, now)
            one.failed(dial.dial, "unreachable", now)
            now = Now(now.mono_ns + CONFIG.redial_max_ns, 0)
        (dial,) = one.due([BOB], set(), 1, now)
        pauses.add(pause_after(one, dial.dial, now))
    assert len(pauses) > 10
    assert max(pauses) <= CONFIG.redial_max_ns // 1_000_000 + 1


def test_every_address_of_a_member_gets_its_turn() -> None:
    one, member = dialer(), member_of("bob", addresses=("a:1", "b:1", "c:1"))
    dialled, now = [], at()
    for _ in range(4):
        (dial,) = one.due([member], set(), 1, now)
        dialled.append(dial.address)
        one.failed(dial.dial, "unreachable", now)
        now = Now(now.mono_ns + CONFIG.redial_max_ns, 0)
    assert dialled == ["a:1", "b:1", "c:1", "a:1"]


def test_a_bootstrap_address_is_left_alone_while_whoever_answered_there_is_linked() -> None:
    one = dialer("boot:1")
    (dial,) = one.due([], set(), 9, at())
    assert (dial.peer, dial.address) == (None, "boot:1")
    one.opened(dial.dial, BOB.node)
    assert one.due([BOB], {BOB.node}, 9, at(100)) == []


def test_ones_own_bootstrap_address_is_never_dialled_again() -> None:
    one = dialer("me:1", "bob:1")
    mine, other = one.due([], set(), 9, at())
    one.failed(mine.dial, "self", at())
    one.failed(other.dial, "unreachable", at())
    assert [dial.address for dial in one.due([], set(), 9, at(100))] == ["bob:1"]


def test_a_lost_link_is_dialled_again_soon_but_not_all_at_once() -> None:
    starts = set()
    for seed in range(20):
        one = dialer(seed=seed)
        (dial,) = one.due([BOB], set(), 1, at())
        one.opened(dial.dial, BOB.node)
        one.lost(BOB.node, "lost", at(5))
        starts.add(
            next(ms for ms in range(300) if one.due([BOB], set(), 1, Now(at(5).mono_ns + ms * 1_000_000, 0)))
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
    assert [dial.address for dial in one.due([BOB], set(), 9, at())] == ["bob:1"]
