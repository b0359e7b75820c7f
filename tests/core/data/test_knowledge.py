"""Knowledge against a plain set of dots."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.data.knowledge import Delta, IntervalSet, Knowledge, count_of
from tests.core.making import author_named

ALICE, BOB = author_named("alice"), author_named("bob")
spans = st.tuples(st.integers(1, 40), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))
span_lists = st.lists(spans, max_size=12)
claims = st.lists(st.tuples(st.sampled_from([ALICE, BOB]), spans), max_size=12)
Dots = set[tuple[bytes, int]]


def numbers(held: IntervalSet) -> set[int]:
    return {number for low, high in held for number in range(low, high + 1)}


def knowledge_of(added: list[tuple[bytes, tuple[int, int]]]) -> tuple[Knowledge, Dots]:
    knowledge, model = Knowledge(), set()
    for author, (low, high) in added:
        knowledge.add(author, low, high)  # type: ignore[arg-type]
        model |= {(author, number) for number in range(low, high + 1)}
    return knowledge, model


def dots_of(delta: Delta) -> Dots:
    return {(a, n) for a, ranges in delta for low, high in ranges for n in range(low, high + 1)}


def is_canonical(ranges: object) -> bool:
    pairs = list(ranges)  # type: ignore[call-overload]
    return all(low <= high for low, high in pairs) and all(
        before[1] + 1 < after[0] for before, after in pairwise(pairs)
    )


@given(span_lists)
def test_an_interval_set_holds_what_was_added_in_as_few_intervals_as_possible(
    added: list[tuple[int, int]],
) -> None:
    held = IntervalSet(added)
    model = {number for low, high in added for number in range(low, high + 1)}
    assert numbers(held) == model
    assert is_canonical(held)
    assert bool(held) == bool(model)
    assert held.last == max(model, default=0)
    assert held.contiguous == next(n for n in range(200) if n + 1 not in model)
    assert all(held.contains(number) == (number in model) for number in range(1, 60))


@given(span_lists)
def test_a_table_with_a_row_per_interval_follows_from_what_add_returns(added: list[tuple[int, int]]) -> None:
    held, rows = IntervalSet(), dict[int, int]()
    for low, high in added:
        (row_low, row_high), absorbed = held.add(low, high)
        for gone in absorbed:
            del rows[gone]  # A KeyError here would be a row that was never written.
        assert row_low not in rows
        rows[row_low] = row_high
        assert sorted(rows.items()) == list(held)


@given(span_lists, spans)
def test_gaps_are_what_is_missing_from_a_range(added: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    held = IntervalSet(added)
    wanted = set(range(asked[0], asked[1] + 1))
    gaps = list(held.gaps(*asked))
    assert {n for low, high in gaps for n in range(low, high + 1)} == wanted - numbers(held)
    assert is_canonical(gaps)
    assert held.contains_range(*asked) == (wanted <= numbers(held))


@given(span_lists, span_lists)
def test_missing_from_is_the_difference_of_two_interval_sets(
    mine: list[tuple[int, int]], theirs: list[tuple[int, int]]
) -> None:
    held, other = IntervalSet(mine), IntervalSet(theirs)
    assert numbers(IntervalSet(held.missing_from(other))) == numbers(other) - numbers(held)


@given(claims, claims)
def test_missing_from_is_the_difference_of_two_knowledges(mine: list, theirs: list) -> None:  # type: ignore[type-arg]
    (knowledge, model), (other, other_model) = knowledge_of(mine), knowledge_of(theirs)
    missing = knowledge.missing_from(other.delta())
    assert dots_of(missing) == other_model - model
    assert count_of(missing) == len(other_model - model)
    assert all(ranges and is_canonical(ranges) for _, ranges in missing)
    assert [author for author, _ in missing] == sorted(author for author, _ in missing)


@given(claims, claims, claims)
def test_merging_does_not_care_for_order_grouping_or_repetition(a: list, b: list, c: list) -> None:  # type: ignore[type-arg]
    deltas = [knowledge_of(each)[0].delta() for each in (a, b, c)]

    def merged(*parts: Delta) -> Delta:
        knowledge = Knowledge()
        for part in parts:
            knowledge.merge(part)
        return knowledge.delta()

    x, y, z = deltas
    assert merged(x, y) == merged(y, x)
    assert merged(merged(x, y), z) == merged(x, merged(y, z))
    assert merged(x, x) == x
    assert dots_of(merged(x, y)) == dots_of(x) | dots_of(y)


@given(claims)
def test_a_delta_brings_the_same_knowledge_back(added: list) -> None:  # type: ignore[type-arg]
    knowledge, model = knowledge_of(added)
    delta = knowledge.delta()
    assert Knowledge(delta) == knowledge
    assert dots_of(delta) == model
    assert [author for author, _ in delta] == sorted({author for author, _ in model})
    assert all(is_canonical(ranges) for _, ranges in delta)
    for author in (ALICE, BOB):
        own = {n for a, n in model if a == author}
        assert knowledge.last(author) == max(own, default=0)
        assert knowledge.contiguous(author) == next(n for n in range(200) if n + 1 not in own)
        assert all(knowledge.contains(author, n) == (n in own) for n in range(1, 60))


def test_asking_about_an_unknown_author_does_not_make_it_known() -> None:
    knowledge = Knowledge()
    assert not knowledge.contains(ALICE, 1)
    assert not knowledge.contains_range(ALICE, 1, 2)
    assert knowledge.last(ALICE) == knowledge.contiguous(ALICE) == 0
    assert knowledge.delta() == ()
