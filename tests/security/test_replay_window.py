"""The replay window against what it stands for: the set of all counters seen."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.security.replay_window import WINDOW, ReplayWindow

steps = st.one_of(
    st.integers(-5, 5),
    st.integers(-WINDOW - 3, WINDOW + 3),
    st.sampled_from([-WINDOW, 1 - WINDOW, WINDOW - 1, WINDOW]),
)
"""From the highest counter so far."""


@given(st.lists(steps, max_size=80), st.integers(1, 2**64 - 1))
def test_a_counter_is_good_once_and_only_near_the_highest(offsets: list[int], first: int) -> None:
    window, seen, highest = ReplayWindow(), set[int](), 0
    for counter in (first, *offsets):
        counter = counter if not seen else min(max(0, highest + counter), 2**64 - 1)
        expected = counter > 0 and counter > highest - WINDOW and counter not in seen
        assert window.accept(counter) == expected
        seen.add(counter)
        highest = max(highest, counter)
        assert window.highest == highest


def test_a_jump_over_all_counters_takes_no_memory() -> None:
    window = ReplayWindow()
    tracemalloc.start()
    try:
        assert window.accept(1)
        assert window.accept(2**64 - 1)
        assert not window.accept(1)
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()
