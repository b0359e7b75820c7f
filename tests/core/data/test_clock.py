"""The hybrid clock: never backwards, never dragged away."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.data.clock import HybridClock
from bellande_mesh_sync.ids import Now, Stamp, stamp_ms, stamp_of

DRIFT_MS = 60_000
walls = st.integers(1_000_000, 1_050_000)  # What peers and a drifting wall clock may differ by.


@given(st.lists(st.tuples(walls, st.none() | walls), max_size=30))
def test_stamps_rise_whatever_the_wall_clock_and_the_peers_do(events: list[tuple[int, int | None]]) -> None:
    clock = HybridClock(DRIFT_MS)
    last = 0
    for wall_ms, heard_ms in events:
        now = Now(0, wall_ms)
        if heard_ms is not None:
            clock.observe(stamp_of(heard_ms, 7), now)
            if not clock.is_ahead(stamp_of(heard_ms, 7), now):
                last = max(last, stamp_of(heard_ms, 7))
        stamp = clock.next(now)
        assert stamp > last
        assert stamp_ms(stamp) >= wall_ms
        last = stamp


def test_a_stamp_too_far_ahead_does_not_move_the_clock() -> None:
    clock, now = HybridClock(DRIFT_MS), Now(0, 1_000_000)
    just_in_time, too_far = stamp_of(1_000_000 + DRIFT_MS, 0xFFFF), stamp_of(1_000_000 + DRIFT_MS + 1)
    assert not clock.is_ahead(just_in_time, now)
    assert clock.is_ahead(too_far, now)
    clock.observe(too_far, now)
    assert clock.next(now) == stamp_of(1_000_000)
    clock.observe(just_in_time, now)
    assert clock.next(now) == Stamp(just_in_time + 1)


def test_the_counter_runs_over_into_the_milliseconds() -> None:
    clock, now = HybridClock(DRIFT_MS, stamp_of(1_000_000, 0xFFFF)), Now(0, 1_000_000)
    assert clock.next(now) == stamp_of(1_000_001, 0)


def test_a_restarted_clock_goes_on_above_the_last_stamp_of_the_run_before() -> None:
    first = HybridClock(DRIFT_MS)
    stamp = first.next(Now(0, 1_000_000))
    second = HybridClock(DRIFT_MS, first.last)
    assert second.next(Now(0, 970_000)) > stamp  # Although the wall clock was set back meanwhile.


def test_a_wall_clock_that_was_wrong_once_does_not_leave_every_later_stamp_too_far_ahead() -> None:
    """Peers hold off such records: a clock a year ahead for a minute would make its node mute for a year."""
    year_ms = 365 * 86_400_000
    wrong, right = Now(0, 1_000_000 + year_ms), Now(0, 1_000_000)
    clock = HybridClock(DRIFT_MS)
    clock.next(wrong)
    assert not clock.is_ahead(clock.next(right), right)
    again = HybridClock(DRIFT_MS, clock.last)
    assert not again.is_ahead(again.next(right), right)
