"""What a choice among siblings replaces, held against a replica that takes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.data.context import Context, covers, join
from bellande_mesh_sync.core.data.record import TOMBSTONE, Record
from bellande_mesh_sync.core.data.settling import Settlement, find_version, is_conflict, settle, write_again
from bellande_mesh_sync.core.events import Write
from bellande_mesh_sync.errors import ConflictError, NotFoundError, UsageError
from bellande_mesh_sync.ids import Author, format_version
from tests.core.making import SHARD, Disk, deletion, record, write

KEY = "fleet/a"
BOB, CAROL = Author(b"b" * 40), Author(b"c" * 40)


def disk_in_conflict(*authors: Author) -> Disk:
    """A replica with one own version and one of each of these authors, all durable."""
    disk = Disk()
    disk.write(write(KEY, b"own"))
    disk.accept(*(record(KEY, author, 1, body=author[:1]) for author in authors))
    disk.commit()
    return disk


def siblings_of(disk: Disk) -> tuple[Record, ...]:
    return disk.store.siblings([KEY])[0]


def chosen(disk: Disk, version: str | None = None, read: Context | None = None) -> Settlement:
    contiguous = disk.replica.shard(SHARD).committed.contiguous
    return settle(KEY, siblings_of(disk), version=version, read=read, contiguous=contiguous)


def settled_by(disk: Disk, settlement: Settlement) -> set[bytes | None]:
    """The values that stand under the key after this choice; a new value is `new`."""
    kept, context = settlement
    disk.write(write(KEY, b"new", context=context) if kept is None else write_again(kept, context))
    disk.commit()
    return {each.inline for each in siblings_of(disk)}


@pytest.mark.parametrize("author", [BOB, CAROL])
def test_a_version_that_is_kept_replaces_all_that_is_there(author: Author) -> None:
    disk = disk_in_conflict(BOB, CAROL)
    settlement = chosen(disk, format_version(author, 1))
    assert settlement.kept is not None
    assert settlement.kept.author == author
    assert settled_by(disk, settlement) == {author[:1]}
    (left,) = siblings_of(disk)
    assert left.author == disk.replica.author
    assert left.digest == settlement.kept.digest


def test_a_new_value_replaces_all_that_is_there() -> None:
    disk = disk_in_conflict(BOB, CAROL)
    assert settled_by(disk, chosen(disk)) == {b"new"}


@pytest.mark.parametrize("keeps", [True, False])
def test_what_came_after_the_look_stays(keeps: bool) -> None:
    disk = disk_in_conflict(BOB)
    seen = disk.replica.context_of(SHARD, siblings_of(disk))
    disk.accept(record(KEY, CAROL, 1, body=b"late"))
    disk.commit()
    version = format_version(BOB, 1) if keeps else None
    assert settled_by(disk, chosen(disk, version, seen)) == {b"b" if keeps else b"new", b"late"}


def test_what_comes_between_the_choice_and_its_write_stays() -> None:
    disk = disk_in_conflict(BOB)
    settlement = chosen(disk)
    disk.accept(record(KEY, CAROL, 1, body=b"late"))
    disk.commit()
    assert settled_by(disk, settlement) == {b"new", b"late"}


def test_a_version_that_is_named_counts_as_seen() -> None:
    disk = disk_in_conflict(BOB)
    seen = disk.replica.context_of(SHARD, siblings_of(disk))
    disk.accept(record(KEY, CAROL, 1, body=b"late"))
    disk.commit()
    assert settled_by(disk, chosen(disk, format_version(CAROL, 1), seen)) == {b"late"}


def test_a_delete_may_be_the_choice() -> None:
    disk = disk_in_conflict(BOB)
    seen = disk.replica.context_of(SHARD, [each for each in siblings_of(disk) if each.author != BOB])
    disk.write(Write(KEY, TOMBSTONE, context=seen))
    disk.commit()
    (tombstone,) = [each for each in siblings_of(disk) if each.is_tombstone]
    settlement = chosen(disk, tombstone.version)
    assert settled_by(disk, settlement) == {None}
    assert all(each.is_tombstone for each in siblings_of(disk))


def test_who_comes_too_late_is_told() -> None:
    disk = disk_in_conflict(BOB)
    seen = disk.replica.context_of(SHARD, siblings_of(disk))
    settled_by(disk, chosen(disk))
    (left,) = siblings_of(disk)
    for version, read in ((format_version(BOB, 1), None), (None, seen), (format_version(BOB, 1), seen)):
        with pytest.raises(ConflictError) as raised:
            chosen(disk, version, read)
        assert raised.value.facts == {"key": KEY, "version": left.version}


def test_without_a_conflict_there_is_nothing_to_settle() -> None:
    disk = Disk()
    with pytest.raises(NotFoundError, match="no key"):
        chosen(disk)
    disk.write(write(KEY))
    disk.commit()
    (alone,) = siblings_of(disk)
    for version in (None, alone.version):
        for read in (None, disk.replica.context_of(SHARD, [alone])):
            with pytest.raises(NotFoundError, match="no conflict"):
                chosen(disk, version, read)


def test_versions_that_are_none_or_unknown_are_refused() -> None:
    disk = disk_in_conflict(BOB)
    for wrong in ("", "newest", "1.2.3", "zz.00.1", f"{b'b'.hex() * 32}.{'00' * 8}.0"):
        with pytest.raises(UsageError):
            chosen(disk, wrong)
        with pytest.raises(UsageError):
            find_version(siblings_of(disk), wrong)
    with pytest.raises(NotFoundError, match="no version"):
        chosen(disk, format_version(CAROL, 1))
    assert find_version(siblings_of(disk), format_version(CAROL, 1)) is None


def test_deletes_among_themselves_are_no_conflict() -> None:
    disk = Disk()
    assert not is_conflict(())
    own = disk.write(deletion(KEY))[0]
    value = record(KEY, BOB, 1)
    assert not is_conflict([own, own])
    assert not is_conflict([value])
    assert is_conflict([own, value])


@given(st.sets(st.sampled_from([b"b", b"c", b"d", b"e"]), min_size=1), st.sets(st.sampled_from([b"b", b"c"])))
def test_exactly_what_was_seen_is_replaced(names: set[bytes], seen_names: set[bytes]) -> None:
    authors = [Author(name * 40) for name in sorted(names)]
    disk = disk_in_conflict(*authors)
    seen = [each for each in siblings_of(disk) if each.author[:1] in seen_names]
    if not seen:
        return
    read = join([each.context for each in seen], [each.dot for each in seen], lambda author: 0)
    settlement = chosen(disk, None, read)
    left = {each.inline for each in siblings_of(disk)} - {each.inline for each in seen}
    assert all(covers(settlement.context, *each.dot) for each in seen)
    assert settled_by(disk, settlement) == left | {b"new"}
