"""Step: against what the published program answered, and by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.errors import DimensionMismatchError, InvalidNumberError, PathError
from bellande_mesh_sync.search_path import step
from bellande_mesh_sync.search_path.published import published_step
from tests.search_path.reference import Case, cases

CASES = [case for case in cases("step") if not case.is_about_arguments]
POINTS = [case for case in CASES if not case.is_error]
ERRORS = [case for case in CASES if case.is_error]

coordinate = st.floats(-1e6, 1e6)


def as_published(case: Case) -> list[float]:
    return published_step(
        case.value("node0"),
        case.value("node1"),
        int(case.given["limit"]),
        int(case.given["dimensions"]),
    )


@pytest.mark.parametrize("case", POINTS, ids=str)
def test_the_published_points_come_out(case: Case) -> None:
    expected = np.array([float(number) for number in case.output])
    np.testing.assert_allclose(as_published(case), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("case", ERRORS, ids=str)
def test_what_the_published_program_refuses_is_refused(case: Case) -> None:
    # ValueError, TypeError and SyntaxError come from reading the texts, as its arguments were.
    with pytest.raises((PathError, ValueError, TypeError, SyntaxError)):
        as_published(case)


def is_ordinary(case: Case) -> bool:
    texts = any(isinstance(value, str) for value in case.given.values())
    return not texts and case.given["limit"] >= 0 and bool(case.output)


@pytest.mark.parametrize("case", [case for case in POINTS if is_ordinary(case)], ids=str)
def test_step_gives_the_published_points(case: Case) -> None:
    found = step(case.given["node0"], case.given["node1"], case.given["limit"])
    np.testing.assert_array_equal(found, np.array(case.output, dtype=float))


def test_many_points_are_the_same_as_each_alone() -> None:
    rng = np.random.default_rng(7)
    for dimensions in (1, 3, 7):
        start, goal = rng.normal(size=(2, 20_000, dimensions))
        limits = rng.uniform(0, 3, 20_000)
        together = step(start, goal, limits)
        for index in (0, 1, 9_999, 16_384, 19_999):
            alone = step(start[index], goal[index], limits[index])
            np.testing.assert_array_equal(together[index], alone)
        np.testing.assert_array_equal(step(start[0], goal, 1.0)[5], step(start[0], goal[5], 1.0))


@given(st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=12), st.floats(0, 1e6))
def test_a_step_is_no_longer_than_its_limit_and_ends_between(
    pairs: list[tuple[float, float]], limit: float
) -> None:
    start, goal = np.array(pairs).T
    found = step(start, goal, limit)
    whole = float(np.linalg.norm(goal - start))
    assert np.linalg.norm(found - start) <= min(limit, whole) * (1 + 1e-9) + 1e-6
    assert np.linalg.norm(goal - found) <= whole * (1 + 1e-9) + 1e-6


def test_a_point_that_has_arrived_stays_even_with_limit_zero() -> None:
    assert step([1, 2], [1, 2], 0).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([0, 0], [1], 1), DimensionMismatchError, "node1 has 1 dimensions; 2 are expected"),
        (([0, 0], [1, 1], -1), InvalidNumberError, "limit must be a number >= 0"),
        (([0, float("nan")], [1, 1], 1), InvalidNumberError, "node0 must be finite"),
        (([0, 0], [1, float("inf")], 1), InvalidNumberError, "node1 must be finite"),
        (([0, 0], [1, 1], float("inf")), InvalidNumberError, "limit must be finite"),
        ((["0", "0"], [1, 1], 1), InvalidNumberError, "node0 must be numbers"),
        (([True, False], [1, 1], 1), InvalidNumberError, "node0 must be numbers"),
        (([[0], [0, 0]], [1, 1], 1), InvalidNumberError, "node0 must be numbers"),
        ((5, [1, 1], 1), InvalidNumberError, "node0 must be a point"),
        (([0, 0], [1e200, 0], 1), InvalidNumberError, "node1 must be finite numbers, 1e150 at most"),
        (([0, 0], [10**400, 0], 1), InvalidNumberError, "node1 must be numbers below"),
        (([[0, 0]] * 2, [[1, 1]] * 3, 1), InvalidNumberError, "lists that go together"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(
    arguments: tuple[object, object, float], error: type[PathError], words: str
) -> None:
    with pytest.raises(error, match=words):
        step(*arguments)  # type: ignore[arg-type]
