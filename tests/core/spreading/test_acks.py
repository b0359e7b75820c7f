"""Acks: who has it on disk, and who is told."""

from __future__ import annotations

import pytest

from bellande_mesh_sync.core.effects import Effect, Reject, Resolve
from bellande_mesh_sync.core.spreading.acks import Acks, Waiting, need_of
from bellande_mesh_sync.ids import NodeId
from tests.core.making import SHARD, author_named, node_of_name, record

ME, BOB, CAROL, EVE = map(node_of_name, ("alice", "bob", "carol", "eve"))
ALICE = author_named("alice")
OWNERS = frozenset([ME, BOB, CAROL])


class Counting:
    def __init__(self) -> None:
        self.acks = Acks(ME)
        self.answers: dict[int, Resolve | Reject] = {}

    def expect(
        self, request: int, low: int, high: int, ack: str = "all", owners: frozenset[NodeId] = OWNERS
    ) -> None:
        records = [record(f"fleet/{n}", ALICE, n) for n in range(low, high + 1)]
        ranges = {(SHARD, ALICE): (low, high)}
        self.acks.expect(
            Waiting(request, ack, 1_000_000_000, records, ranges, owners, need_of(ack, len(owners)))
        )

    def note(self, node: NodeId, *ranges: tuple[int, int]) -> None:
        self.take(self.acks.note(node, SHARD, ALICE, ranges))

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            assert isinstance(effect, Resolve | Reject)
            assert effect.request not in self.answers
            self.answers[effect.request] = effect

    def nodes(self, request: int) -> set[NodeId]:
        answer = self.answers[request]
        assert isinstance(answer, Resolve)
        return set(answer.result[0].nodes)


@pytest.mark.parametrize(
    ("ack", "others"), [("local", []), ("one", [BOB]), ("quorum", [BOB]), ("all", [BOB, CAROL])]
)
def test_each_level_waits_for_just_so_many_disks(ack: str, others: list[NodeId]) -> None:
    counting = Counting()
    counting.expect(1, 1, 1, ack)
    for node in others:
        counting.note(node, (1, 1))
    assert counting.answers == {}  # Whatever others say, our own disk has to have it.
    counting.note(ME, (1, 1))
    assert counting.nodes(1) == {ME, *others}
    assert len(counting.acks) == 0


def test_a_quorum_is_more_than_half_of_the_owners() -> None:
    assert [need_of("quorum", n) for n in (1, 2, 3, 4, 5)] == [1, 2, 2, 3, 3]


def test_a_stranger_does_not_count() -> None:
    counting = Counting()
    counting.expect(1, 1, 1, "quorum")
    counting.note(ME, (1, 1))
    counting.note(EVE, (1, 1))
    assert counting.answers == {}
    counting.note(CAROL, (1, 1))
    assert counting.nodes(1) == {ME, CAROL, EVE}


def test_a_batch_is_acked_when_all_of_it_is_there_in_whatever_order() -> None:
    counting = Counting()
    counting.expect(1, 1, 4, "quorum")
    counting.note(ME, (1, 4))
    for number in (4, 2, 1):
        counting.note(BOB, (number, number))
        assert counting.answers == {}
    counting.note(BOB, (3, 3))
    assert counting.nodes(1) == {ME, BOB}


def test_an_ack_heard_twice_counts_once() -> None:
    counting = Counting()
    counting.expect(1, 1, 2)
    counting.note(ME, (1, 2))
    for _ in range(3):
        counting.note(BOB, (1, 2))
    assert counting.answers == {}
    counting.note(CAROL, (1, 2))
    assert 1 in counting.answers


def test_of_many_waiting_requests_just_those_are_answered_that_were_reached() -> None:
    counting = Counting()
    for request in range(1, 1001):
        counting.expect(request, request, request, "one")
    counting.note(ME, (1, 1000))
    counting.note(BOB, (501, 600), (900, 900))
    assert sorted(counting.answers) == [*range(501, 601), 900]
    counting.note(CAROL, (1, 1000))
    assert len(counting.answers) == 1000
    assert len(counting.acks) == 0


