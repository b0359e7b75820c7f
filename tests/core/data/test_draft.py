"""Drafts: what one event wants on disk becomes one batch."""

from __future__ import annotations

from bellande_mesh_sync.core.data.draft import Draft
from bellande_mesh_sync.core.data.record import fingerprint_of
from bellande_mesh_sync.core.effects import IntervalChange
from tests.core.making import SHARD, author_named, member_of, record

ALICE = author_named("alice")
FIRST, SECOND = record("fleet/a", ALICE, 1), record("fleet/a", ALICE, 2)


def test_a_new_draft_is_empty() -> None:
    assert Draft().is_empty()


def test_anything_for_the_disk_makes_a_draft_worth_committing() -> None:
    put, drop, claim, member, epoch = Draft(), Draft(), Draft(), Draft(), Draft()
    put.put(SHARD, FIRST)
    drop.drop(SHARD, FIRST)
    claim.claim(SHARD, ALICE, 1, 1, (1, 1), [])
    member.remember(member_of("alice"))
    epoch.epoch = b"12345678"
    assert not any(draft.is_empty() for draft in (put, drop, claim, member, epoch))


def test_a_record_replaced_within_its_batch_never_reaches_the_disk_but_was_news() -> None:
    draft = Draft()
    draft.put(SHARD, FIRST)
    draft.drop(SHARD, FIRST)
    draft.put(SHARD, SECOND)
    batch = draft.batch(clock=9)
    assert batch.puts == ((SHARD, SECOND),)
    assert batch.drops == ()
    assert batch.fingerprints == ((SHARD, fingerprint_of(SECOND)),)
    assert batch.clock == 9
    assert draft.records == [FIRST, SECOND]


def test_a_dropped_record_of_an_earlier_batch_leaves_the_disk_and_the_fingerprint() -> None:
    draft = Draft()
    draft.drop(SHARD, FIRST)
    batch = draft.batch(0)
    assert batch.drops == ((SHARD, "fleet/a", FIRST.dot),)
    assert batch.fingerprints == ((SHARD, (1 << 256) - fingerprint_of(FIRST)),)


def test_a_claim_keeps_both_the_dots_and_the_row_they_became() -> None:
    draft = Draft()
    draft.claim(SHARD, ALICE, 4, 5, (1, 9), [1, 6])
    assert draft.ranges == [(SHARD, ALICE, 4, 5)]
    assert draft.batch(0).intervals == (IntervalChange(SHARD, ALICE, 1, 9, (1, 6)),)


def test_of_what_is_said_of_a_member_within_a_batch_the_last_word_counts() -> None:
    bob, carol = member_of("bob"), member_of("carol")
    draft = Draft()
    draft.remember(bob)
    draft.remember(carol)
    draft.forget(bob.node)
    draft.forget(carol.node)
    draft.remember(carol)
    batch = draft.batch(0)
    assert batch.forgotten == (bob.node, carol.node)  # They go before the others come.
    assert batch.members == (carol,)


def test_a_member_to_forget_is_worth_a_commit() -> None:
    draft = Draft()
    draft.forget(member_of("bob").node)
    assert not draft.is_empty()
