"""Questions as JSON: each is answered, bounded, and refused with a code where it is wrong."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from bellande_mesh_sync.errors import NotFoundError, PathError, QuestionTooLargeError, UsageError
from bellande_mesh_sync.path_answers import STEPS_MAX, answer, read_question
from bellande_mesh_sync.path_questions import QUESTIONS
from bellande_mesh_sync.search_path import limit, motion_probability, particle, probability
from bellande_mesh_sync.search_path.growing import grow

BOX = {"position": [5, 5], "dimensions": [2, 2]}
LIMIT = {
    "node0": [[0, 0], [50, 50]],
    "node1": [100, 100],
    "environment": [1000, 1000],
    "size": [10, 20],
    "goal": [500, 400],
    "obstacles": [BOX],
}
PARTICLES = [[0, 0, 0, 1], [1, 2, 90, 3]]


def ask(name: str, question: Any, steps_max: float | None = STEPS_MAX) -> dict[str, Any]:
    found = answer(read_question(name, json.dumps(question).encode()), steps_max)
    return dict(json.loads(json.dumps(found, allow_nan=False)))


def test_each_algorithm_answers_as_its_function_does() -> None:
    assert ask("limit", LIMIT)["limit"] == limit(**LIMIT).tolist()  # type: ignore[arg-type]
    assert ask("limit", {**LIMIT, "exact": True})["limit"] == limit(**LIMIT, exact=True).tolist()  # type: ignore[arg-type]
    found = ask("probability", {"mu": "i", "sigma": "1 + i", "x": [1, 2], "first": 1})
    assert found["density"] == float(probability("i", "1 + i", [1, 2], first=1).density)
    motion = {"particles": PARTICLES, "previous": [0, 0, 0], "current": [1, 0, 5], "seed": 3}
    expected = motion_probability(PARTICLES, [0, 0, 0], [1, 0, 5], seed=3)
    assert ask("motion", motion)["samples"] == expected.samples.tolist()
    node = {"coords": [1, 1], "segment": 1}
    found = ask("importance", {"node": node, "nodes": [node], "grid_steps": [1, 1]})
    assert (found["guard"], found["score"]) == (True, 0.7)
    found = ask("segment", {"environment": [10, 10], "counts": [2, 2], "points": [[1, 1], [9, 9]]})
    assert found["segments"] == [0, 3]
    assert found["adjacent_segments"] == {"0": [1, 2], "3": [1, 2]}
    assert found["bounds"]["3"] == {"lowest": [5, 5], "highest": [10, 10]}


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ({"action": "move", "rotation1": 90, "translation": 2}, particle.move(PARTICLES, 90, 2, 0)),
        ({"action": "resample", "seed": 4}, particle.resample(PARTICLES, seed=4)),
        (
            {
                "action": "weigh",
                "readings": [[1, 2]],
                "markers": [[1, 1]],
                "range_sigma": 1,
                "bearing_sigma": 9,
            },
            particle.weigh(PARTICLES, [[1, 2]], [[1, 1]], range_sigma=1, bearing_sigma=9),
        ),
    ],
)
def test_particles_go_in_and_out(question: dict[str, Any], expected: np.ndarray) -> None:
    assert ask("particle", {"particles": PARTICLES, **question})["particles"] == expected.tolist()


def test_particles_see_and_are_made() -> None:
    seen = ask("particle", {"action": "read_markers", "particles": PARTICLES, "markers": [[1, 1]]})
    assert seen["distances"] == [[2**0.5], [1]]
    assert seen["seen"] == [[True], [True]]
    made = ask("particle", {"action": "create_random", "count": 7, "width": 2, "height": 3, "seed": 1})
    assert made["particles"] == particle.create_random(7, 2, 3, seed=1).tolist()


def test_a_tree_grows_around_obstacles_and_rewires() -> None:
    question = {
        "root": [1, 1],
        "limit": 2,
        "environment": [20, 20],
        "count": 150,
        "obstacles": [{"position": [8, 0], "dimensions": [1, 15]}],
        "seed": 2,
    }
    plain = ask("tree", question)
    points, parents = np.array(plain["points"]), plain["parents"]
    for child, parent in enumerate(parents[1:], start=1):
        assert parent < child
        edge = points[[parent, child]]
        for share in np.linspace(0, 1, 50):
            x, y = edge[0] + share * (edge[1] - edge[0])
            assert not (8 <= x <= 9 and y <= 15)
    assert points[:, 0].max() > 10, "it found the way around"
    rewired = ask("tree", {**question, "rewire_radius": 4})
    assert sum(rewired["costs"]) < sum(plain["costs"])
    assert ask("tree", question) == plain, "the seed decides"
    assert ask("tree", {"root": [0], "limit": 1, "targets": [[3]]})["points"] == [[0], [1]]
    assert len(grow([0, 0], 1, [[1, 1]])) == 2


def test_what_json_has_no_number_for_is_null() -> None:
    motion = {"particles": [0, 0, 0, 0], "previous": [0, 0, 0], "current": [1, 0, 0]}
    assert ask("motion", motion)["log_density"] is None


TOO_LARGE: list[tuple[str, dict[str, Any]]] = [
    ("limit", {**LIMIT, "node0": [[0, 0]] * 1000, "sample_points": 100_000}),
    ("particle", {"action": "create_random", "count": 100_000, "width": 9, "height": 9,
                  "obstacles": [BOX] * 9}),
    ("particle", {"action": "read_markers", "particles": [[0, 0, 0, 1]] * 20_000,
                  "markers": [[1, 1]] * 1000}),
    ("motion", {"particles": [[0, 0, 0, 1]] * 1000, "previous": [0] * 3, "current": [0] * 3,
                "sample_points": 100_000}),
    ("tree", {"root": [0] * 50, "limit": 1, "environment": [1] * 50, "count": 5000}),
    ("importance", {"node": {"coords": [1], "segment": 1}, "grid_steps": [1],
                    "nodes": [{"coords": [1], "segment": 1}] * 20_000,
                    "important_nodes": {"1": [{"coords": [1], "segment": 1}] * 20_000}}),
]  # fmt: skip


TOO_LARGE += [
    ("tree", {"root": [0], "limit": 1, "environment": [1], "count": 5000, "rewire_radius": 1}),
    (
        "particle",
        {"action": "create_random", "count": 1, "width": 9, "height": 9, "obstacles": [BOX] * 20_000},
    ),
    ("segment", {"environment": [1] * 60, "counts": [1] * 60, "points": [[0] * 60] * 10_000}),
    ("probability", {"mu": "i" + "+i" * 450, "sigma": "1" + "+i" * 450, "x": [1] * 150_000}),
    ("probability", {"mu": "i" + "+i" * 450, "sigma": "1" + "+i" * 450, "x": [[1] * 150_000]}),
]


@pytest.mark.parametrize(("name", "question"), TOO_LARGE, ids=[name for name, _ in TOO_LARGE])
def test_what_would_keep_a_node_busy_is_refused_before_it_starts(name: str, question: dict[str, Any]) -> None:
    with pytest.raises(QuestionTooLargeError, match="ask for less at once"):
        ask(name, question)


@pytest.mark.parametrize(
    ("name", "body", "error"),
    [
        ("nothing", b"{}", NotFoundError),
        ("step", b"", UsageError),
        ("step", b"[]", UsageError),
        ("step", b"{", UsageError),
        ("step", b'"\xff"', UsageError),
        ("step", b'{"node0": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", UsageError),
        ("step", b'{"node0": ["a"], "node1": [1], "limit": 1}', PathError),
        ("step", b'{"node0": [{}], "node1": [1], "limit": 1}', PathError),
        ("step", b'{"node0": [[[[1]]]], "node1": [1, 2], "limit": 1}', PathError),
        ("step", b'{"node0": [[[1]], [[2]]], "node1": [[1], [2]], "limit": 1}', PathError),
        ("step", b'{"node0": [null], "node1": [1], "limit": 1}', PathError),
        ("particle", b'{"particles": []}', UsageError),
        ("particle", b'{"action": "fly", "particles": []}', UsageError),
        ("particle", b'{"action": "move", "particles": []}', PathError),
        ("tree", b'{"root": [], "limit": 1}', PathError),
        ("tree", b'{"root": [1], "limit": 1, "count": 5001}', UsageError),
        ("tree", b'{"root": [1], "limit": 1, "count": 5}', PathError),
        ("segment", b'{"environment": [1], "counts": [1e300], "points": [0]}', PathError),
        ("limit", b'{"node0": [], "node1": [], "environment": [], "size": [], "goal": [1]}', PathError),
    ],
)
def test_a_wrong_question_is_refused_with_an_error_of_ours(
    name: str, body: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        answer(read_question(name, body), STEPS_MAX)


def test_every_question_of_the_table_has_an_answer() -> None:
    from bellande_mesh_sync import path_answers

    kinds = {kind for each in QUESTIONS.values() for kind in getattr(each, "__args__", (each,))}
    assert kinds == set(path_answers._ANSWERS)
