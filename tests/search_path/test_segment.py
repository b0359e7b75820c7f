"""Segments cover space once, and know their neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.errors import InvalidNumberError
from bellande_mesh_sync.search_path import Segment

axes = st.lists(st.tuples(st.floats(0.5, 1000), st.integers(1, 6)), min_size=1, max_size=4)


@given(axes, st.integers(0, 100))
def test_every_segment_has_its_own_id_and_adjacency_goes_both_ways(
    made: list[tuple[float, int]], seed: int
) -> None:
    segments = Segment([size for size, _ in made], [count for _, count in made])
    for each in range(len(segments)):
        low, high = segments.bounds(each)
        assert int(segments.of((low + high) / 2)) == each
        for other in segments.adjacent(each):
            assert each in segments.adjacent(int(other))
            other_low, other_high = segments.bounds(int(other))
            assert ((other_low <= high + 1e-9) & (low <= other_high + 1e-9)).all()
    points = np.random.default_rng(seed).uniform(-0.2, 1.2, (50, len(made))) * segments.environment
    ids = segments.of(points)
    assert ((ids >= 0) & (ids < len(segments))).all()


def test_slabs_across_the_second_axis() -> None:
    slabs = Segment([800, 600], [1, 6])
    assert slabs.of([[50, 50], [799, 550], [800, 600], [-1, 700]]).tolist() == [0, 5, 5, 5]
    assert slabs.adjacent(0).tolist() == [1]
    assert slabs.adjacent(3).tolist() == [2, 4]
    assert [corner.tolist() for corner in slabs.bounds(2)] == [[0, 200], [800, 300]]


def test_coverage_is_the_share_of_cells_that_hold_a_node() -> None:
    segments = Segment([10, 10], [2, 1])
    found = segments.coverage([[0.0, 0.0], [0.5, 0.5], [4.9, 9.9], [5.0, 0.0]], [2.5, 5.0])
    assert found == {0: 2 / 4, 1: 1 / 4}


@pytest.mark.parametrize(
    ("environment", "counts", "words"),
    [
        ([0, 1], [1, 1], "environment must be"),
        ([1, 1], [0, 1], "counts must be"),
        ([1, 1], [1.5, 1], "counts must be"),
        ([1] * 30, [10] * 30, "counts must be"),
        ([], [], "environment must be"),
    ],
)
def test_a_wrong_partition_is_refused(environment: list[float], counts: list[float], words: str) -> None:
    with pytest.raises(InvalidNumberError, match=words):
        Segment(environment, counts)


def test_a_segment_that_is_not_there_is_refused() -> None:
    for wrong in (-1, 4, 1.5):
        with pytest.raises(InvalidNumberError, match="segment must be an integer from 0 to 3"):
            Segment([1, 1], [2, 2]).adjacent(wrong)  # type: ignore[arg-type]
