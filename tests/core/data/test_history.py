"""What a key held at some moment, as its versions tell: what is not known is never guessed."""

from __future__ import annotations

from collections.abc import Set

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bellande_mesh_sync.core.data.context import Context, covers, join
from bellande_mesh_sync.core.data.history import (
    HistoryPolicies,
    HistoryPolicy,
    OldVersion,
    as_of,
    end_of,
    is_whole,
    remaining,
)
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.ids import Author, Dot, Stamp, stamp_of
from tests.core.making import SHARD, Disk, at, author_named, deletion, record, write

ALICE, BOB, CAROL = map(author_named, ("alice", "bob", "carol"))
KEEP_TWO = HistoryPolicies(HistoryPolicy(2))


def version(author: bytes, sequence: int, second: int, *seen: Record) -> Record:
    """Stamped at this second by somebody who had seen these, each with all that it had seen."""
    context = join(
        [each.context for each in seen], [each.dot for each in seen], lambda _: 1 << 40, names_each=True
    )
    return record("k", author, sequence, context=context, stamp=stamp_of(second * 1000))  # type: ignore[arg-type]


def moment(versions: list[Record], second: int) -> tuple[Set[Dot], bool]:
    found = as_of(versions, end_of(second * 1000))
    return {each.dot for each in found.siblings}, found.is_known


def test_a_chain_of_versions_tells_what_was_there_and_where_it_begins() -> None:
    one = version(ALICE, 1, 10)
    two = version(BOB, 1, 20, one)
    three = version(ALICE, 2, 30, two)
    chain = [three, one, two]
    assert moment(chain, 9) == (set(), True)
    assert moment(chain, 10) == ({one.dot}, True)
    assert moment(chain, 29) == ({two.dot}, True)
    assert moment(chain, 99) == ({three.dot}, True)
    assert is_whole(chain)


def test_before_the_oldest_version_that_is_kept_nothing_is_known() -> None:
    one = version(ALICE, 1, 10)
    two = version(BOB, 1, 20, one)
    three = version(ALICE, 2, 30, two)
    assert moment([two, three], 20) == ({two.dot}, True)
    assert moment([two, three], 19) == (set(), False)
    assert moment([three], 30) == ({three.dot}, True)
    assert moment([three], 29)[1] is False
    assert not is_whole([two, three])


def test_a_version_that_never_came_leaves_a_gap_that_is_told() -> None:
    """Another node wrote the second version, and it was replaced before it could arrive."""
    one = version(ALICE, 1, 10)
    two = version(BOB, 1, 20, one)
    three = version(CAROL, 1, 30, two)
    assert moment([one, three], 30) == ({three.dot}, True)
    assert moment([one, three], 25)[1] is False
    assert moment([one, three], 15)[1] is False  # The second one's stamp is not known.


def test_siblings_of_then_stand_beside_each_other() -> None:
    one = version(ALICE, 1, 10)
    mine, yours = version(ALICE, 2, 20, one), version(BOB, 1, 21, one)
    ours = version(CAROL, 1, 30, mine, yours)
    everything = [one, mine, yours, ours]
    assert moment(everything, 20) == ({mine.dot}, True)
    assert moment(everything, 21) == ({mine.dot, yours.dot}, True)
    assert moment(everything, 30) == ({ours.dot}, True)
    assert moment([mine, yours, ours], 22) == ({mine.dot, yours.dot}, True)


def test_of_one_key_the_versions_replaced_last_stay_and_go_together() -> None:
    def old(number: int, until: int) -> OldVersion:
        return OldVersion(SHARD, record("k", ALICE, number), Stamp(until), 2, 0)

    four = [old(4, 50), old(1, 10), old(3, 20), old(2, 20)]
    assert [each.record.sequence for each in remaining(four, 2)] == [3, 2, 4]
    assert [each.record.sequence for each in remaining(four, 1)] == [4]
    assert remaining(four, 0) == []
    assert len(remaining(four, 9)) == 4


# -- what a replica keeps ----------------------------------------------------------------------


def kept(batch: Batch) -> list[tuple[int, int]]:
    return [(old.record.sequence, old.until) for old in batch.history]


def test_a_replaced_version_goes_into_history_with_the_batch_that_replaces_it() -> None:
    disk = Disk(histories=KEEP_TWO)
    (one,) = disk.write(write("fleet/a", b"1"))
    (two,) = disk.write(write("fleet/a", b"2"))
    assert kept(disk.waiting[0].batch) == []
    assert kept(disk.waiting[1].batch) == [(one.sequence, two.stamp)]
    disk.write(deletion("fleet/a"))
    disk.commit()
    (found,) = disk.store.old_versions(["fleet/a"], 1 << 30)
    assert [each for _, each in found] == [one, two]
    disk.check()


def test_a_version_replaced_within_its_own_batch_is_in_history_too() -> None:
    disk = Disk(histories=KEEP_TWO)
    disk.write(*(write("fleet/a", b"%d" % number) for number in range(5)))
    disk.commit()
    (found,) = disk.store.old_versions(["fleet/a"], 1 << 30)
    assert [each.sequence for _, each in found] == [3, 4]
    assert [each.sequence for each in disk.live()] == [5]
    disk.check()


