"""The index of keys, held against a plain dictionary."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.store.key_index import KeyIndex

KEYS = st.text(alphabet="ab/é", min_size=1, max_size=4)
RECORD_IDS = st.sampled_from([1, 2, 3, -4, -5])  # Negative ones are tombstones.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KEYS, RECORD_IDS),
        st.tuples(st.just("remove"), KEYS, RECORD_IDS),
        st.tuples(st.just("scan"), st.text(alphabet="ab/é", max_size=2), st.integers(0, 3)),
    ),
    max_size=80,
)


@given(STEPS, st.booleans())
def test_it_answers_like_a_sorted_dictionary_of_lists(
    steps: list[tuple[str, str, int]], starts_loaded: bool
) -> None:
    index = KeyIndex()
    model: dict[str, list[int]] = {}
    if starts_loaded:
        index.load([("a", 1), ("b", 1), ("a", 2), ("a", 3)])
        index.prepare()
        model = {"a": [1, 2, 3], "b": [1]}
    for what, key, number in steps:
        held = model.get(key, [])
        if what == "add":
            index.add(key, number)
            if number not in held:
                model.setdefault(key, []).append(number)
        elif what == "remove":
            assert index.remove(key, number) == (number in held)
            if number in held:
                held.remove(number)
                if not held:
                    del model[key]
        else:
            after = key[:number]
            expected = [
                (name, tuple(model[name])) for name in sorted(model) if name.startswith(key) and name > after
            ]
            assert list(index.scan(key, after)) == expected
        assert index.get(key) == tuple(model.get(key, ()))
    assert index.key_count == len(model)
    assert index.record_count == sum(map(len, model.values()))
    assert list(index.scan("")) == [(name, tuple(model[name])) for name in sorted(model)]


def test_many_keys_stay_in_order_through_blocks_splits_and_rebuilds() -> None:
    index = KeyIndex()
    names = [f"k{number * 7919 % 20011:06d}" for number in range(20_000)]
    for start in range(0, len(names), 1500):
        for number, name in enumerate(names[start : start + 1500]):
            index.add(name, number + 1)
        assert [key for key, _ in index.scan("k")] == sorted(names[: start + 1500])
    for number, name in enumerate(names[:1500]):
        assert index.remove(name, number + 1)
    assert [key for key, _ in index.scan("")] == sorted(names[1500:])
    middle = sorted(names[1500:])[9000]
    assert [key for key, _ in islice(index.scan("k", middle), 3)] == sorted(names[1500:])[9001:9004]


def test_a_removed_key_that_comes_back_is_listed_once() -> None:
    index = KeyIndex()
    index.add("a", 1)
    assert list(index.scan("")) == [("a", (1,))]
    for _ in range(3):
        index.remove("a", 1)
        assert list(index.scan("")) == []
        index.add("a", 1)
    assert list(index.scan("")) == [("a", (1,))]


def test_keys_that_were_removed_are_forgotten_in_the_end() -> None:
    index = KeyIndex()
    for number in range(1, 10_001):
        index.add(f"k{number}", number)
    list(index.scan(""))
    for number in range(2, 10_001):
        index.remove(f"k{number}", number)
    assert list(index.scan("")) == [("k1", (1,))]
    assert len(index._order._gone) < 1_100


@given(STEPS, st.booleans())
def test_it_knows_the_keys_in_conflict_as_of_the_last_settling(
    steps: list[tuple[str, str, int]], starts_loaded: bool
) -> None:
    index = KeyIndex()
    if starts_loaded:
        index.load([("a", 1), ("b", -4), ("a", -4), ("b", -5)])
        index.prepare()
        assert list(index.conflicts.scan("")) == ["a"]
    for what, key, number in steps:
        if what == "add":
            index.add(key, number)
        elif what == "remove":
            index.remove(key, number)
        else:
            index.settle()
            expected = [name for name, ids in index.scan("") if len(ids) > 1 and max(ids) > 0]
            assert list(index.conflicts.scan("")) == expected
            assert list(index.conflicts.scan(key, key[:number])) == [
                name for name in expected if name.startswith(key) and name > key[:number]
            ]
            assert len(index.conflicts) == len(expected)
            assert index.conflicts.counts == Counter(name.partition("/")[0] for name in expected)


def test_conflicts_that_come_and_go_unlisted_leave_nothing_behind() -> None:
    index = KeyIndex()
    index.add("held", 1)
    index.add("held", 2)
    for number in range(20_000):
        index.conflicts.mark(f"k{number}", in_conflict=True)
        index.conflicts.mark(f"k{number}", in_conflict=False)
    index.settle()
    assert len(index.conflicts._order._gone) + len(index.conflicts._order._pending) < 5_000
    assert list(index.conflicts.scan("")) == ["held"]