def test_a_request_over_two_shards_needs_both() -> None:
    counting = Counting()
    other = "plans/0"
    ranges = {(SHARD, ALICE): (1, 1), (other, ALICE): (1, 1)}
    records = [record("fleet/a", ALICE, 1), record("plans/a", ALICE, 1)]
    counting.acks.expect(Waiting(1, "one", 1, records, ranges, OWNERS, 2))  # type: ignore[arg-type]
    counting.note(ME, (1, 1))
    counting.note(BOB, (1, 1))
    counting.take(counting.acks.note(ME, other, ALICE, ((1, 1),)))  # type: ignore[arg-type]
    counting.take(counting.acks.note(CAROL, other, ALICE, ((1, 1),)))  # type: ignore[arg-type]
    assert counting.answers == {}  # Two other disks, but each with half of it.
    counting.take(counting.acks.note(BOB, other, ALICE, ((1, 1),)))  # type: ignore[arg-type]
    assert counting.nodes(1) == {ME, BOB}


def test_a_deadline_is_answered_with_how_far_it_got_and_only_once() -> None:
    counting = Counting()
    counting.expect(1, 1, 1)
    counting.note(ME, (1, 1))
    counting.note(BOB, (1, 1))
    (reject,) = counting.acks.overdue(1)
    assert isinstance(reject, Reject)
    assert reject.code == "ack_timeout"
    assert (reject.facts["have"], reject.facts["need"], reject.facts["level"]) == (2, 3, "all")
    counting.note(CAROL, (1, 1))
    assert counting.answers == {}
    assert counting.acks.overdue(1) == []


def test_a_deadline_waits_for_this_nodes_own_disk_which_may_yet_refuse() -> None:
    counting = Counting()
    counting.expect(1, 1, 1)
    counting.expect(2, 2, 2)
    assert counting.acks.overdue(1) == counting.acks.overdue(2) == []
    counting.note(ME, (1, 1))
    answer = counting.answers[1]
    assert isinstance(answer, Reject)
    assert (answer.code, answer.facts["nodes"]) == ("ack_timeout", [ME.hex()])
    counting.take(counting.acks.lost([2], "disk_full", "no room"))
    refused = counting.answers[2]
    assert isinstance(refused, Reject)
    assert refused.code == "disk_full"
    assert len(counting.acks) == 0


def test_a_member_that_leaves_is_not_waited_for() -> None:
    counting = Counting()
    counting.expect(1, 1, 1)
    counting.note(ME, (1, 1))
    counting.note(BOB, (1, 1))
    counting.take(counting.acks.member_left(EVE))
    assert counting.answers == {}
    counting.take(counting.acks.member_left(CAROL))
    assert counting.nodes(1) == {ME, BOB}


def test_writes_the_disk_refused_are_rejected_and_their_numbers_can_be_used_again() -> None:
    counting = Counting()
    counting.expect(1, 1, 1, "one")
    counting.note(ME, (1, 1))
    counting.expect(2, 2, 3, "one")
    counting.take(counting.acks.lost([2], "disk_full", "no space"))
    assert isinstance(counting.answers[2], Reject)
    counting.expect(3, 2, 2, "one")
    counting.note(ME, (2, 2))
    counting.note(BOB, (1, 2))
    assert counting.nodes(1) == counting.nodes(3) == {ME, BOB}


def test_an_ack_that_fills_two_gaps_at_once_counts_once() -> None:
    """As after a lost link: the summary on the new one brings what several lost Haves had said."""
    counting = Counting()
    counting.expect(1, 1, 5)
    counting.note(ME, (1, 5))
    counting.note(BOB, (3, 3))
    counting.note(BOB, (1, 5))
    counting.note(CAROL, (1, 5))
    assert counting.nodes(1) == {ME, BOB, CAROL}


def test_a_quorum_shrinks_with_the_owners() -> None:
    counting = Counting()
    counting.expect(1, 1, 1, "quorum", frozenset([ME, BOB]))
    counting.note(ME, (1, 1))
    counting.take(counting.acks.member_left(BOB))
    assert counting.nodes(1) == {ME}
