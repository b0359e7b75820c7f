"""Limit: against what the published program answered, and by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bellande_mesh_sync.errors import DimensionMismatchError, InvalidNumberError, PathError
from bellande_mesh_sync.search_path import Boxes, LimitRule, limit
from bellande_mesh_sync.search_path.published import published_limit
from tests.search_path.reference import Case, cases

CASES = [case for case in cases("limit") if not case.is_about_arguments]
NUMBERS = [case for case in CASES if not case.is_error]
ERRORS = [case for case in CASES if case.is_error]
LISTS = ("node0", "node1", "environment", "size", "goal", "obstacles")


def as_published(case: Case) -> float:
    samples = case.given["sample_points"]
    return published_limit(
        **{name: case.value(name) for name in LISTS},
        search_radius=float(case.given["search_radius"]),
        sample_points=int(samples) if isinstance(samples, str) else samples,
    )


@pytest.mark.parametrize("case", NUMBERS, ids=str)
def test_the_published_numbers_come_out(case: Case) -> None:
    assert as_published(case) == pytest.approx(case.output, rel=1e-9, abs=0)


@pytest.mark.parametrize("case", ERRORS, ids=str)
def test_what_the_published_program_refuses_is_refused(case: Case) -> None:
    # ValueError, TypeError and SyntaxError come from reading the texts, as its arguments were.
    with pytest.raises((PathError, ValueError, TypeError, SyntaxError)):
        as_published(case)


def is_ordinary(case: Case) -> bool:
    if any(isinstance(value, str) for value in case.given.values()) or not case.given["environment"]:
        return False
    return bool(case.given["sample_points"] >= 1 and case.given["search_radius"] >= 0)


ORDINARY = [case for case in NUMBERS if is_ordinary(case)]


@pytest.mark.parametrize("case", ORDINARY, ids=str)
def test_limit_gives_the_published_numbers_to_the_last_bit(case: Case) -> None:
    given = case.given
    found = limit(**given)
    assert float(found) == case.output


SCENE: dict[str, Any] = {
    "environment": [1000, 1000, 1000],
    "size": [10, 10, 10],
    "goal": [200, 200, 200],
    "obstacles": [{"position": [5, 5, 5], "dimensions": [2, 2, 2]}],
}


def test_many_points_are_the_same_as_each_alone() -> None:
    rng = np.random.default_rng(3)
    start, goal = rng.uniform(0, 1000, (2, 5_000, 3))
    for exact in (False, True):
        scene = {**SCENE, "obstacles": [(corner, [40, 40, 40]) for corner in rng.uniform(0, 900, (30, 3))]}
        together = limit(start, goal, **scene, exact=exact)
        for index in (0, 1, 818, 819, 4_999):
            alone = limit(start[index], goal[index], **scene, exact=exact)
            assert float(alone) == together[index]


def test_looking_exactly_is_what_very_many_samples_come_to() -> None:
    rng = np.random.default_rng(5)
    scene: dict[str, Any] = {
        "environment": [300, 300],
        "size": [10, 10],
        "goal": [500, 500],
        "obstacles": [(corner, [20, 20]) for corner in rng.uniform(0, 280, (15, 2))],
        "search_radius": 100,
    }
    start, goal = rng.uniform(10, 290, (2, 400, 2))
    sampled = limit(start, goal, **scene, sample_points=20_000)
    exactly = limit(start, goal, **scene, exact=True)
    assert len(set(exactly)) > 50, "the rays see different things"
    np.testing.assert_allclose(exactly, sampled, rtol=1e-3)


def test_looking_exactly_misses_no_wall_however_thin() -> None:
    scene = {**SCENE, "obstacles": [([4, 0, 0], [1e-9, 1000, 1000])]}
    free = limit([0, 1, 1], [9, 1, 1], **{**scene, "obstacles": []})
    assert limit([0, 1, 1], [9, 1, 1], **scene) == free
    assert limit([0, 1, 1], [9, 1, 1], **scene, exact=True) == free * 0.5


def test_the_constants_can_be_set() -> None:
    rule = LimitRule(size_share=1.0, near_factor=0.25, hit_weight=0.0, goal_radius=0.0, smallest=0.0)
    found = limit([0, 0, 0], [100, 100, 100], **SCENE, rule=rule)
    assert found == pytest.approx(np.sqrt(300) * 0.25)


def test_obstacles_may_come_as_pairs_or_stacked() -> None:
    pairs = [(box["position"], box["dimensions"]) for box in SCENE["obstacles"]]
    stacked = Boxes(np.array([[5.0, 5, 5]]), np.array([[7.0, 7, 7]]))
    found = [
        float(limit([0, 0, 0], [100, 100, 100], **{**SCENE, "obstacles": obstacles}))
        for obstacles in (SCENE["obstacles"], pairs, stacked)
    ]
    assert found == [3.4121400909106887] * 3


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"goal": [1, 2]}, DimensionMismatchError, "goal has 2 dimensions; 3 are expected"),
        ({"size": [1, 2, 3, 4]}, DimensionMismatchError, "size has 4 dimensions"),
        ({"search_radius": -1}, InvalidNumberError, "search_radius must be a number >= 0"),
        ({"search_radius": float("nan")}, InvalidNumberError, "search_radius must be finite"),
        ({"sample_points": 0}, InvalidNumberError, "sample_points must be an integer from 1"),
        ({"sample_points": 2.5}, InvalidNumberError, "sample_points must be an integer"),
        ({"obstacles": [{"position": [1, 1, 1]}]}, InvalidNumberError, "obstacle 0 must be"),
        ({"obstacles": [([1, 1], [1, 1, 1])]}, DimensionMismatchError, "the position of obstacle 0"),
        ({"obstacles": [([1, 1, 1], ["a"])]}, InvalidNumberError, "the dimensions of obstacle 0"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(change: dict[str, Any], error: type[PathError], words: str) -> None:
    with pytest.raises(error, match=words):
        limit([0, 0, 0], [1, 1, 1], **{**SCENE, **change})
