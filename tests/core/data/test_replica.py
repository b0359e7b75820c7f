"""The replica: numbering, replacing, and what lies between the decision and the disk."""

from __future__ import annotations

from bellande_mesh_sync.core.data.context import covers
from bellande_mesh_sync.core.data.policies import last_writer
from bellande_mesh_sync.core.data.record import TOMBSTONE
from bellande_mesh_sync.core.events import Write
from bellande_mesh_sync.ids import author_of, format_version
from bellande_mesh_sync.keys import shard_of
from tests.core.making import SHARD, Disk, at, author_named, deletion, member_of, node_of_name, record, write

BOB, CAROL = author_named("bob"), author_named("carol")


def test_writes_are_numbered_from_one_in_each_shard() -> None:
    disk = Disk()
    records = disk.write(write("fleet/a"), write("plans/x"), write("fleet/b"))
    assert [(shard_of(r.key), r.sequence) for r in records] == [
        ("fleet/0", 1),
        ("plans/0", 1),
        ("fleet/0", 2),
    ]
    assert disk.write(write("fleet/c"))[0].sequence == 3


def test_a_write_replaces_what_its_writer_held() -> None:
    disk = Disk()
    (first,) = disk.write(write("fleet/a", b"1"))
    disk.commit()
    (second,) = disk.write(write("fleet/a", b"2"))
    disk.commit()
    assert covers(second.context, *first.dot)
    assert disk.live() == {second}
    disk.check()


def test_a_write_sees_the_one_before_it_without_waiting_for_the_disk() -> None:
    disk = Disk()
    disk.write(write("fleet/a", b"1"))
    (second,) = disk.write(write("fleet/a", b"2"))
    (third,) = disk.write(write("fleet/a", b"3"))
    assert covers(third.context, *second.dot)
    disk.commit(1)
    assert disk.replica.siblings(["fleet/a"])["fleet/a"] == (third,)
    disk.commit()
    assert disk.live() == {third}
    disk.check()


def test_the_same_key_twice_in_one_batch_keeps_the_last() -> None:
    disk = Disk()
    first, second = disk.write(write("fleet/a", b"1"), write("fleet/a", b"2"))
    disk.commit()
    assert (first.sequence, second.sequence) == (1, 2)
    assert disk.live() == {second}
    assert disk.replica.shard(SHARD).committed.contains(*first.dot)
    disk.check()


def test_a_blind_write_leaves_its_siblings_alone_and_a_read_context_replaces_just_what_was_read() -> None:
    disk = Disk()
    (first,) = disk.write(write("fleet/a", b"1"))
    disk.commit()
    read = disk.replica.context_of(SHARD, disk.replica.siblings(["fleet/a"])["fleet/a"])
    (second,) = disk.write(write("fleet/a", b"2", context=()))
    assert set(disk.replica.siblings(["fleet/a"])["fleet/a"]) == {first, second}
    (third,) = disk.write(write("fleet/a", b"3", context=read))
    disk.commit()
    assert disk.live() == {second, third}
    (fourth,) = disk.write(write("fleet/a", b"4"))
    disk.commit()
    assert disk.live() == {fourth}
    disk.check()


def test_writes_that_did_not_know_of_each_other_stay_beside_each_other() -> None:
    disk = Disk()
    (own,) = disk.write(write("fleet/a", b"own"))
    other = record("fleet/a", BOB, 1, body=b"other")
    disk.accept(other)
    disk.commit()
    assert disk.live() == {own, other}
    disk.check()


def test_a_record_that_was_replaced_before_it_came_leaves_only_its_dot() -> None:
    disk = Disk()
    old = record("fleet/a", BOB, 1)
    new = record("fleet/a", CAROL, 1, context=((BOB, 1, ()),))
    disk.accept(new)
    disk.accept(old)
    disk.commit()
    assert disk.live() == {new}
    assert disk.replica.shard(SHARD).committed.contains(*old.dot)
    disk.check()


def test_a_tombstone_beats_an_old_copy_whichever_comes_first() -> None:
    for is_late in (False, True):
        disk, other = Disk(), Disk("bob")
        (value,) = other.write(write("fleet/a"))
        (grave,) = other.write(deletion("fleet/a"))
        for each in (grave, value) if is_late else (value, grave):
            disk.accept(each)
        disk.commit()
        assert disk.live() == {grave}
        assert last_writer(list(disk.live())).kind == TOMBSTONE  # type: ignore[union-attr]
        disk.check()


def test_if_match_compares_with_the_visible_version_open_commits_included() -> None:
    disk = Disk()

    def refusal(*writes: Write) -> str | None:
        return disk.replica.refusal(writes, at())

    assert refusal(write("fleet/a", if_match="")) is None
    (first,) = disk.write(write("fleet/a"))
    assert refusal(write("fleet/a", if_match="")) == "fleet/a"
    assert refusal(write("fleet/a", if_match=first.version)) is None
    other = format_version(first.author, 9)
    assert refusal(write("fleet/b"), write("fleet/a", if_match=other)) == "fleet/a"
    disk.write(deletion("fleet/a"))
    assert refusal(write("fleet/a", if_match="")) is None


