"""Node importance: whether a node is worth keeping as a landmark of its segment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from bellande_mesh_sync.errors import InvalidNumberError
from bellande_mesh_sync.search_path.arrays import (
    BLOCK_NUMBERS,
    FloatArray,
    finite_numbers,
    point_of,
    positive,
)

Node: TypeAlias = Mapping[str, Any] | Sequence[Any]
"""`{"coords": [...], "segment": id}`, or the pair `(coords, segment)`."""


@dataclass(frozen=True, slots=True)
class Importance:
    score: float
    """0 to 1 with the usual weights."""
    important: bool
    """Whether it is a guard or a connector."""
    guard: bool
    """It covers what no important node covers, where too little is covered."""
    connector: bool
    """It reaches an important node of an adjacent segment which none of its own segment reaches."""
    coverage_before: float
    """Share of the segment's nodes that its important nodes cover."""
    segment_coverage: float
    """The same with this node among them."""
    connection: float
    """0 to 1: how near the important nodes of the adjacent segments are."""
    density: float
    """Share of the segment's recent nodes within one grid step."""


def node_importance(
    node: Node,
    nodes: Sequence[Node],
    important_nodes: Mapping[Any, Sequence[Any]],
    adjacent_segments: Mapping[Any, Sequence[Any]],
    grid_steps: ArrayLike,
    min_segment_coverage: float = 0.5,
    *,
    weights: tuple[float, float, float] = (0.5, 0.3, 0.2),
) -> Importance:
    """How important a node is: what it newly covers, what it connects, and how alone it is.

    Args:
        node: the node asked about.
        nodes: the recent nodes, of any segment; those of others do not count.
        important_nodes: by segment, the nodes kept so far: nodes, or their coordinates alone.
        adjacent_segments: by segment, the ids of those beside it. Ids are compared as texts.
        grid_steps: shape (n,), each > 0, in the caller's unit: one node covers another when they are at
            most one step apart on every axis.
        min_segment_coverage: 0 to 1; while less is covered, a node that covers more is a guard.
        weights: of new coverage, of connection, and of being alone.

    Raises InvalidNumberError and DimensionMismatchError. Cost: O(recent * important * n).
    Source: guards and connectors of the visibility roadmap, Simeon, Laumond, Nissoux 2000. The score is
    our own: docs/search-path/node-importance.md.
    """
    steps = point_of("grid_steps", grid_steps)
    if not len(steps) or (steps <= 0).any():
        raise InvalidNumberError(what="grid_steps", wanted="numbers above 0")
    least = positive("min_segment_coverage", min_segment_coverage, or_zero=True)
    if least > 1:
        raise InvalidNumberError(what="min_segment_coverage", wanted="1 at most")
    coords, segment = _node(node)
    asked = _stack("node", [coords], steps)
    recent = _stack("nodes", [each for each, where in map(_node, nodes) if where == segment], steps)
    kept = {str(name): members for name, members in important_nodes.items()}
    own = _stack("important_nodes", map(_coords, kept.get(segment, ())), steps)
    beside = {str(name): each for name, each in adjacent_segments.items()}.get(segment, ())
    names = dict.fromkeys(str(name) for name in beside)  # Each counts once.
    others = [_stack("important_nodes", map(_coords, kept.get(name, ())), steps) for name in names]
    return _judge(asked, recent, own, others, _Reach(steps), least, weights)


def _judge(
    asked: FloatArray,
    recent: FloatArray,
    own: FloatArray,
    others: list[FloatArray],
    reach_of: _Reach,
    least: float,
    weights: tuple[float, float, float],
) -> Importance:
    every = np.concatenate([recent, asked])
    nearest = reach_of.nearest
    by_own = nearest(every, own) <= 1
    by_asked = nearest(every, asked) <= 1
    before, after = float(by_own.mean()), float((by_own | by_asked).mean())
    reach = [float(nearest(asked, other)[0]) for other in others]
    connection = float(np.mean([1 / (1 + each) for each in reach])) if reach else 0.0
    # The node itself may be among the recent ones.
    others_recent = recent[(recent != asked).any(axis=1)]
    density = float((nearest(others_recent, asked) <= 1).mean()) if len(others_recent) else 0.0
    guard = before < least and after > before
    connector = any(
        near <= 1 and not (nearest(own, other) <= 1).any() for near, other in zip(reach, others, strict=True)
    )
    fresh, joining, alone = weights
    score = fresh * (after - before) + joining * connection + alone * (1 - density)
    return Importance(score, guard or connector, guard, connector, before, after, connection, density)


class _Reach:
    """Distances in grid steps."""

    def __init__(self, steps: FloatArray) -> None:
        self._steps = steps

    def nearest(self, points: FloatArray, others: FloatArray) -> FloatArray:
        """From each point to the nearest of the others; infinity if there is none."""
        found = np.full(len(points), np.inf)
        rows = max(1, BLOCK_NUMBERS // max(others.size, 1))
        for first in range(0, len(points) if len(others) else 0, rows):
            apart = np.abs(points[first : first + rows, None, :] - others[None]) / self._steps
            found[first : first + rows] = apart.max(axis=2).min(axis=1)
        return found


def _stack(what: str, coordinates: Iterable[Any], steps: FloatArray) -> FloatArray:
    """Points as rows, shape (m, n)."""
    rows = [point_of(what, finite_numbers(what, each), len(steps)) for each in coordinates]
    return np.stack(rows) if rows else np.empty((0, len(steps)))


def _node(node: Node) -> tuple[Any, str]:
    if isinstance(node, Mapping) and {"coords", "segment"} <= node.keys():
        return node["coords"], str(node["segment"])
    if isinstance(node, Sequence) and not isinstance(node, str) and len(node) == 2:
        return node[0], str(node[1])
    raise InvalidNumberError(what="a node", wanted='{"coords": [...], "segment": id}')


def _coords(node: Any) -> Any:
    if isinstance(node, Mapping) and "coords" in node:
        return node["coords"]
    is_pair = isinstance(node, Sequence) and len(node) == 2 and isinstance(node[0], Sequence | np.ndarray)
    return node[0] if is_pair else node
