"""What every store must do."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from blake3 import blake3

from bellande_mesh_sync.core.data.record import ChunkRef, Manifest, Record, fingerprint_of
from bellande_mesh_sync.core.effects import Batch, IntervalChange
from bellande_mesh_sync.errors import ChunkMissingError, DecodeError, StorageError
from bellande_mesh_sync.ids import SEQUENCE_MAX, Shard
from bellande_mesh_sync.sim.statements import state
from bellande_mesh_sync.store.interface import ChangesView, Store
from bellande_mesh_sync.store.sqlite import SqliteStore
from tests.store.builders import ALICE, BOB, SHARD, Writing, batch_of, chunk, member, record, tombstone


def commit(store: Store, *batches: Batch) -> None:
    store.apply(batches)
    store.publish(batches)


def read_all(view: ChangesView, size_bytes_max: int = 1 << 20) -> list[Record]:
    found: list[Record] = []
    while True:
        page = view.read_page(size_bytes_max)
        found += page.records
        if page.is_last:
            view.close()
            return found
        assert page.records, "a page that is not the last one holds something"


def test_a_new_store_is_empty_and_has_drawn_an_epoch(store: Store) -> None:
    assert store.siblings(["nothing"]) == [()]
    assert store.scan("", "", 10).entries == ()
    counts = store.counts()
    assert (counts.keys, counts.records) == (0, 0)
    assert store.fingerprints() == {}


def test_a_committed_record_is_read_back_as_it_was(store: Store) -> None:
    first = record("fleet/a", 1, body=b"\x00\xff" * 100)
    commit(store, batch_of(first))
    assert store.siblings(["fleet/a", "fleet/b"]) == [(first,), ()]
    assert (store.counts().keys, store.counts().records) == (1, 1)


def test_an_applied_batch_is_visible_only_once_it_is_published(store: Store) -> None:
    old, new = record("fleet/a", 1), record("fleet/a", 2)
    commit(store, batch_of(old))
    batch = batch_of(new, drops=(old,))
    store.apply([batch])
    assert store.siblings(["fleet/a"]) == [(old,)]
    assert store.scan("fleet/", "", 9).entries == (("fleet/a", (old,)),)
    store.publish([batch])
    assert store.siblings(["fleet/a"]) == [(new,)]


@pytest.mark.parametrize("at_once", [True, False])
def test_several_applied_batches_become_visible_one_by_one(store: Store, at_once: bool) -> None:
    versions = [record("fleet/a", sequence) for sequence in range(1, 5)]
    commit(store, batch_of(versions[0]))
    batches = [batch_of(new, drops=(old,)) for old, new in itertools.pairwise(versions)]
    if at_once:
        store.apply(batches)
    else:
        for batch in batches:
            store.apply([batch])
    for batch, new in zip(batches, versions[1:], strict=True):
        store.publish([batch])
        assert store.siblings(["fleet/a"]) == [(new,)]


def test_siblings_stand_beside_each_other_until_one_is_replaced(store: Store) -> None:
    mine, yours, ours = record("fleet/a", 1), record("fleet/a", 1, BOB), record("fleet/a", 2)
    commit(store, batch_of(mine), batch_of(yours))
    (both,) = store.siblings(["fleet/a"])
    assert sorted(both, key=lambda each: each.author) == [mine, yours]
    assert (store.counts().keys, store.counts().records) == (1, 2)
    commit(store, batch_of(ours, drops=(mine, yours)))
    assert store.siblings(["fleet/a"]) == [(ours,)]


def test_a_record_put_and_dropped_in_one_commit_leaves_no_trace(store: Store) -> None:
    first, second = record("fleet/a", 1), record("fleet/a", 2)
    commit(store, batch_of(first), batch_of(second, drops=(first,)))
    assert store.siblings(["fleet/a"]) == [(second,)]
    assert read_all(store.open_changes(SHARD, ((ALICE, ((1, 9),)),))) == [second]


def test_a_scan_gives_keys_in_code_point_order_page_by_page(store: Store) -> None:
    keys = ["fleet/b", "fleet/a", "fleet/ä", "fleet/Z", "fleet/a/1", "fleet0/x", "other/a", "fleet/z"]
    commit(store, batch_of(*(record(key, index + 1) for index, key in enumerate(keys))))
    expected = sorted(key for key in keys if key.startswith("fleet/"))
    found: list[str] = []
    cursor = ""
    while True:
        page = store.scan("fleet/", cursor, 2)
        found += [key for key, _ in page.entries]
        assert len(page.entries) <= 2
        cursor = page.cursor
        if not cursor:
            break
    assert found == expected


def test_keys_in_conflict_are_counted_and_listed_page_by_page(store: Store) -> None:
    commit(store, batch_of(*(record(f"fleet/{number}", number + 1) for number in range(9))))
    yours = [record(f"fleet/{number}", number + 1, BOB) for number in range(0, 9, 2)]
    other = record("log/1", 1), record("log/1", 1, BOB)
    commit(store, batch_of(*yours), batch_of(*other, shard=Shard("log/0")))
    assert sum(store.conflict_counts().values()) == 6
    assert store.conflict_counts() == {"fleet": 5, "log": 1}
    found: list[str] = []
    cursor = ""
    while True:
        page = store.scan_conflicts("fleet/", cursor, 2)
        assert all(len(siblings) == 2 for _, siblings in page.entries)
        found += [key for key, _ in page.entries]
        cursor = page.cursor
        if not cursor:
            break
    assert found == ["fleet/0", "fleet/2", "fleet/4", "fleet/6", "fleet/8"]
    assert [key for key, _ in store.scan_conflicts("", "fleet/6", 9).entries] == ["fleet/8", "log/1"]


def test_a_conflict_is_settled_by_what_replaces_all_but_one(store: Store) -> None:
    mine, yours = record("fleet/a", 1), record("fleet/a", 1, BOB)
    commit(store, batch_of(mine), batch_of(yours))
    settled = batch_of(record("fleet/a", 2), drops=(mine, yours))
    store.apply([settled])
    assert store.conflict_counts() == {"fleet": 1}, "it is not published yet"
    store.publish([settled])
    assert store.conflict_counts() == {}
    assert store.scan_conflicts("", "", 9).entries == ()


def test_a_write_that_replaces_another_one_is_no_conflict(store: Store) -> None:
    versions = [record("fleet/a", sequence) for sequence in range(1, 5)]
    commit(store, batch_of(versions[0]))
    for old, new in itertools.pairwise(versions):
        commit(store, batch_of(new, drops=(old,)))
    assert sum(store.conflict_counts().values()) == 0


def test_a_delete_beside_a_value_is_a_conflict_and_deletes_among_themselves_are_none(store: Store) -> None:
    value = record("b", 2, BOB)
    commit(store, batch_of(tombstone("a", 1), tombstone("a", 1, BOB), tombstone("b", 2), value))
    assert [key for key, _ in store.scan_conflicts("", "", 9).entries] == ["b"]
    commit(store, batch_of(tombstone("b", 3, BOB), drops=(value,)))
    assert sum(store.conflict_counts().values()) == 0


def test_conflicts_are_known_again_after_a_restart(store: Store) -> None:
    commit(store, batch_of(record("fleet/a", 1), record("fleet/b", 2), record("fleet/b", 1, BOB)))
    unpublished = batch_of(record("fleet/a", 2, BOB))
    store.apply([unpublished])
    store.close()
    store.open()
    assert store.conflict_counts() == {"fleet": 2}
    assert [key for key, _ in store.scan_conflicts("", "", 9).entries] == ["fleet/a", "fleet/b"]


def test_a_commit_that_fails_leaves_the_conflicts_as_they_were(sqlite_store: SqliteStore) -> None:
    commit(sqlite_store, batch_of(record("fleet/a", 1), record("fleet/a", 1, BOB)))
    too_far = msgspec.structs.replace(record("fleet/c", 1), sequence=SEQUENCE_MAX + 1)
    with pytest.raises(StorageError):
        sqlite_store.apply([batch_of(record("fleet/b", 2), record("fleet/b", 2, BOB)), batch_of(too_far)])
    assert sqlite_store.conflict_counts() == {"fleet": 1}


def test_a_scan_leaves_out_keys_that_are_only_tombstones(store: Store) -> None:
    commit(
        store,
        batch_of(
            record("a", 1), tombstone("b", 2), record("c", 3), tombstone("c", 1, BOB), tombstone("d", 4)
        ),
    )
    page = store.scan("", "", 2)
    assert [key for key, _ in page.entries] == ["a", "c"]
    assert len(dict(page.entries)["c"]) == 2
    assert page.cursor == ""
    assert store.counts().keys == 4
    (found,) = store.siblings(["b"])
    assert found[0].is_tombstone


def test_a_tombstone_can_be_dropped(store: Store) -> None:
    gone = tombstone("a", 1)
    commit(store, batch_of(gone))
    commit(store, batch_of(drops=(gone,)))
    assert store.siblings(["a"]) == [()]
    assert store.counts().keys == 0


def test_keys_with_nothing_but_tombstones_are_listed_in_order_and_after_a_restart(store: Store) -> None:
    gone = [tombstone(f"fleet/{name}", number) for number, name in enumerate("cab", 1)]
    value, beside = record("fleet/d", 4), tombstone("fleet/d", 1, BOB)
    commit(store, batch_of(*gone, value), batch_of(beside))
    assert store.deleted_keys("", 9) == ["fleet/a", "fleet/b", "fleet/c"]
    assert store.deleted_keys("fleet/a", 1) == ["fleet/b"]
    assert store.counts().deleted == 3
    store.close()
    store.open()
    assert store.deleted_keys("", 9) == ["fleet/a", "fleet/b", "fleet/c"]
    commit(store, batch_of(record("fleet/b", 5), drops=(gone[2],)), batch_of(drops=(gone[0],)))
    assert store.deleted_keys("", 9) == ["fleet/a"]
    commit(store, batch_of(drops=(value,)))
    assert store.deleted_keys("", 9) == ["fleet/a", "fleet/d"]


def test_how_far_tombstones_were_collected_is_there_after_a_restart(store: Store) -> None:
    commit(store, batch_of(tombstone("fleet/a", 1)))
    commit(store, Batch(collected=((SHARD, ALICE, 1), (SHARD, BOB, 7))))
    commit(store, Batch(collected=((SHARD, BOB, 9),)))
    store.close()
    (shard,) = store.open().shards
    assert shard.collected == ((ALICE, 1), (BOB, 9))


def test_changes_give_the_live_records_among_the_dots_in_order(store: Store) -> None:
    mine = [record(f"k{number % 7}/{number}", number) for number in range(1, 200)]
    yours = [record(f"y{number}", number, BOB) for number in range(1, 50)]
    commit(store, batch_of(*reversed(mine)), batch_of(*yours))
    commit(store, batch_of(drops=(mine[10], mine[11])))
    dots = ((ALICE, ((5, 15), (20, 20), (190, 400))), (BOB, ((40, 41),)))
    expected = [*mine[4:10], *mine[12:15], mine[19], *mine[189:], *yours[39:41]]
    assert read_all(store.open_changes(SHARD, dots)) == expected
    assert read_all(store.open_changes(SHARD, dots), 1) == expected
    assert read_all(store.open_changes(SHARD, dots), 700) == expected
    assert read_all(store.open_changes(Shard("elsewhere/0"), dots)) == []


def test_many_ranges_are_read_in_their_order(store: Store) -> None:
    mine = [record(f"k{number}", number) for number in range(1, 3001)]
    commit(store, batch_of(*mine))
    dots = ((ALICE, tuple((number, number) for number in range(1, 3001, 2))),)
    assert read_all(store.open_changes(SHARD, dots), 4096) == mine[::2]


def test_a_page_is_bounded_and_holds_at_least_one_record(store: Store) -> None:
    commit(store, batch_of(*(record(f"k{number}", number, body=bytes(5000)) for number in range(1, 30))))
    view = store.open_changes(SHARD, ((ALICE, ((1, 100),)),))
    assert len(view.read_page(10).records) == 1
    page = view.read_page(21_000)
    assert 3 <= len(page.records) <= 4
    assert page.size_bytes <= 21_000
    view.close()


def test_a_view_does_not_see_what_is_committed_after_it_was_opened(store: Store) -> None:
    writing = Writing()
    old = [record(f"k{number}", number) for number in range(1, 101)]
    commit(store, writing.batch(old))
    view = store.open_changes(SHARD, ((ALICE, ((1, 1000),)),))
    page = view.read_page(2000)
    commit(store, writing.batch([record("k1", 101), record("late", 102)], drops=old[:50]))
    assert list(page.records) + read_all(view) == old
    assert view.knowledge() == ((ALICE, ((1, 100),)),)
    fresh = store.open_changes(SHARD, ())
    assert fresh.knowledge() == ((ALICE, ((1, 102),)),)
    fresh.close()


def test_a_view_of_nothing_ends_at_once(store: Store) -> None:
    view = store.open_changes(SHARD, ())
    assert view.knowledge() == ()
    page = view.read_page(100)
    assert page.records == ()
    assert page.is_last
    view.close()
    view.close()


def test_fingerprints_add_up(store: Store) -> None:
    one, two = record("a", 1), record("b", 2)
    commit(store, batch_of(one), batch_of(two))
    commit(store, batch_of(drops=(one,)))
    assert store.fingerprints() == {SHARD: fingerprint_of(two)}


def test_reopening_gives_back_everything_that_was_applied(store: Store) -> None:
    writing = Writing()
    records = [record(f"k{number}", number) for number in (1, 2, 3, 7, 5)]
    store.apply([writing.batch(records)])  # Never published.
    store.apply([Batch(members=(member("one"), member("two")), clock=77), Batch(epoch=b"newepoch", clock=12)])
    store.close()
    state = store.open()
    (shard,) = state.shards
    assert shard.shard == SHARD
    assert shard.knowledge == ((ALICE, ((1, 3), (5, 5), (7, 7))),)
    assert shard.fingerprint == sum(map(fingerprint_of, records)) % (1 << 256)
    assert [each.name for each in state.members] == ["one", "two"]
    assert state.epoch == b"newepoch"
    assert state.clock == 12
    assert store.siblings(["k5"]) == [(records[4],)]
    assert [key for key, _ in store.scan("", "", 9).entries] == ["k1", "k2", "k3", "k5", "k7"]


def test_intervals_that_grow_together_are_stored_as_one(store: Store) -> None:
    store.apply([Batch(intervals=(IntervalChange(SHARD, ALICE, 5, 9, ()),))])
    store.apply(
        [Batch(intervals=(IntervalChange(SHARD, BOB, 1, 1, ()), IntervalChange(SHARD, ALICE, 1, 2, ())))]
    )
    store.apply([Batch(intervals=(IntervalChange(SHARD, ALICE, 1, 9, (1, 5)),))])
    store.close()
    (shard,) = store.open().shards
    assert shard.knowledge == ((ALICE, ((1, 9),)), (BOB, ((1, 1),)))


def test_a_member_record_replaces_the_older_one_of_the_same_node(store: Store) -> None:
    older = member("one")
    newer = msgspec.structs.replace(older, incarnation=2)
    store.apply([Batch(members=(older,))])
    store.apply([Batch(members=(newer,))])
    store.close()
    assert store.open().members == (newer,)


def test_a_forgotten_member_is_gone_and_the_others_stay(store: Store) -> None:
    one, two, three = map(member, ("one", "two", "three"))
    store.apply([Batch(members=(one, two, three))])
    store.apply([Batch(forgotten=(two.node, member("nobody").node))])
    store.close()
    assert sorted(each.name for each in store.open().members) == ["one", "three"]


@pytest.mark.parametrize("at_once", [True, False])
def test_of_what_batches_say_of_a_member_the_last_word_counts(store: Store, at_once: bool) -> None:
    """Within a batch, members are forgotten before others come."""
    one, two, three = map(member, ("one", "two", "three"))
    newer = msgspec.structs.replace(three, incarnation=2)
    batches = [
        Batch(members=(one, two, three)),
        Batch(forgotten=(one.node,)),
        Batch(members=(newer,), forgotten=(three.node,)),
        Batch(forgotten=(two.node,)),
        Batch(members=(two,)),
    ]
    if at_once:
        store.apply(batches)
    else:
        for batch in batches:
            store.apply([batch])
    store.close()
    assert sorted(store.open().members, key=lambda each: each.name) == [newer, two]


def test_many_members_are_forgotten_at_once(store: Store) -> None:
    many = tuple(member(f"n{number}") for number in range(3_000))
    store.apply([Batch(members=many)])
    store.apply([Batch(forgotten=tuple(each.node for each in many[1:]))])
    store.close()
    assert store.open().members == many[:1]


def test_chunks_are_readable_at_once_and_after_a_commit(store: Store) -> None:
    one, two = chunk(b"first" * 1000), chunk(b"second" * 50_000)
    store.add_chunks([one, (two[0], memoryview(bytearray(two[1]))), one])
    store.add_chunks([one])
    absent = blake3(b"absent").digest()
    assert store.has_chunks([one[0], absent, two[0]]) == [True, False, True]
    assert store.read_chunk(one[0]) == one[1]
    store.apply([])
    assert store.has_chunks([one[0], absent, two[0]]) == [True, False, True]
    assert store.read_chunk(two[0]) == two[1]
    with pytest.raises(ChunkMissingError, match=absent.hex()):
        store.read_chunk(absent)


def test_missing_chunks_of_a_flat_manifest_are_named_once_each(store: Store) -> None:
    one, two, three = (chunk(body) for body in (b"1", b"22", b"333"))
    refs = tuple(ChunkRef(hash, len(body)) for hash, body in (one, two, three, two, one))
    store.add_chunks([one])
    assert store.missing_chunks(Manifest(1, refs)) == ((refs[1], refs[2]), False)
    store.add_chunks([two, three])
    assert store.missing_chunks(Manifest(1, refs)) == ((), False)


def test_missing_chunks_of_a_deep_manifest_start_with_the_index_chunks(store: Store) -> None:
    leaves = [chunk(b"leaf %d" % number) for number in range(5)]
    refs = [ChunkRef(hash, len(body)) for hash, body in leaves]
    indexes = [chunk(msgspec.msgpack.encode(part)) for part in (refs[:3], refs[3:])]
    index_refs = tuple(ChunkRef(hash, len(body)) for hash, body in indexes)
    manifest = Manifest(2, index_refs)
    assert store.missing_chunks(manifest) == (index_refs, True)
    store.add_chunks([indexes[0]])
    assert store.missing_chunks(manifest) == ((index_refs[1],), True)
    store.add_chunks([indexes[1], leaves[4]])
    assert store.missing_chunks(manifest) == (tuple(refs[:4]), False)
    store.add_chunks(leaves)
    assert store.missing_chunks(manifest) == ((), False)
    assert list(store.value_chunks(manifest)) == refs


@pytest.mark.parametrize("body", [b"\xc1", msgspec.msgpack.encode([ChunkRef(b"short", 5)])])
def test_an_index_chunk_that_makes_no_sense_is_its_authors_fault(store: Store, body: bytes) -> None:
    hash, _ = chunk(body)
    store.add_chunks([(hash, body)])
    with pytest.raises(DecodeError):
        store.missing_chunks(Manifest(2, (ChunkRef(hash, len(body)),)))


def test_numbers_of_two_authors_and_two_shards_do_not_mix(store: Store) -> None:
    other = Shard("other/0")
    mine, yours, there = record("a", 1), record("a", 1, BOB), record("other/a", 1)
    commit(store, batch_of(mine), batch_of(yours), batch_of(there, shard=other))
    commit(store, batch_of(drops=(mine,)))
    assert store.siblings(["a", "other/a"]) == [(yours,), (there,)]
    assert read_all(store.open_changes(other, ((ALICE, ((1, 1),)),))) == [there]


def test_statements_are_kept_for_ever(store: Store) -> None:
    said = [state("revocation", number.to_bytes(32, "big"), b"body", number) for number in (3, 1, 2)]
    store.apply([Batch(statements=(said[0],))])
    store.apply([Batch(statements=(said[1], said[2])), Batch(statements=(said[0],), clock=7)])
    store.close()
    found = store.open().statements
    assert sorted(found, key=lambda each: each.statement.issued_ms) == [said[1], said[2], said[0]]