def test_a_refused_commit_takes_everything_after_it_along_and_its_numbers_are_used_again() -> None:
    disk = Disk()
    (kept,) = disk.write(write("fleet/a", b"kept"))
    disk.commit()
    disk.write(write("fleet/a", b"lost"))
    disk.write(write("fleet/b", b"lost"))
    disk.accept(record("fleet/c", BOB, 1))
    assert disk.replica.uncommitted_bytes == 0  # A node counts them; a replica is only told.
    lost = disk.refuse()
    assert [commit.number for commit in lost] == [2, 3, 4]
    assert disk.replica.siblings(["fleet/a", "fleet/b"]) == {"fleet/a": (kept,), "fleet/b": ()}
    disk.check()
    (again,) = disk.write(write("fleet/a", b"again"))
    assert again.sequence == 2
    assert covers(again.context, *kept.dot)
    disk.commit()
    assert disk.live() == {again}
    disk.check()


def test_dots_without_a_record_can_be_claimed_and_are_on_disk_with_the_commit() -> None:
    disk = Disk()
    disk.replica.claim_obsolete(SHARD, ((BOB, ((1, 3), (5, 5))),))
    disk.seal()
    assert not disk.replica.shard(SHARD).committed.contains(BOB, 1)
    disk.commit()
    assert disk.replica.shard(SHARD).committed.delta() == ((BOB, ((1, 3), (5, 5))),)
    disk.check()


def test_a_new_epoch_starts_numbering_from_one_and_is_in_the_next_commit() -> None:
    disk = Disk()
    disk.write(write("fleet/a"))
    disk.commit()
    fresh = author_of(node_of_name("alice"), b"epoch-02")
    disk.replica.take_new_epoch(fresh, b"epoch-02")
    (first,) = disk.write(write("fleet/a"))
    assert first.dot == (fresh, 1)
    assert disk.waiting[-1].batch.epoch == b"epoch-02"
    disk.commit()
    assert disk.store.open().epoch == b"epoch-02"
    assert disk.live() == {first}


def test_the_clock_is_kept_with_every_commit() -> None:
    disk = Disk()
    (first,) = disk.write(write("fleet/a"))
    disk.commit()
    assert disk.store.open().clock == first.stamp


def test_a_new_epoch_whose_commit_is_refused_is_written_with_the_next_one() -> None:
    """Otherwise a restart would number writes as the overtaken author again."""
    disk = Disk()
    fresh = author_of(node_of_name("alice"), b"epoch-02")
    disk.replica.take_new_epoch(fresh, b"epoch-02")
    disk.seal()
    disk.refuse()
    disk.write(write("fleet/a"))
    disk.commit()
    assert disk.replica.author == fresh
    assert disk.store.open().epoch == b"epoch-02"


def test_a_readers_context_does_not_cover_a_write_that_is_on_its_way_to_the_disk() -> None:
    """A reader looks at committed siblings; folding by what is only *seen* would claim the unread one."""
    disk = Disk()
    disk.accept(record("fleet/a", BOB, 1), record("fleet/a", BOB, 9))
    disk.commit()
    unread = record("fleet/a", BOB, 5)
    gap = [record(f"fleet/x{n}", BOB, n) for n in (2, 3, 4, 6, 7, 8)]
    disk.accept(*gap, unread)  # Not yet durable, so not among what a reader gets.
    on_disk = disk.store.siblings(["fleet/a"])[0]
    read = disk.replica.context_of(SHARD, on_disk)
    assert all(covers(read, *each.dot) for each in on_disk)
    assert not covers(read, *unread.dot)


def test_a_context_cannot_replace_writes_that_were_not_made_yet() -> None:
    """A caller's context that claims our own future would make peers drop that future as replaced."""
    disk, peer = Disk("alice"), Disk("bob")
    alice = disk.replica.author
    (first,) = disk.write(write("fleet/a", b"1", context=((alice, 1_000, ()),)))
    (second,) = disk.write(write("fleet/a", b"2"))
    disk.commit()
    peer.accept(first)
    peer.accept(second)
    peer.commit()
    assert disk.live() == {second}
    assert peer.live() == {second}


def test_the_last_word_on_each_member_that_the_disk_refused_goes_with_a_later_batch() -> None:
    disk = Disk()
    bob, carol, dave = map(member_of, ("bob", "carol", "dave"))
    disk.replica.draft.remember(bob)
    disk.seal()
    disk.replica.draft.remember(carol)
    disk.replica.draft.forget(dave.node)
    disk.seal()
    disk.replica.draft.forget(bob.node)
    disk.seal()
    disk.refuse()
    assert disk.waiting == []
    disk.replica.draft.remember(dave)  # Newer than what was refused.
    disk.replica.try_again()
    disk.seal()
    (commit,) = disk.waiting
    assert {member.node for member in commit.batch.members} == {carol.node, dave.node}
    assert commit.batch.forgotten == (bob.node,)
    disk.commit()
    disk.replica.try_again()
    disk.seal()
    assert disk.waiting == []
