"""When versions became known here, and what that says of their writers' clocks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.data.arrivals import RUN_MS_MAX, Arrival, Arrivals, ClockAhead
from bellande_mesh_sync.core.data.record import TOMBSTONE, Record
from bellande_mesh_sync.ids import Author, Shard, stamp_of
from tests.core.making import Disk, at, record, write

SHARD = Shard("fleet/0")
OWN, OTHER = Author(b"o" * 40), Author(b"x" * 40)


def written(author: Author, sequence: int, ms: int, *, had_seen: int = 0, extra: int = 0) -> Record:
    """A record stamped `ms`, by someone who had seen the own writes up to `had_seen`, and `extra`."""
    context = ((OWN, had_seen, (extra,) if extra else ()),) if had_seen or extra else ()
    return Record("fleet/a", author, sequence, stamp_of(ms, 7), TOMBSTONE, 0, b"", context=context)


def test_nothing_is_known_of_what_was_never_noted() -> None:
    arrivals = Arrivals()
    assert arrivals.of(SHARD, OTHER, 1) is None
    assert arrivals.clock_ahead(SHARD, written(OTHER, 1, 5_000), OWN) == ClockAhead(None, None)


def test_a_stamp_later_than_the_arrival_shows_a_clock_that_was_ahead() -> None:
    arrivals = Arrivals()
    arrivals.note(SHARD, OTHER, 1, 1, 20_000)
    assert arrivals.clock_ahead(SHARD, written(OTHER, 1, 50_000), OWN) == ClockAhead(30_000, None)


def test_what_arrives_long_after_its_stamp_shows_hardly_anything() -> None:
    arrivals = Arrivals()
    arrivals.note(SHARD, OTHER, 1, 1, 3_600_000)
    assert arrivals.clock_ahead(SHARD, written(OTHER, 1, 0), OWN) == ClockAhead(-3_600_000, None)


def test_a_write_is_later_than_the_last_own_write_that_it_had_seen() -> None:
    arrivals = Arrivals()
    for sequence in (1, 2, 3):
        arrivals.note(SHARD, OWN, sequence, sequence, sequence * 10_000)
    arrivals.note(SHARD, OTHER, 1, 1, 40_000)
    assert arrivals.clock_ahead(SHARD, written(OTHER, 1, 45_000, had_seen=2), OWN) == (5_000, 25_000)
    assert arrivals.clock_ahead(SHARD, written(OTHER, 1, 45_000, had_seen=1, extra=3), OWN) == (5_000, 15_000)
    assert arrivals.clock_ahead(SHARD, written(OTHER, 1, 45_000, had_seen=9), OWN) == (5_000, None)


def test_the_stamp_of_an_own_write_is_held_against_the_clock_at_that_moment() -> None:
    arrivals = Arrivals()
    arrivals.note(SHARD, OWN, 1, 1, 10_000)
    assert arrivals.clock_ahead(SHARD, written(OWN, 1, 10_400), OWN) == ClockAhead(400, 400)


def test_consecutive_writes_within_a_second_are_one_run() -> None:
    arrivals = Arrivals(runs_max=2)
    for sequence in range(1, 101):
        arrivals.note(SHARD, OTHER, sequence, sequence, 5_000 + sequence * 9)
    first, last = arrivals.of(SHARD, OTHER, 1), arrivals.of(SHARD, OTHER, 100)
    assert first == last == Arrival(5_009, 5_900)
    arrivals.note(SHARD, OTHER, 101, 101, 5_009 + RUN_MS_MAX)
    assert arrivals.of(SHARD, OTHER, 101) == Arrival(5_009 + RUN_MS_MAX, 5_009 + RUN_MS_MAX)
    assert arrivals.of(SHARD, OTHER, 100) == first


def test_the_oldest_are_forgotten_and_the_bound_is_kept() -> None:
    arrivals = Arrivals(runs_max=3)
    for number in range(10):
        arrivals.note(SHARD, Author(bytes([number]) * 40), 1, 4, number * 10_000)
    known = [number for number in range(10) if arrivals.of(SHARD, Author(bytes([number]) * 40), 2)]
    assert known == [7, 8, 9]
    assert len(arrivals._runs) == len(arrivals._order) == 3


def test_a_number_that_was_noted_twice_is_known_since_the_last_time() -> None:
    arrivals = Arrivals()
    arrivals.note(SHARD, OWN, 1, 3, 1_000)  # The disk refused this commit, and its numbers are used again.
    arrivals.note(SHARD, OWN, 1, 1, 9_000)
    assert arrivals.of(SHARD, OWN, 1) == Arrival(9_000, 9_000)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.integers(0, 3_000)), max_size=60),
    st.integers(1, 20),
)
def test_every_time_that_is_told_is_one_that_was_noted_within_a_second(
    notes: list[tuple[int, int, int]], runs_max: int
) -> None:
    arrivals = Arrivals(runs_max)
    times: dict[tuple[Author, int], int] = {}
    wall_ms, next_number = 0, [1, 1, 1]
    for index, count, pause_ms in notes:
        author = Author(bytes([index]) * 40)
        wall_ms += pause_ms
        low = next_number[index]
        next_number[index] = low + count
        arrivals.note(SHARD, author, low, low + count - 1, wall_ms)
        times.update(dict.fromkeys(((author, number) for number in range(low, low + count)), wall_ms))
    assert len(arrivals._order) <= runs_max
    for (author, number), noted_ms in times.items():
        found = arrivals.of(SHARD, author, number)
        if found is not None:
            assert found.first_ms <= noted_ms <= found.last_ms < found.first_ms + RUN_MS_MAX


def test_a_replica_notes_its_own_writes_and_what_peers_send() -> None:
    disk = Disk()
    (own,) = disk.write(write("fleet/a"), seconds=2)
    theirs = record("fleet/a", Author(b"b" * 40), 1)
    disk.accept(theirs)
    replica = disk.replica
    assert replica.arrivals.of(SHARD, own.author, own.sequence) == Arrival(at(2).wall_ms, at(2).wall_ms)
    assert replica.arrivals.of(SHARD, theirs.author, 1) == Arrival(at().wall_ms, at().wall_ms)
