"""Node importance: guards and connectors."""

from __future__ import annotations

from typing import Any

import pytest

from bellande_mesh_sync.errors import DimensionMismatchError, InvalidNumberError
from bellande_mesh_sync.search_path import Importance, node_importance

GRID = [5.0, 5.0]


def ask(
    node: Any = ([0, 0], "a"), nodes: Any = (), important: Any = None, beside: Any = None, **more: Any
) -> Importance:
    return node_importance(node, nodes, important or {}, beside or {}, GRID, **more)


def test_the_documented_payload() -> None:
    found = node_importance(
        {"coords": [5.0, 5.0, 5.0], "segment": 1},
        [{"coords": [4.0, 4.0, 4.0], "segment": 1}, {"coords": [6.0, 6.0, 6.0], "segment": 1}],
        {
            "1": [{"coords": [4.0, 4.0, 4.0], "segment": 1}],
            "2": [{"coords": [15.0, 15.0, 15.0], "segment": 2}],
        },
        {"1": [2], "2": [1]},
        [10.0, 10.0, 10.0],
        0.5,
    )
    assert (found.coverage_before, found.segment_coverage, found.density) == (1, 1, 1)
    assert found.connection == 0.5
    assert found.score == pytest.approx(0.15)
    assert (found.connector, found.guard) == (True, False)


def test_the_first_node_of_a_segment_is_its_guard() -> None:
    found = ask()
    assert (found.guard, found.important, found.connector) == (True, True, False)
    assert (found.coverage_before, found.segment_coverage) == (0, 1)
    assert found.score == pytest.approx(0.5 * 1 + 0.3 * 0 + 0.2 * 1)


def test_a_node_that_covers_nothing_new_is_not_important() -> None:
    found = ask(([1, 1], "a"), [([0, 0], "a"), ([2, 2], "a")], {"a": [[0, 0]]})
    assert not found.important
    assert found.density == 1
    assert found.score == 0


def test_only_nodes_of_the_same_segment_count_and_ids_are_texts() -> None:
    nodes = [{"coords": [0, 0], "segment": 1}, {"coords": [100, 100], "segment": 2}]
    found = ask({"coords": [1, 1], "segment": "1"}, nodes, {1: [{"coords": [0, 0], "segment": 1}]})
    assert (found.coverage_before, found.density) == (1, 1)


def test_a_connector_reaches_what_its_own_segment_does_not() -> None:
    important = {"a": [[0, 0]], "b": [[9, 0]]}
    found = ask(([4, 0], "a"), [([0, 0], "a")], important, {"a": ["b"]})
    assert (found.connector, found.guard) == (True, False)
    assert found.connection == pytest.approx(1 / 2), "exactly one step away"
    nearer = ask(([4, 0], "a"), [], {**important, "a": [[5, 0]]}, {"a": ["b"]})
    assert not nearer.connector, "another one reaches it"
    assert ask(([4, 0], "a"), [], {"a": [[0, 0]]}, {"a": ["b"]}).connection == 0, "nothing is there"


def test_the_share_that_is_covered_decides_on_guards() -> None:
    nodes = [([0, 0], "a"), ([1, 0], "a"), ([2, 0], "a")]
    found = ask(([100, 0], "a"), nodes, {"a": [[0, 0]]}, min_segment_coverage=0.5)
    assert (found.coverage_before, found.segment_coverage) == (0.75, 1)
    assert not found.guard, "enough was covered before"
    assert ask(([100, 0], "a"), nodes, {"a": [[0, 0]]}, min_segment_coverage=0.8).guard


def test_weights_are_the_callers() -> None:
    assert ask(weights=(0, 0, 1)).score == 1
    assert ask(weights=(1, 0, 0)).score == 1


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ask("ab"), InvalidNumberError, "a node must be"),
        (lambda: ask(([0, 0, 0], "a")), DimensionMismatchError, "node has 3 dimensions"),
        (lambda: ask(nodes=[([0], "a")]), DimensionMismatchError, "nodes has 1 dimensions"),
        (lambda: ask(min_segment_coverage=1.5), InvalidNumberError, "1 at most"),
        (lambda: node_importance(([0], "a"), [], {}, {}, [0.0]), InvalidNumberError, "grid_steps"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(call, error, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=words):
        call()
