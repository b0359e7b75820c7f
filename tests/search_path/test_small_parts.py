"""Geometry, path quality, coordinates, weights: each against its formula."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from bellande_mesh_sync.errors import DimensionMismatchError, InvalidNumberError, PathError
from bellande_mesh_sync.search_path import (
    box_volume,
    convert,
    distance,
    in_bounds,
    interpolate,
    likelihood,
    log_likelihood,
    normalise,
    path_length,
    path_quality,
    weighted_average,
)
from bellande_mesh_sync.search_path.boxes import Boxes
from bellande_mesh_sync.search_path.rays import is_clear


def test_distances_and_bounds() -> None:
    assert distance([[0, 0], [3, 4]], [0, 0]).tolist() == [0, 5]
    assert in_bounds([[0.0, 0.0], [1.0, 2.0], [1.0, 2.1]], [0, 0], [1, 2]).tolist() == [True, True, False]
    assert path_length([[0, 0], [3, 4], [3, 5]]) == 6
    assert path_length([[7, 7]]) == 0
    assert box_volume([[0, 0], [2, 3], [1, 1]]) == 6
    assert box_volume([[0, 1], [2, 1]]) == 0, "flat"


def test_interpolation_keeps_its_ends_exactly() -> None:
    found = interpolate([0.1, 1], [0.7, 2], 4)
    np.testing.assert_allclose(found[:, 1], [1, 4 / 3, 5 / 3, 2])
    assert (found[0].tolist(), found[-1].tolist()) == ([0.1, 1], [0.7, 2])


@pytest.mark.parametrize("kind", ["polar", "cylindrical", "spherical"])
def test_coordinates_go_there_and_back(kind: str) -> None:
    points = np.random.default_rng(1).normal(size=(100, 2 if kind == "polar" else 3))
    points[0] = 0
    back = convert(convert(points, "cartesian", kind), kind, "cartesian")
    np.testing.assert_allclose(back, points, atol=1e-12)
    np.testing.assert_allclose(convert(points[3], "cartesian", kind), convert(points, "cartesian", kind)[3])


def test_coordinates_are_the_usual_ones() -> None:
    assert convert([0, 2], "cartesian", "polar").tolist() == pytest.approx([2, math.pi / 2])
    assert convert([0, 2, 5], "cartesian", "cylindrical").tolist() == pytest.approx([2, math.pi / 2, 5])
    x, y, z = 1.0, 2.0, -3.0
    r = math.sqrt(x * x + y * y + z * z)
    found = convert([x, y, z], "cartesian", "spherical")
    assert found.tolist() == pytest.approx([r, math.acos(z / r), math.atan2(y, x)])
    assert convert([1, 2, 3, 4], "cartesian", "cartesian").tolist() == [1, 2, 3, 4]


def test_quality_is_the_published_formula_with_its_faults_mended() -> None:
    straight = path_quality([[0, 0], [1, 0], [2, 0], [3, 0]])
    assert (straight.score, straight.turning, straight.length) == (9, 0, 3)
    corner = path_quality([[0, 0], [1, 0], [1, 1]])
    assert corner.turning == pytest.approx(math.pi / 2)
    assert corner.score == pytest.approx(10 - 1 - 2 * math.pi / 2)
    assert path_quality([[5, 5]]).score == 10, "one point has no hop, and divides by none"
    near = path_quality([[0, 0], [1, 0]], [([2, 0], [1, 1])], radius=1.0)
    assert (near.clearance, near.penalty) == (1, 1)
    assert near.score == 10 - 1 - 5
    spread = path_quality([[0, 0], [1, 1]], environment=[2, 2])
    assert spread.score == pytest.approx(10 - math.sqrt(2) + 2 / 4)
    assert path_quality([[0, 0], [30, 0]]).score == 0
    assert path_quality([[0, 0], [30, 0]], hop_unit=10).score == 7
    for angle in np.linspace(0, 7, 200):  # Cosines that rounding lifts above 1 come up here.
        way = np.outer([0, 1 / 3, 0.7], [math.cos(angle), math.sin(angle)])
        assert path_quality(way).turning == pytest.approx(0, abs=1e-7)


def test_weights_and_likelihoods() -> None:
    assert normalise([1, 3]).tolist() == [0.25, 0.75]
    assert float(weighted_average([1, 3], [0, 4])) == 3
    assert weighted_average([1, 3], [[0, 8], [4, 8]]).tolist() == [3, 8]
    assert likelihood(log_likelihood([0.25, 1.0])).tolist() == pytest.approx([0.25, 1])


def test_a_way_is_clear_unless_it_meets_a_box() -> None:
    boxes = Boxes(np.array([[1.0, 1.0], [5.0, 5.0]]), np.array([[2.0, 2.0], [4.0, 6.0]]))
    clear: list[tuple[list[float], list[float], bool]] = [
        ([0, 0], [3, 3], False),
        ([0, 0], [0.9, 0.9], True),
        ([0, 0], [1, 1], False),  # Faces belong to the box.
        ([0, 2], [3, 2], False),
        ([0, 2.1], [3, 2.1], True),
        ([1.5, 1.5], [1.5, 1.5], False),
        ([4, 5], [6, 5], True),  # A box of negative size is empty.
    ]
    for start, goal, expected in clear:
        assert is_clear(np.array(start), np.array(goal), boxes) == expected, (start, goal)
    assert is_clear(np.zeros(2), np.ones(2), Boxes(np.empty((0, 2)), np.empty((0, 2))))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: interpolate([0], [1], 1), InvalidNumberError, "count"),
        (lambda: interpolate([0], [1, 2], 3), DimensionMismatchError, "goal"),
        (lambda: convert([1, 2, 3], "cartesian", "polar"), DimensionMismatchError, "the points"),
        (lambda: convert([1, 2], "polar", "spherical"), InvalidNumberError, "polar to spherical"),
        (lambda: path_quality([]), PathError, "the path must be"),
        (lambda: path_quality([[0, 0]], radius=0), InvalidNumberError, "radius"),
        (lambda: path_quality([[0, 0]], environment=[0, 1]), InvalidNumberError, "environment"),
        (lambda: normalise([1, -1]), InvalidNumberError, "the sum of the weights"),
        (lambda: normalise([]), InvalidNumberError, "the weights"),
        (lambda: weighted_average([1, 2], [1]), InvalidNumberError, "the values must be 2"),
        (lambda: log_likelihood([0.5, 0]), InvalidNumberError, "a probability"),
        (lambda: likelihood(0.1), InvalidNumberError, "a log-likelihood"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(
    call: Callable[[], object], error: type[PathError], words: str
) -> None:
    with pytest.raises(error, match=words):
        call()
