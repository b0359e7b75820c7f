"""Particles move and see as the book has it, and a filter of them finds the robot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.errors import DimensionMismatchError, InvalidNumberError, PathError
from bellande_mesh_sync.search_path import ParticleFilter, particle
from bellande_mesh_sync.search_path.angles import bearing, heading

DOCUMENTED = [0.0, 0.0, 0.0, 1.0]


def test_the_documented_move() -> None:
    found = particle.move(DOCUMENTED, 45, 1, -45)
    np.testing.assert_allclose(found, [0.70710678, 0.70710678, 0, 1], atol=1e-8)


def test_the_documented_markers() -> None:
    found = particle.read_markers(DOCUMENTED, [[1, 1]])
    assert found.distances.tolist() == pytest.approx([1.41421356])
    assert found.bearings.tolist() == pytest.approx([45])
    assert found.points[0].tolist() == pytest.approx([1, 1])


def test_a_marker_is_seen_in_the_robots_own_frame() -> None:
    found = particle.read_markers([1, 1, 90, 1], [[1, 3], [0, 1], [1, -1]], field_of_view=180, range_max=1.5)
    np.testing.assert_allclose(found.bearings, [0, 90, 180], atol=1e-9)
    np.testing.assert_allclose(found.points, [[2, 0], [0, 1], [-2, 0]], atol=1e-9)
    assert found.seen.tolist() == [False, True, False]
    assert particle.read_markers(DOCUMENTED, []).distances.shape == (0,)


def test_noise_has_the_variances_of_the_book() -> None:
    many = np.tile(DOCUMENTED, (200_000, 1))
    moved = particle.move(many, 0, 10, 0, noise=(0, 0, 0.01, 0), seed=1)
    way = np.hypot(moved[:, 0], moved[:, 1])
    assert (way.mean(), way.std()) == (pytest.approx(10, abs=0.02), pytest.approx(1, rel=0.02))
    turned = particle.move(many, 60, 0, 0, noise=(0.04, 0, 0, 0), seed=1)
    assert bearing(turned[:, 2]).std() == pytest.approx(12, rel=0.02), "a fifth of the rotation"
    assert (particle.move(many, 60, 1, 0, noise=(1, 1, 1, 1), seed=3)
            == particle.move(many, 60, 1, 0, noise=(1, 1, 1, 1), seed=3)).all()  # fmt: skip


@given(st.floats(-1e6, 1e6))
def test_angles_stay_in_one_turn_and_point_the_same_way(degrees: float) -> None:
    turned, signed = float(heading(np.array(degrees))), float(bearing(np.array(degrees)))
    assert 0 <= turned < 360
    assert -180 < signed <= 180
    for other in (turned, signed):
        assert np.cos(np.radians(other)) == pytest.approx(np.cos(np.radians(degrees)), abs=1e-6)
        assert np.sin(np.radians(other)) == pytest.approx(np.sin(np.radians(degrees)), abs=1e-6)


def test_random_particles_are_in_the_world_and_in_no_obstacle() -> None:
    box = {"position": [0, 0], "dimensions": [8, 5]}
    found = particle.create_random(5_000, 10, 5, obstacles=[box], seed=4)
    assert found.shape == (5_000, 4)
    assert ((found[:, 0] > 8) & (found[:, 0] <= 10) & (found[:, 1] >= 0) & (found[:, 1] <= 5)).all()
    assert (found[:, 3] == 1 / 5_000).all()
    assert 0 <= found[:, 2].min() < 1 < 359 < found[:, 2].max() < 360
    assert (found == particle.create_random(5_000, 10, 5, obstacles=[box], seed=4)).all()
    with pytest.raises(PathError, match="no free place"):
        particle.create_random(5, 8, 5, obstacles=[box])


def test_weights_follow_what_was_seen() -> None:
    guesses = [[0, 0, 0, 0.5], [5, 0, 0, 0.25], [0, 0, 90, 0.25]]
    found = particle.weigh(guesses, [[10, 0]], [[10, 0]], range_sigma=1, bearing_sigma=10)
    assert found[:, 3].sum() == pytest.approx(1)
    assert found[0, 3] > 0.99
    hopeless = particle.weigh(guesses, [[9999, 0]], [[10, 0]], range_sigma=1e-3, bearing_sigma=1e-3)
    assert hopeless[:, 3].sum() == pytest.approx(1), "even where each density is below what a float holds"


def test_resampling_draws_by_weight() -> None:
    particles = np.zeros((1000, 4))
    particles[:, 0] = np.arange(1000)
    particles[:, 3] = np.where(np.arange(1000) < 10, 0.1, 0.0)
    assert particle.effective_count(particles) == pytest.approx(10)
    drawn = particle.resample(particles, seed=5)
    numbers, counts = np.unique(drawn[:, 0], return_counts=True)
    assert numbers.tolist() == list(range(10))
    assert set(counts) <= {99, 100, 101}, "low variance: as many as the weight says, within one"
    assert (drawn[:, 3] == 0.001).all()


def test_the_mean_of_headings_goes_through_zero() -> None:
    found = particle.estimate([[0, 0, 350, 1], [2, 4, 30, 1]])
    np.testing.assert_allclose(found, [1, 2, 10])


def test_a_filter_finds_the_robot() -> None:
    rng = np.random.default_rng(2)
    markers = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 8.0], [3.0, 8.0]])
    robot = np.array([2.0, 2.0, 30.0, 1.0])
    guesses = particle.create_random(4_000, 10, 8, seed=1)
    found = ParticleFilter(guesses, range_sigma=0.3, bearing_sigma=5, seed=1)
    for _ in range(15):
        robot = particle.move(robot, 10, 0.5, 5)
        found.move(10, 0.5, 5)
        seen = particle.read_markers(robot, markers)
        readings = np.column_stack([seen.distances, seen.bearings]) + rng.normal(size=(4, 2)) * [0.1, 2]
        found.see(readings, markers)
    x, y, direction = found.estimate()
    assert np.hypot(x - robot[0], y - robot[1]) < 0.3
    assert abs(float(bearing(np.array(direction - robot[2])))) < 5


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: particle.move([1, 2, 3], 0, 0, 0), DimensionMismatchError, "3 dimensions; 4 are expected"),
        (lambda: particle.move(DOCUMENTED, 0, 0, 0, noise=(1, 2)), InvalidNumberError, "noise must be four"),
        (lambda: particle.move(DOCUMENTED, 0, 0, 0, noise=(-1, 0, 0, 0)), InvalidNumberError, "noise"),
        (lambda: particle.read_markers(DOCUMENTED, [[1, 2, 3]]), DimensionMismatchError, "the markers"),
        (lambda: particle.read_markers(DOCUMENTED, [[1, 2]], field_of_view=361), InvalidNumberError, "360"),
        (lambda: particle.create_random(0, 1, 1), InvalidNumberError, "count"),
        (lambda: particle.create_random(1, 0, 1), InvalidNumberError, "width must be a number > 0"),
        (lambda: particle.create_random(1, 1, 1, seed=-1), InvalidNumberError, "seed"),
        (lambda: particle.estimate([[0, 0, 0, 0.0]]), PathError, "weights >= 0"),
        (lambda: particle.estimate(DOCUMENTED), InvalidNumberError, "a list of points"),
        (lambda: particle.weigh([DOCUMENTED], [[1, 2]], [[1, 2], [3, 4]], range_sigma=1, bearing_sigma=1),
         InvalidNumberError, "the readings must be 2"),
    ],
)  # fmt: skip
def test_a_wrong_call_says_what_is_wrong(call, error: type[PathError], words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=words):
        call()
