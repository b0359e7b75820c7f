"""How late an event loop runs, reckoned without simulating every beat."""

from __future__ import annotations

from bellande_mesh_sync.sim.heartbeat import Heartbeat
from bellande_mesh_sync.sim.world import MILLISECOND_NS


def lag_ms(heartbeat: Heartbeat, from_ms: int, to_ms: int) -> int:
    return heartbeat.stood_still(from_ms * MILLISECOND_NS, to_ms * MILLISECOND_NS) // MILLISECOND_NS


def test_a_long_stop_is_measured_from_the_beat_that_was_due_in_it() -> None:
    assert lag_ms(Heartbeat(0), 1_030, 61_000) == 59_900


def test_what_is_late_by_a_tenth_of_a_second_or_less_is_not_reported() -> None:
    assert lag_ms(Heartbeat(0), 1_000, 1_100) == 0
    assert lag_ms(Heartbeat(0), 1_000, 1_101) == 101
    assert lag_ms(Heartbeat(0), 1_001, 1_050) == 0


def test_after_a_late_beat_the_next_is_due_a_tenth_of_a_second_later() -> None:
    heartbeat = Heartbeat(0)
    assert lag_ms(heartbeat, 0, 1_050) == 950
    assert lag_ms(heartbeat, 1_050, 1_250) == 0
    assert lag_ms(heartbeat, 1_250, 1_500) == 150
