"""Links: of two between the same peers, both ends keep the same one."""

from __future__ import annotations

from itertools import permutations

import pytest

from bellande_mesh_sync.core.messages import CHUNKS_LANE
from bellande_mesh_sync.core.session.links import CROSSED_DIALS_NS, Link, Links
from tests.core.making import at, link_to, node_of_name

SURE_S = Links(node_of_name("alice")).healthy_ns / 1e9
LATE_S = CROSSED_DIALS_NS / 1e9 + 20
LOW, HIGH = sorted(["alice", "bob"], key=node_of_name)


def survivor(links: Links, opened: list[Link]) -> int:
    for link in opened:
        links.add(link)
    (kept,) = links.records_links()
    return kept.link


def test_crossed_dials_end_in_the_same_link_whatever_the_order_at_either_end() -> None:
    # Link 1 was dialled by the smaller id, link 2 by the larger.
    for order_at_low in permutations([1, 2]):
        for order_at_high in permutations([1, 2]):
            at_low = {1: link_to(HIGH, 1, is_outbound=True), 2: link_to(HIGH, 2, is_outbound=False)}
            at_high = {1: link_to(LOW, 1, is_outbound=False), 2: link_to(LOW, 2, is_outbound=True)}
            kept_low = survivor(Links(node_of_name(LOW)), [at_low[n] for n in order_at_low])
            kept_high = survivor(Links(node_of_name(HIGH)), [at_high[n] for n in order_at_high])
            assert kept_low == kept_high == 1


def test_the_link_that_has_to_go_is_returned_and_forgotten() -> None:
    links = Links(node_of_name(LOW))
    mine, theirs = link_to(HIGH, 1, is_outbound=True), link_to(HIGH, 2, is_outbound=False)
    assert links.add(theirs) is None
    assert links.add(mine) is theirs
    assert links.add(link_to(HIGH, 3, is_outbound=False)).link == 3  # type: ignore[union-attr]
    assert links.get(2) is None
    assert links.get(3) is None
    assert links.to(node_of_name(HIGH)) is mine
    assert len(links) == 1


@pytest.mark.parametrize("is_outbound", [True, False])
def test_a_restarted_peer_no_longer_knows_the_old_link(is_outbound: bool) -> None:
    for local, peer in ((LOW, HIGH), (HIGH, LOW)):
        links = Links(node_of_name(local))
        old = link_to(peer, 1, boot=1, is_outbound=not is_outbound)
        new = link_to(peer, 2, boot=2, is_outbound=is_outbound)
        links.add(old)
        assert links.add(new) is old
        assert links.to(new.peer) is new


@pytest.mark.parametrize("is_same_way", [True, False])
def test_a_link_opened_long_after_replaces_a_silent_one_at_both_ends_and_no_other(is_same_way: bool) -> None:
    for local, peer in ((LOW, HIGH), (HIGH, LOW)):
        for is_outbound in (True, False):
            for silent_s, kept in ((5, 1), (SURE_S, 1), (SURE_S + 1, 2)):
                links = Links(node_of_name(local))
                old = link_to(peer, 1, is_outbound=is_outbound is is_same_way)
                old.last_heard_ns = at(LATE_S - silent_s).mono_ns
                links.add(old)
                links.add(link_to(peer, 2, is_outbound=is_outbound, seconds=LATE_S))
                assert links.to(node_of_name(peer)).link == kept  # type: ignore[union-attr]


def test_of_two_dials_one_way_the_first_stays_at_both_ends() -> None:
    for is_outbound in (True, False):
        links = Links(node_of_name(LOW))
        links.add(link_to(HIGH, 1, is_outbound=is_outbound))
        second = link_to(HIGH, 2, is_outbound=is_outbound, seconds=3)
        assert links.add(second) is second


def test_a_link_in_doubt_makes_way() -> None:
    links = Links(node_of_name(LOW))
    old = link_to(HIGH, 1, is_outbound=False, seconds=1)
    links.add(old)
    old.doubted_ns = at(2).mono_ns
    assert links.add(link_to(HIGH, 2, is_outbound=False, seconds=3)) is old


def test_links_for_chunks_stand_beside_each_other() -> None:
    links = Links(node_of_name(LOW))
    peer = node_of_name(HIGH)
    assert links.add(link_to(HIGH, 1)) is None
    assert links.add(link_to(HIGH, 2, lane=CHUNKS_LANE)) is None
    assert links.add(link_to(HIGH, 3, lane=CHUNKS_LANE, is_outbound=False)) is None
    assert [link.link for link in links.records_links()] == [1]
    assert links.for_chunks(peer).link == 2  # type: ignore[union-attr]
    links.remove(2)
    assert links.for_chunks(peer).link == 3  # type: ignore[union-attr]
    links.remove(3)
    assert links.for_chunks(peer) is None
    assert links.remove(3) is None


def test_a_link_that_was_replaced_cannot_take_its_successor_along() -> None:
    links = Links(node_of_name(LOW))
    links.add(link_to(HIGH, 1, boot=1))
    links.add(link_to(HIGH, 2, boot=2))
    assert links.remove(1) is None
    assert links.linked_peers() == (node_of_name(HIGH),)
