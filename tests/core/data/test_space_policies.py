"""What each policy shows of siblings, and what a write puts into its record."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
import pytest

from bellande_mesh_sync.core.data.context import Context, covers
from bellande_mesh_sync.core.data.dotted import pack, unpack
from bellande_mesh_sync.core.data.merging import Sibling
from bellande_mesh_sync.core.data.record import INLINE_BYTES_MAX, VALUE, Record
from bellande_mesh_sync.core.data.space_policies import BY_NAME, SpacePolicies, UnfitError
from bellande_mesh_sync.core.events import Write
from bellande_mesh_sync.ids import parse_version
from tests.core.making import SHARD, WALL_MS, Disk, at, author_named, deletion, large_record, record, write

KEY = "fleet/k"
BOB, CAROL = author_named("bob"), author_named("carol")


def disk(name: str, policy: str) -> Disk:
    return Disk(name, SpacePolicies({"fleet": policy}))


def put(place: Disk, body: str, *, context: Context | None = None) -> Record:
    made = place.write(write(KEY, body.encode(), context=context))[0]
    place.commit()
    return made


def add(place: Disk, amount: int) -> Record:
    made = place.write(Write(KEY, VALUE, add=amount))[0]
    place.commit()
    return made


def delete(place: Disk) -> Record:
    made = place.write(deletion(KEY))[0]
    place.commit()
    return made


def hear(place: Disk, *records: Record) -> None:
    place.accept(*records)
    place.commit()


def siblings(place: Disk) -> tuple[Record, ...]:
    return place.replica.siblings([KEY])[KEY]


def shown(place: Disk) -> str | None:
    found = place.replica.policies.of(KEY).shown(siblings(place), WALL_MS)
    return None if found is None else (found.record.inline or b"").decode()


def version(place: Disk) -> str:
    return place.replica.policies.of(KEY).version(siblings(place), WALL_MS)


# -- max and min


@pytest.mark.parametrize(
    ("policy", "values", "best"),
    [
        ("max", ["3", "20", "7.5"], "20"),
        ("min", ["3", "20", "7.5"], "3"),
        ("max", ["-1", "-2e3"], "-1"),
        ("min", ["-1", "-2e3"], "-2e3"),
        ("max", ["9", "high", "low"], "9"),
        ("min", ["9", "high", "low"], "9"),
        ("max", ["beta", "alpha"], "beta"),
        ("min", ["beta", "alpha"], "alpha"),
        ("max", ["10000000000000001", "1e16"], "10000000000000001"),
    ],
)
def test_the_best_value_is_shown_whoever_wrote_last(policy: str, values: list[str], best: str) -> None:
    places = [disk(f"node {index}", policy) for index in range(len(values))]
    records = [put(place, value) for place, value in zip(places, values, strict=True)]
    for place in places:
        hear(place, *records)
        assert shown(place) == best
        assert version(place) in {record.version for record in records}


def test_a_lower_value_that_has_seen_a_higher_one_carries_it_on() -> None:
    place = disk("alice", "max")
    first = put(place, "10")
    second = put(place, "7")
    assert (shown(place), len(siblings(place))) == ("10", 1)
    assert covers(second.context, *first.dot)
    delete(place)
    assert shown(place) is None
    put(place, "3")
    assert shown(place) == "3"


# -- counters


def test_what_many_add_while_apart_is_counted_once_each() -> None:
    alice, bob = disk("alice", "counter"), disk("bob", "counter")
    hear(bob, add(alice, 5))
    one, two = add(alice, 1), add(bob, -2)
    hear(bob, one)
    hear(alice, two)
    assert shown(alice) == shown(bob) == "4"
    assert len(siblings(alice)) == 2
    three = add(alice, 10)
    hear(bob, three, one, two)
    assert shown(alice) == shown(bob) == "14"
    assert len(siblings(bob)) == 1


def test_two_adds_of_one_node_need_no_disk_between_them() -> None:
    place = disk("alice", "counter")
    place.write(Write(KEY, VALUE, add=1))
    place.write(Write(KEY, VALUE, add=1), Write(KEY, VALUE, add=1))
    place.commit()
    assert shown(place) == "3"


def test_a_counter_is_set_from_what_its_node_shows() -> None:
    alice, bob = disk("alice", "counter"), disk("bob", "counter")
    first = add(alice, 5)
    hear(bob, first)
    set_to_3, meanwhile = put(alice, "3"), add(bob, 1)
    hear(alice, meanwhile)
    hear(bob, set_to_3)
    assert shown(alice) == shown(bob) == "4"


def test_a_delete_takes_what_it_has_seen_and_leaves_the_rest() -> None:
    alice, bob = disk("alice", "counter"), disk("bob", "counter")
    hear(bob, add(alice, 5))
    gone, meanwhile = delete(alice), add(bob, 2)
    hear(alice, meanwhile)
    hear(bob, gone)
    assert shown(alice) == shown(bob) == "2"
    again = add(alice, 1)
    hear(bob, again)
    assert shown(bob) == "3"


def test_plain_numbers_from_before_the_policy_count_as_one_add_each() -> None:
    place = disk("alice", "counter")
    hear(place, record(KEY, BOB, 1, body=b"4"), record(KEY, CAROL, 1, body=b" 6 "))
    assert shown(place) == "10"
    add(place, 1)
    assert (shown(place), len(siblings(place))) == ("11", 1)


def test_an_add_leaves_what_does_not_fit_beside_the_counter() -> None:
    place = disk("alice", "counter")
    strange = record(KEY, BOB, 2, body=b"not a number")
    # Of the same author and later, so that a folded context would take in the strange one.
    hear(place, strange)
    assert shown(place) == "not a number"
    assert version(place) == strange.version
    hear(place, record(KEY, BOB, 1, body=b"1"), record(KEY, BOB, 3, body=b"4"))
    add(place, 1)
    assert strange in siblings(place)
    assert shown(place) == "6"


# -- sets


def test_what_one_adds_and_another_takes_out_while_apart_are_both_done() -> None:
    alice, bob = disk("alice", "set"), disk("bob", "set")
    hear(bob, put(alice, '["x", "y"]'))
    without, more = put(alice, '["y"]'), put(bob, '["x", "y", "z"]')
    hear(alice, more)
    hear(bob, without)
    assert shown(alice) == shown(bob) == '["y","z"]'


def test_an_element_that_is_put_in_again_meanwhile_stays() -> None:
    alice, bob = disk("alice", "set"), disk("bob", "set")
    hear(bob, put(alice, '["x"]'))
    out = put(alice, "[]")
    again = [put(bob, "[]"), put(bob, '["x"]')]
    hear(alice, *again)
    hear(bob, out)
    assert shown(alice) == shown(bob) == '["x"]'


def test_a_write_with_the_context_of_a_read_takes_out_only_what_was_read() -> None:
    place = disk("alice", "set")
    put(place, '["x", "y"]')
    context = place.replica.context_of(SHARD, siblings(place))
    put(place, '["x", "y", "z"]')
    put(place, '["y"]', context=context)
    assert shown(place) == '["y","z"]'


def test_elements_are_equal_as_json_and_not_as_text() -> None:
    place = disk("alice", "set")
    put(place, '[{"b": 1, "a": [1, 2]}, {"a":[1,2],"b":1}, "\\u00e9", "é", 1, 1.0]')
    assert json.loads(shown(place) or "") == ["é", 1, 1.0, {"a": [1, 2], "b": 1}]


def test_a_delete_takes_out_what_it_has_seen_of_a_set() -> None:
    alice, bob = disk("alice", "set"), disk("bob", "set")
    hear(bob, put(alice, '["x"]'))
    gone, more = delete(alice), put(bob, '["x", "z"]')
    hear(alice, more)
    hear(bob, gone)
    assert shown(alice) == shown(bob) == '["z"]'


# -- maps


def test_fields_change_by_themselves() -> None:
    alice, bob = disk("alice", "map"), disk("bob", "map")
    hear(bob, put(alice, '{"dock": "A", "load": 3}'))
    one, two = put(alice, '{"dock": "B", "load": 3}'), put(bob, '{"dock": "A", "load": 4, "note": null}')
    hear(alice, two)
    hear(bob, one)
    assert shown(alice) == shown(bob) == '{"dock":"B","load":4,"note":null}'


def test_of_two_writes_to_one_field_the_later_stands() -> None:
    alice, bob = disk("alice", "map"), disk("bob", "map")
    one = alice.write(write(KEY, b'{"dock": "A"}'), seconds=1)[0]
    two = bob.write(write(KEY, b'{"dock": {"name": "B"}}'), seconds=2)[0]
    alice.commit()
    bob.commit()
    hear(alice, two)
    hear(bob, one)
    assert shown(alice) == shown(bob) == '{"dock":{"name":"B"}}'


def test_a_field_that_is_taken_out_stays_out_unless_it_is_written_meanwhile() -> None:
    alice, bob = disk("alice", "map"), disk("bob", "map")
    hear(bob, put(alice, '{"a": 1, "b": 1}'))
    out, other = put(alice, "{}"), put(bob, '{"a": 1, "b": 2}')
    hear(alice, other)
    hear(bob, out)
    assert shown(alice) == shown(bob) == '{"b":2}'


# -- versions


def test_what_several_siblings_make_has_a_version_of_its_own() -> None:
    alice, bob = disk("alice", "set"), disk("bob", "set")
    one, two = put(alice, '["x"]'), put(bob, '["y"]')
    assert version(alice) == one.version
    hear(alice, two)
    hear(bob, one)
    both = version(alice)
    assert both == version(bob)
    assert both not in (one.version, two.version)
    assert parse_version(both.partition("+")[0]) in (one.dot, two.dot)
    asked = write(KEY, b"[]", if_match=both)
    assert alice.replica.refusal([asked], at()) is None
    three = put(bob, '["x"]')
    hear(alice, three)
    assert alice.replica.refusal([asked], at()) == KEY
    assert version(alice) == three.version


# -- bad values


@pytest.mark.parametrize(
    ("policy", "body"),
    [
        ("counter", b"3.5"),
        ("counter", b"three"),
        ("counter", b""),
        ("counter", b"1" * 20),
        ("set", b'{"a": 1}'),
        ("set", b"[1,"),
        ("set", b"[" * 40 + b"]" * 40),
        ("set", b"[" * 100_000),
        ("set", b'["\xff"]'),
        ("set", json.dumps(list(range(5_000))).encode()[:INLINE_BYTES_MAX]),
        ("set", json.dumps(list(range(3_000))).encode()),
        ("map", b"[1]"),
        ("map", b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_whole(policy: str, body: bytes) -> None:
    place = disk("alice", policy)
    with pytest.raises(UnfitError) as caught:
        place.write(write("other/k", b"fits"), write(KEY, body))
    assert caught.value.facts["policy"] == policy
    assert caught.value.facts["key"] == KEY
    place.commit()
    assert not place.live()
    assert place.replica.draft.is_empty()


@pytest.mark.parametrize("policy", ["max", "min", "counter", "set", "map"])
def test_a_value_in_chunks_is_refused_and_shown_if_it_comes_from_elsewhere(policy: str) -> None:
    place = disk("alice", policy)
    large = large_record(KEY, BOB, 1, [b"x" * 20_000])
    with pytest.raises(UnfitError, match="20000"):
        place.write(Write(KEY, VALUE, large.size, large.digest, manifest=large.manifest))
    hear(place, large)
    found = BY_NAME[policy].shown(siblings(place), WALL_MS)
    assert found is not None
    assert (found.record, found.version) == (large, large.version)


@pytest.mark.parametrize("policy", ["counter", "set", "map"])
def test_bytes_that_only_look_like_entries_are_shown_as_they_are(policy: str) -> None:
    place = disk("alice", policy)
    good = put(place, {"counter": "1", "set": '["a"]', "map": '{"a":1}'}[policy])
    assert good.inline is not None
    entries = unpack(good.inline)
    lies = [
        b"",
        good.inline + b"x",
        good.inline[:-1],
        pack([msgspec.structs.replace(entries[0], name=b"{not json")]),
        pack([msgspec.structs.replace(entries[0], value=b"{not json")]),
        pack([msgspec.structs.replace(entries[0], name=b'{"b":1,"a":1}')]),
    ]
    for number, lie in enumerate(lies, 1):
        other = disk("dave", policy)
        strange = msgspec.structs.replace(record(KEY, BOB, number, body=lie), content_type=good.content_type)
        hear(other, strange)
        found = BY_NAME[policy].shown(siblings(other), WALL_MS)
        assert found is not None
        assert found.record == strange
        hear(other, good)
        assert shown(other) == shown(place)
        assert set(siblings(other)) == {strange, good}


def test_nodes_with_other_policies_hold_the_same_records() -> None:
    alice, bob = disk("alice", "counter"), disk("bob", "lww")
    one = add(alice, 3)
    other = put(bob, "8")
    hear(alice, other)
    hear(bob, one)
    assert alice.live() == bob.live()
    assert shown(alice) == "11"
    two = add(alice, 1)
    hear(bob, two)
    assert alice.live() == bob.live() == {two}


# -- functions


def longest(given: Sequence[Sibling]) -> bytes | None:
    return max(sibling.data for sibling in given) if all(s.data for s in given) else None


def test_a_function_is_asked_where_there_is_something_to_merge() -> None:
    policies = SpacePolicies(merges={"fleet": longest})
    alice, bob = Disk("alice", policies), Disk("bob", policies)
    one = put(alice, "b")
    assert (shown(alice), version(alice)) == ("b", one.version)
    two = put(bob, "a")
    hear(alice, two)
    hear(bob, one)
    assert shown(alice) == shown(bob) == "b"
    assert version(alice) == version(bob)
    assert "+" in version(alice)
    empty = put(bob, "", context=())
    assert shown(bob) == max([one, two, empty], key=lambda each: each.stamp).inline.decode()  # type: ignore[union-attr]
