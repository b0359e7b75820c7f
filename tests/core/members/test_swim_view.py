"""Views: columns that count right, sums that do not care for the order, walks that miss nobody."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.members.swim.order import ProbeOrder
from bellande_mesh_sync.core.members.swim.roster import Roster
from bellande_mesh_sync.core.members.swim.view import ALIVE, ASLEEP, DEAD, LEFT, SUSPECT, View
from tests.core.making import member_of, node_of_name, verify
from tests.core.members.swimming import put

STANDINGS = st.sampled_from((ALIVE, SUSPECT, DEAD, ASLEEP, LEFT))
CHANGES = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3), STANDINGS))


def view_of(count: int) -> View:
    view = View(Roster(verify))
    for number in range(count):
        put(view, member_of(f"n{number}"))
    return view


@given(CHANGES, st.randoms(use_true_random=False))
def test_the_fingerprint_depends_on_what_is_believed_and_not_on_the_way_there(
    changes: list[tuple[int, int, int]], shuffler: random.Random
) -> None:
    one, other = View(Roster(verify)), View(Roster(verify))
    for number, incarnation, standing in changes:
        put(one, member_of(f"n{number}", incarnation), standing)
    last = list(
        {number: (number, incarnation, standing) for number, incarnation, standing in changes}.values()
    )
    shuffler.shuffle(last)
    for number, incarnation, standing in last:
        put(other, member_of(f"n{number}", incarnation), standing)
    assert one.fingerprint() == other.fingerprint()
    assert one.sums() == other.sums()
    assert (one.known_count, one.live_count, len(one.down)) == (
        other.known_count, other.live_count, len(other.down)
    )  # fmt: skip


@pytest.mark.parametrize("standing", [DEAD, ASLEEP, LEFT])
def test_a_member_that_is_down_changes_the_fingerprint_and_a_suspect_does_not(standing: int) -> None:
    view = view_of(5)
    before = view.fingerprint()
    put(view, member_of("n3"), SUSPECT)
    assert view.fingerprint() == before
    put(view, member_of("n3"), standing)
    assert view.fingerprint() != before
    assert view.buckets_unlike(view_of(5).sums()) == [node_of_name("n3")[0]]


def test_a_roster_of_one_view_uses_numbers_again() -> None:
    view = view_of(5)
    for incarnation in range(2, 50):
        put(view, member_of("n3", incarnation))
    assert len(view.roster.records) <= 6
    index = view.roster.find(node_of_name("n3"))
    view.forget(index)
    assert view.roster.find(node_of_name("n3")) == -1
    assert put(view, member_of("newcomer")) == index


def test_a_record_with_a_wrong_signature_gets_no_number() -> None:
    forged = msgspec.structs.replace(member_of("bob"), incarnation=7)
    assert Roster(verify).number_of(forged) == -1


@pytest.mark.parametrize("count", [2, 3, 10, 33, 100])
def test_each_live_member_is_probed_once_in_a_round(count: int) -> None:
    view = view_of(count)
    order = ProbeOrder(0, random.Random(count))
    for _ in range(3):
        assert sorted(order.next(view) for _ in range(count - 1)) == list(range(1, count))


def test_the_dead_are_not_probed_even_if_nearly_all_are_dead() -> None:
    view = view_of(64)
    for number in range(3, 64):
        put(view, member_of(f"n{number}"), DEAD)
    order = ProbeOrder(0, random.Random(1))
    assert sorted({order.next(view) for _ in range(10)}) == [1, 2]
    assert sorted(view.choose_live(random.Random(1), 3, 0)) == [1, 2]
    put(view, member_of("n9", 2))
    assert 9 in {order.next(view) for _ in range(6)}


def test_alone_there_is_nobody_to_probe() -> None:
    assert ProbeOrder(0, random.Random(1)).next(view_of(1)) == -1
