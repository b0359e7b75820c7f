"""`bms policy test`: which laws a function of a user's breaks, and on what."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from bellande_mesh_sync.core.data.merging import Merge, Sibling
from bellande_mesh_sync.sim.merge_laws import broken_law
from bellande_mesh_sync.sim.merge_trial import try_function


def union(given: Sequence[Sibling]) -> bytes:
    return json.dumps(sorted({each for sibling in given for each in list(json.loads(sibling.data))})).encode()


def largest(given: Sequence[Sibling]) -> bytes:
    return b"%d" % max(int(sibling.data) for sibling in given)


def boards(given: Sequence[Sibling]) -> bytes:
    board: dict[str, str] = {}
    for sibling in given:
        for task, state in json.loads(sibling.data).items():
            board[task] = max(state, board.get(task, "open"), key=["open", "taken", "done"].index)
    return json.dumps(board, sort_keys=True).encode()


def updated(given: Sequence[Sibling]) -> bytes:
    board: dict[str, object] = {}
    for sibling in given:
        board.update(json.loads(sibling.data))
    return json.dumps(board, sort_keys=True).encode()


def first(given: Sequence[Sibling]) -> bytes:
    return given[0].data


def total(given: Sequence[Sibling]) -> bytes:
    return b"%d" % sum(int(sibling.data) for sibling in given)


def text(given: Sequence[Sibling]) -> bytes:
    return "text"  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("merge", "kinds"),
    [(union, {"object", "array"}), (largest, {"integer"})],
)
def test_a_right_function_passes_on_the_kinds_that_it_takes(merge: Merge, kinds: set[str]) -> None:
    trial = try_function(merge)
    assert trial.broken is None
    assert set(trial.kinds) == kinds
    assert trial.tried_count == 300 * len(kinds)


@pytest.mark.parametrize(
    ("merge", "law"),
    [(updated, "commutative"), (first, "commutative"), (total, "idempotent"), (text, "total")],
)
def test_a_wrong_one_is_found_out_on_as_few_siblings_as_possible(merge: Merge, law: str) -> None:
    for seed in range(3):
        trial = try_function(merge, seed=seed)
        assert trial.broken is not None
        assert trial.broken.law == law
        assert len(trial.siblings) == 2
        assert broken_law(merge, trial.siblings) == trial.broken


def test_a_function_for_values_of_a_certain_form_is_tried_on_given_ones() -> None:
    assert try_function(boards).broken is not None
    values = [b'{"a": "open"}', b'{"a": "taken", "b": "done"}', b"{}", b'{"b": "open"}']
    trial = try_function(boards, values=values, count=50)
    assert (trial.broken, trial.kinds, trial.tried_count) == (None, ("yours",), 50)
