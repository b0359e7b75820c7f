"""Probability and motion probability: the densities of the formulas they name."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bellande_mesh_sync.errors import InvalidExpressionError, InvalidNumberError
from bellande_mesh_sync.search_path import motion_probability, probability


def test_the_documented_payload_has_this_density() -> None:
    x = [1.0, 2.0, 3.0]
    found = probability("i * 0.5", "1 + i * 0.1", x)
    assert float(found.density) == pytest.approx(0.0028710189102664455, rel=1e-12)
    from_one = probability("i * 0.5", "1 + i * 0.1", x, first=1)
    assert float(from_one.density) == pytest.approx(0.012118524079212484, rel=1e-12)
    assert float(found.log_density) == pytest.approx(math.log(0.0028710189102664455))
    assert float(np.prod(found.axis_densities)) == pytest.approx(float(found.density))
    assert found.low[1] == pytest.approx(0.5 - 1.1 * 1.959963984540054)
    assert found.high[1] == pytest.approx(0.5 + 1.1 * 1.959963984540054)


def test_many_points_are_the_same_as_each_alone() -> None:
    points = np.random.default_rng(1).normal(size=(50, 4))
    together = probability("i", "2 + sin(i) / n", points, first=1)
    for index in (0, 17, 49):
        alone = probability("i", "2 + sin(i) / n", points[index], first=1)
        assert float(alone.log_density) == together.log_density[index]
        assert float(alone.distance) == together.distance[index]


def test_a_density_too_small_for_a_float_keeps_its_logarithm() -> None:
    found = probability("0", "1", np.full(4, 100.0))
    assert float(found.density) == 0.0
    assert float(found.log_density) == pytest.approx(-20_000 - 2 * math.log(2 * math.pi))


@pytest.mark.parametrize(
    ("mu", "sigma", "x", "words"),
    [
        ("i", "i", [1.0, 2.0], "sigma for i = 0 must be above 0"),
        ("i", "1", [1.0, float("nan")], "x must be finite"),
        ("i", "1", 3.0, "x must be a point"),
    ],
)
def test_wrong_numbers_are_named(mu: str, sigma: str, x: object, words: str) -> None:
    with pytest.raises(InvalidNumberError, match=words):
        probability(mu, sigma, x)  # type: ignore[arg-type]


def test_wrong_formulas_are_named() -> None:
    with pytest.raises(InvalidExpressionError, match="y is not known"):
        probability("y", "1", [1.0])


def test_the_documented_motion_is_this_odometry() -> None:
    found = motion_probability([100, 100, 90, 1.0], [0, 0, 0], [100, 100, 90])
    np.testing.assert_allclose(found.odometry, [45, 141.4213562373095, 45])
    np.testing.assert_allclose(found.hypothesis, found.odometry)
    # A perfect guess has the density of three normal distributions at their means.
    assert float(found.density) == pytest.approx((2 * math.pi) ** -1.5 / 0.1**3)


def test_degrees_and_radians_say_the_same() -> None:
    turn = math.pi / 180
    degrees = motion_probability([9, 5, 40, 0.5], [0, 0, 10], [10, 5, 45], rot_sigma=5, head_sigma=7)
    radians = motion_probability(
        [9, 5, 40 * turn, 0.5], [0, 0, 10 * turn], [10, 5, 45 * turn],
        rot_sigma=5 * turn, head_sigma=7 * turn, radians=True,
    )  # fmt: skip
    np.testing.assert_allclose(radians.odometry * [1 / turn, 1, 1 / turn], degrees.odometry)
    assert float(radians.density) == pytest.approx(float(degrees.density) / turn**2)
    np.testing.assert_allclose(radians.samples * [1, 1, 1 / turn], degrees.samples)


def test_better_guesses_have_more_density_and_weights_count() -> None:
    particles = [[10, 0, 0, 1.0], [11, 0, 0, 1.0], [10, 0, 0, 0.5], [10, 0, 0, 0.0], [10, 0, 359, 1.0]]
    found = motion_probability(
        particles, [0, 0, 0], [10, 0, 0], trans_sigma=1, rot_sigma=1, head_sigma=1, sample_points=0
    )
    assert found.density[0] > found.density[1]
    assert found.density[2] == pytest.approx(found.density[0] / 2)
    assert (found.density[3], found.log_density[3]) == (0, -math.inf)
    assert found.density[4] == pytest.approx(found.density[0] * math.exp(-0.5)), "359 degrees are -1"


def test_samples_come_from_their_seed_and_are_near_or_not() -> None:
    def draw(seed: int, radius: float = 50.0) -> tuple[np.ndarray, np.ndarray]:
        found = motion_probability(
            [10, 0, 0, 1], [0, 0, 0], [10, 0, 0], sample_points=1000, seed=seed, search_radius=radius
        )
        return found.samples, found.near

    first, near = draw(1)
    assert (first == draw(1)[0]).all()
    assert not (first == draw(2)[0]).all()
    assert near.all()
    assert 0.5 < draw(1, radius=0.1)[1].mean() < 0.9
    assert np.hypot(*(first[:, :2] - [10, 0]).T).std() < 1
