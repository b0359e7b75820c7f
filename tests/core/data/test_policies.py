"""Policies pick the same sibling whatever order they see."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.data.policies import last_writer, visible
from bellande_mesh_sync.core.data.record import TOMBSTONE, Record
from tests.core.making import WALL_MS, author_named, record

AUTHORS = [author_named(name) for name in ("alice", "bob", "carol")]


@st.composite
def sibling_lists(draw: st.DrawFn) -> list[Record]:
    dots = draw(st.sets(st.tuples(st.sampled_from(AUTHORS), st.integers(1, 9)), max_size=6))
    return [record("fleet/a", a, n, stamp=draw(st.integers(1, 3))) for a, n in sorted(dots)]


@given(sibling_lists(), st.randoms())
def test_the_winner_does_not_depend_on_the_order_of_the_siblings(siblings: list[Record], rng: object) -> None:
    shuffled = list(siblings)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert last_writer(shuffled) == last_writer(siblings)
    assert visible(shuffled, 0) == visible(siblings, 0)


@given(sibling_lists())
def test_the_latest_stamp_wins(siblings: list[Record]) -> None:
    winner = last_writer(siblings)
    assert (winner is None) == (not siblings)
    assert winner is None or winner.stamp == max(sibling.stamp for sibling in siblings)


def test_a_key_whose_winner_is_a_tombstone_is_gone() -> None:
    value = record("fleet/a", AUTHORS[0], 1, stamp=1)
    grave = Record("fleet/a", AUTHORS[1], 1, value.stamp, TOMBSTONE, 0, b"")
    later_value = msgspec.structs.replace(value, sequence=2, stamp=value.stamp + 1)
    later_grave = msgspec.structs.replace(grave, stamp=value.stamp + 1)
    assert visible([value, later_grave], WALL_MS) is None
    assert visible([later_value, grave], WALL_MS) == later_value


def test_a_value_is_gone_from_the_moment_it_expires() -> None:
    value = msgspec.structs.replace(record("fleet/a", AUTHORS[0], 1), expires_ms=WALL_MS)
    assert visible([value], WALL_MS - 1) == value
    assert visible([value], WALL_MS) is None
