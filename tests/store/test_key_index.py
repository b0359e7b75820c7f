"""The index of keys, held against a plain dictionary."""

from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.store.key_index import KeyIndex

KEYS = st.text(alphabet="ab/é", min_size=1, max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KEYS, st.integers(1, 4)),
        st.tuples(st.just("remove"), KEYS, st.integers(1, 4)),
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
    assert not index._gone