def test_without_history_a_batch_has_none() -> None:
    disk = Disk(histories=HistoryPolicies(HistoryPolicy(0), (("other", HistoryPolicy(3)),)))
    disk.write(write("fleet/a", b"1"))
    disk.write(write("fleet/a", b"2"))
    disk.commit()
    assert disk.store.old_versions(["fleet/a"], 1 << 30) == [()]


def test_a_record_that_was_replaced_before_it_came_goes_straight_to_history() -> None:
    disk = Disk(histories=KEEP_TWO)
    old = record("fleet/a", BOB, 1)
    new = record("fleet/a", CAROL, 1, context=((BOB, 1, ()),), stamp=(1_700_000_000_000 << 16) + 9)
    disk.accept(new)
    disk.accept(old)
    assert kept(disk.waiting[1].batch) == [(1, new.stamp)]
    disk.commit()
    assert disk.live() == {new}
    assert disk.store.old_versions(["fleet/a"], 1 << 30) == [((new.stamp, old),)]
    disk.check()


def test_a_refused_commit_leaves_nothing_in_history() -> None:
    disk = Disk(histories=KEEP_TWO)
    (one,) = disk.write(write("fleet/a", b"1"))
    disk.commit()
    disk.write(write("fleet/a", b"lost"))
    disk.refuse()
    assert disk.store.old_versions(["fleet/a"], 1 << 30) == [()]
    disk.write(write("fleet/a", b"2"))
    disk.commit()
    (found,) = disk.store.old_versions(["fleet/a"], 1 << 30)
    assert [each for _, each in found] == [one]


def test_where_age_counts_a_batch_says_what_the_time_is() -> None:
    disk = Disk(histories=HistoryPolicies(HistoryPolicy(5, for_ms=2_000)))
    disk.write(write("fleet/a", b"1"))
    disk.write(write("fleet/a", b"2"))
    assert disk.waiting[0].batch.expired_ms == 0
    assert disk.waiting[1].batch.expired_ms == at().wall_ms
    (old,) = disk.waiting[1].batch.history
    assert old.expires_ms == (old.until >> 16) + 2_000
    disk.commit()
    disk.replica.forget_expired(at(1.0))
    disk.seal()
    disk.commit()
    assert disk.store.old_versions(["fleet/a"], 1 << 30) != [()]
    disk.replica.forget_expired(at(3.0))
    disk.seal()
    disk.commit()
    assert disk.store.old_versions(["fleet/a"], 1 << 30) == [()]


# -- any story ---------------------------------------------------------------------------------


BLIND = 5


class Story:
    """A key that several authors write, each by what was there some writes ago; what was there when."""

    def __init__(self, writes: list[tuple[Author, int]]) -> None:
        self.versions: list[Record] = []
        self.moments: list[frozenset[Dot]] = [frozenset()]
        self.replaced_at: dict[Dot, int] = {}
        for author, back in writes:
            self._write(author, back)

    def _write(self, author: Author, back: int) -> None:
        read = max(len(self.moments) - 1 - back, 0)
        by_then = self.versions[:read]
        seen = [v for v in by_then if v.dot in self.moments[read]] if back < BLIND else []
        context = join(
            [each.context for each in seen],
            [each.dot for each in seen],
            lambda other: sum(v.author == other for v in by_then),
            names_each=True,
        )
        second = len(self.moments)
        number = 1 + sum(v.author == author for v in self.versions)
        new = record("k", author, number, context=context, stamp=stamp_of(second * 1000))
        live = [v for v in self.versions if v.dot in self.moments[-1]]
        gone = {v.dot for v in live if covers(new.context, *v.dot)}
        self.versions.append(new)
        self.replaced_at.update(dict.fromkeys(gone, second))
        self.moments.append((self.moments[-1] - gone) | {new.dot})


STORIES = st.lists(st.tuples(st.sampled_from([ALICE, BOB, CAROL]), st.integers(0, BLIND)), max_size=9).map(
    Story
)


@settings(max_examples=150, deadline=None)
@given(STORIES, st.data())
def test_what_is_said_to_be_known_was_so_whatever_never_came(story: Story, data: st.DataObject) -> None:
    here = [v for v in story.versions if v.dot not in story.replaced_at or data.draw(st.booleans())]
    for second, then in enumerate(story.moments):
        dots, is_known = moment(here, second)
        if is_known:
            assert dots == then


@settings(max_examples=150, deadline=None)
@given(STORIES, st.integers(0, 6))
def test_what_is_said_to_be_known_was_so_however_little_is_kept(story: Story, versions: int) -> None:
    live = [v for v in story.versions if v.dot in story.moments[-1]]
    replaced = [
        OldVersion(SHARD, v, stamp_of(story.replaced_at[v.dot] * 1000), versions, 0)
        for v in story.versions
        if v.dot in story.replaced_at
    ]
    here = [*live, *(old.record for old in remaining(replaced, versions))]
    for second, then in enumerate(story.moments):
        dots, is_known = moment(here, second)
        if is_known:
            assert dots == then
        if len(here) == len(story.versions):
            assert (dots, is_known) == (then, True)
    assert moment(here, len(story.moments)) == (story.moments[-1], True)


@pytest.mark.parametrize("context", [(), ((ALICE, 1, ()),)])
def test_a_context_of_nothing_that_is_missing_is_whole(context: Context) -> None:
    first = record("k", ALICE, 1)
    assert is_whole([first, record("k", BOB, 1, context=context)])
