"""Cursors: what was told of is left out, all else is missing, and what is no cursor is refused."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.data.clock import HybridClock
from bellande_mesh_sync.core.data.knowledge import Knowledge, count_of
from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.core.data.space_policies import SpacePolicies
from bellande_mesh_sync.core.reader import StoredShard, StoredState
from bellande_mesh_sync.errors import CursorGoneError, UsageError
from bellande_mesh_sync.ids import AUTHOR_BYTES, Author, Shard
from bellande_mesh_sync.observe.cursors import cursor_text, known_under, parse_cursor
from bellande_mesh_sync.store.memory import MemoryStore

MESH = b"m" * 32
AUTHORS = [Author(bytes([number]) * AUTHOR_BYTES) for number in range(1, 5)]


def replica(**shards: Knowledge) -> Replica:
    stored = tuple(StoredShard(Shard(f"{space}/0"), known.delta(), 0) for space, known in shards.items())
    state = StoredState(b"e" * 8, stored, (), 0)
    return Replica(
        AUTHORS[0], HybridClock(60_000, 0), MemoryStore(new_epoch=lambda: b"e" * 8), state, SpacePolicies({})
    )


def known(*ranges: tuple[int, int, int]) -> Knowledge:
    knowledge = Knowledge()
    for author, low, high in ranges:
        knowledge.add(AUTHORS[author], low, high)
    return knowledge


RANGES = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(0, 10)), max_size=12)


@given(RANGES, RANGES)
def test_just_what_is_known_here_and_was_not_there_is_missing(
    there: list[tuple[int, int, int]], here: list[tuple[int, int, int]]
) -> None:
    told = known(*((author, low, low + more) for author, low, more in there))
    now = known(*((author, low, low + more) for author, low, more in here))
    cursor = parse_cursor(cursor_text(MESH, "fleet/", replica(fleet=told)), MESH, "fleet/")
    for shard, delta in known_under("fleet/", replica(fleet=now)):
        assert cursor.missing_from(shard, delta) == told.missing_from(now.delta())


def test_a_cursor_names_the_shards_under_its_prefix_alone() -> None:
    held = replica(fleet=known((0, 1, 3)), fleets=known((1, 1, 5)), other=known((2, 1, 7)))
    assert {shard for shard, _ in known_under("fleet/plans", held)} == {"fleet/0"}
    assert {shard for shard, _ in known_under("fleet", held)} == {"fleet/0", "fleets/0"}
    assert {shard for shard, _ in known_under("", held)} == {"fleet/0", "fleets/0", "other/0"}


def test_an_empty_cursor_has_told_nothing() -> None:
    cursor = parse_cursor("", MESH, "fleet/")
    [(shard, delta)] = known_under("fleet/", replica(fleet=known((0, 1, 3))))
    assert count_of(cursor.missing_from(shard, delta)) == 3


def test_deletes_that_were_forgotten_since_matter_to_who_was_told_of_the_shard() -> None:
    cursor = parse_cursor(cursor_text(MESH, "", replica(fleet=known((0, 1, 3), (1, 2, 9)))), MESH, "")
    fleet = Shard("fleet/0")
    assert not cursor.may_lack_deletes(fleet, {AUTHORS[0]: 3})
    assert cursor.may_lack_deletes(fleet, {AUTHORS[0]: 4})
    assert cursor.may_lack_deletes(fleet, {AUTHORS[1]: 9})
    assert cursor.may_lack_deletes(fleet, {AUTHORS[2]: 1})
    assert not cursor.may_lack_deletes(Shard("other/0"), {AUTHORS[0]: 4})
    assert not parse_cursor("", MESH, "").may_lack_deletes(fleet, {AUTHORS[0]: 4})


def test_a_cursor_of_more_keys_is_good_for_fewer_and_not_the_other_way_round() -> None:
    held = replica(fleet=known((0, 1, 3)))
    parse_cursor(cursor_text(MESH, "fleet/", held), MESH, "fleet/plans/")
    with pytest.raises(UsageError, match="a watch of 'fleet/plans/'"):
        parse_cursor(cursor_text(MESH, "fleet/plans/", held), MESH, "fleet/")


def test_a_cursor_of_another_mesh_is_gone() -> None:
    with pytest.raises(CursorGoneError, match="another mesh"):
        parse_cursor(cursor_text(b"x" * 32, "", replica(fleet=known((0, 1, 3)))), MESH, "")


def test_what_is_no_cursor_is_refused() -> None:
    good = cursor_text(MESH, "", replica(fleet=known((0, 1, 3), (1, 2, 5))))
    chance = random.Random(1)
    for text in (
        "x",
        "ä",
        good[:-3],
        good + "AAAA",
        base64.urlsafe_b64encode(b"\x94\x01\xc0\xc0\x80").decode(),
    ):
        with pytest.raises((UsageError, CursorGoneError)):
            parse_cursor(text, MESH, "")
    for _ in range(300):
        raw = bytearray(base64.urlsafe_b64decode(good + "=" * (-len(good) % 4)))
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        try:
            parse_cursor(base64.urlsafe_b64encode(raw).decode(), MESH, "")
        except (UsageError, CursorGoneError):
            continue


def test_a_cursor_is_short() -> None:
    text = cursor_text(MESH, "fleet/", replica(fleet=known(*((each, 1, 1_000_000) for each in range(4)))))
    assert len(text) < 160
