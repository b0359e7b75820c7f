"""Held off: what came too early is asked for again when its time has come, and not before."""

from __future__ import annotations

import pytest

from bellande_mesh_sync.core.data.clock import HybridClock
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.messages import Have, Records, Want
from bellande_mesh_sync.core.spreading import held_off as held_off_module
from bellande_mesh_sync.core.spreading.held_off import HeldOff
from bellande_mesh_sync.ids import Now, stamp_of
from tests.core.making import SHARD, WALL_MS, author_named, record
from tests.core.shuttle import World

DAVE = author_named("dave")


def early(sequence: int, ahead_ms: int) -> Record:
    return record(f"fleet/{sequence}", DAVE, sequence, stamp=stamp_of(WALL_MS + ahead_ms))


def at(wall_ms: int) -> Now:
    return Now(wall_ms * 1_000_000, wall_ms)


def test_each_is_let_in_when_its_own_time_comes() -> None:
    held = HeldOff(HybridClock(drift_max_ms=1_000))
    held.note(SHARD, early(1, 5_000), at(WALL_MS))
    held.note(SHARD, early(2, 9_000), at(WALL_MS))
    among = held.among(SHARD, at(WALL_MS + 3_999))
    assert among is not None
    assert among.delta() == ((DAVE, ((1, 2),)),)
    among = held.among(SHARD, at(WALL_MS + 4_000))
    assert among is not None
    assert among.delta() == ((DAVE, ((2, 2),)),)
    assert held.among(SHARD, at(WALL_MS + 8_000)) is None
    assert len(held) == 0


def test_all_are_let_in_when_our_own_clock_was_behind_and_is_set_right() -> None:
    held = HeldOff(HybridClock(drift_max_ms=1_000))
    held.note(SHARD, early(1, 0), at(WALL_MS))
    assert held.among(SHARD, at(0)) is not None
    assert held.among(SHARD, at(WALL_MS)) is None


def test_no_more_are_noted_than_the_bound_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_off_module, "HELD_OFF_MAX", 3)
    held = HeldOff(HybridClock(drift_max_ms=1_000))
    for sequence in (1, 1, 2, 3, 4):
        held.note(SHARD, early(sequence, 5_000), at(WALL_MS))
    assert len(held) == 3


def test_a_record_that_comes_too_early_is_not_asked_for_until_its_time_and_then_it_is() -> None:
    world = World("alice", "bob")
    world.connect("alice", "bob")
    world.run()
    bob = world.nodes["bob"]
    ahead = record("fleet/x", DAVE, 1, stamp=stamp_of(world.now.wall_ms + 100_000))
    world.tell("alice", "bob", Records(SHARD, 0, (ahead,)))
    for _ in range(5):
        world.tell("alice", "bob", Have(SHARD, ((DAVE, ((1, 1),)),)))
        world.run()
    assert bob.core.counters["clock_ahead"] == 1
    assert bob.seen(Want) == []
    world.pass_time(41)
    world.tell("alice", "bob", Have(SHARD, ((DAVE, ((1, 1),)),)))
    world.run()
    assert [want.dots for want in bob.seen(Want)] == [((DAVE, ((1, 1),)),)]


def test_a_stamp_that_no_clock_would_give_is_held_off_for_an_hour_only() -> None:
    held = HeldOff(HybridClock(drift_max_ms=1_000))
    held.note(SHARD, early(1, 365 * 86_400_000), at(WALL_MS))
    assert held.among(SHARD, at(WALL_MS + 3_590_000)) is not None
    assert held.among(SHARD, at(WALL_MS + 3_610_000)) is None


def test_notes_are_gone_through_once_a_second_at_most() -> None:
    held = HeldOff(HybridClock(drift_max_ms=1_000))
    for number in range(1, 4):
        held.note(SHARD, early(number, 2_000 + 100 * number), at(WALL_MS))
    assert held.among(SHARD, at(WALL_MS + 1_150)) is not None
    assert len(held) == 2
    held.among(SHARD, at(WALL_MS + 1_250))
    assert len(held) == 2
    held.among(SHARD, at(WALL_MS + 2_151))
    assert len(held) == 0
