"""Contexts: they may only claim what was seen."""

from __future__ import annotations

import base64
import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.data.context import Context, context_text, covers, join, parse_context
from bellande_mesh_sync.core.data.knowledge import IntervalSet
from bellande_mesh_sync.ids import Author, Dot
from bellande_mesh_sync.wire.limits import CONTEXT_AUTHORS_MAX, CONTEXT_EXTRAS_MAX, NUMBER_MAX
from tests.core.making import author_named

AUTHORS = sorted(author_named(name) for name in ("alice", "bob", "carol"))
ALICE, BOB = AUTHORS[:2]


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    found = []
    for author in AUTHORS:
        if draw(st.booleans()):
            base = draw(st.integers(0, 8))
            extras = draw(st.sets(st.integers(base + 1, base + 12), max_size=4))
            found.append((author, base, tuple(sorted(extras))))
    return tuple(found)


dots = st.lists(st.builds(Dot, st.sampled_from(AUTHORS), st.integers(1, 20)), max_size=5)
seen_sets = st.fixed_dictionaries({author: st.sets(st.integers(1, 20)) for author in AUTHORS})


@given(st.lists(contexts(), max_size=4), dots, seen_sets)
def test_a_joint_context_covers_all_its_inputs_and_nothing_that_was_never_seen(
    inputs: list[Context], singles: list[Dot], seen: dict[bytes, set[int]]
) -> None:
    contiguous = {a: IntervalSet((n, n) for n in numbers).contiguous for a, numbers in seen.items()}
    joint = join(inputs, singles, lambda author: contiguous[author])
    for author in AUTHORS:
        for number in range(1, 30):
            was_input = Dot(author, number) in singles or any(covers(c, author, number) for c in inputs)
            if was_input:
                assert covers(joint, author, number)
            elif covers(joint, author, number):
                # A claim beyond the inputs: only of what this node has seen without a gap.
                assert number <= contiguous[author]


@given(st.lists(contexts(), max_size=4), dots)
def test_a_joint_context_is_in_canonical_form(inputs: list[Context], singles: list[Dot]) -> None:
    joint = join(inputs, singles, lambda author: 3)
    assert [author for author, _, _ in joint] == sorted({author for author, _, _ in joint})
    assert all(list(extras) == sorted(set(extras)) for _, _, extras in joint)
    assert all(extra > base for _, base, extras in joint for extra in extras)
    assert join([joint], [], lambda author: 3) == joint
    assert join(reversed(inputs), reversed(singles), lambda author: 3) == joint


def test_a_write_that_was_not_read_stays_outside_of_the_base() -> None:
    # 7 was seen, 6 not yet: "up to 7" would wipe out a 6 that nobody here has read.
    assert join([], [Dot(ALICE, 7)], lambda author: 5) == ((ALICE, 0, (7,)),)
    assert join([], [Dot(ALICE, 7)], lambda author: 7) == ((ALICE, 7, ()),)


@given(contexts())
def test_the_text_of_a_context_brings_it_back(context: Context) -> None:
    text = context_text(context)
    assert parse_context(text) == context
    assert text.isascii()
    assert not set(text) & set("+/= \n")


@pytest.mark.parametrize(
    "text", ["", "!", "AA", "zzzz", "kA==x", "\u00e9", "gA", "k" * 5000, context_text(()) + "AA"]
)
def test_a_text_that_is_no_context_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a context"):
        parse_context(text)


def text_of(raw: object) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(raw)).rstrip(b"=").decode()


@given(st.text(max_size=60))
def test_any_text_is_a_context_or_refused_with_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_context(context_text(parse_context(text))) == parse_context(text)


@pytest.mark.parametrize(
    "raw",
    [[[b"short", 1, []]], [[ALICE, -1, []]], [[ALICE, 5, [5]]], [[ALICE, 5, [3]]], [[ALICE, "1", []]], 7],
)
def test_a_context_with_impossible_entries_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="not a context"):
        parse_context(text_of(raw))


@pytest.mark.parametrize(
    "raw",
    [
        [[ALICE, 1, []], [ALICE, 2, []]],
        [[ALICE, 1, [9, 7]]],
        [[ALICE, 1, [7, 7]]],
        [[ALICE, NUMBER_MAX + 1, []]],
        [[ALICE, 1, [NUMBER_MAX + 1]]],
        [[ALICE, 0, list(range(1, CONTEXT_EXTRAS_MAX + 2))]],
        [[number.to_bytes(40, "big"), 1, []] for number in range(CONTEXT_AUTHORS_MAX + 1)],
    ],
    ids=["author twice", "unsorted", "repeated", "base too high", "extra too high", "extras", "authors"],
)
def test_a_context_that_no_peer_would_take_is_refused(raw: object) -> None:
    """A record with such a context would be committed here, and every peer would drop the link over it."""
    with pytest.raises(ValueError, match="not a context"):
        parse_context(text_of(raw))


def test_siblings_of_one_author_are_named_one_by_one_until_the_next_write() -> None:
    def everything(author: Author) -> int:
        return 99

    siblings = [Dot(ALICE, 3), Dot(ALICE, 7), Dot(BOB, 2)]
    plain = join([((ALICE, 1, ()),)], siblings, everything)
    assert plain == ((ALICE, 7, ()), (BOB, 2, ()))
    named = join([((ALICE, 1, ()),)], siblings, everything, names_each=True)
    assert named == ((ALICE, 3, (7,)), (BOB, 2, ()))
    assert all(covers(named, *dot) for dot in siblings)
    assert not covers(named, ALICE, 5)
    by_bob = join([named], [Dot(BOB, 4)], everything, names_each=True)
    assert by_bob == ((ALICE, 7, ()), (BOB, 4, ()))
    by_alice = join([named], [Dot(ALICE, 9)], everything, names_each=True)
    assert by_alice == ((ALICE, 9, ()), (BOB, 2, ()))
    between = join([named], [Dot(ALICE, 5)], everything, names_each=True)
    assert between == ((ALICE, 5, (7,)), (BOB, 2, ()))
    with_gaps = join([named], [Dot(ALICE, 9)], lambda author: 4, names_each=True)
    assert with_gaps == ((ALICE, 3, (7, 9)), (BOB, 2, ()))
