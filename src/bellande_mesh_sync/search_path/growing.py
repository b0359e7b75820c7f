"""Growing a tree toward given or random targets, around obstacles."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bellande_mesh_sync.errors import InvalidNumberError
from bellande_mesh_sync.search_path.arrays import FloatArray, path_of, point_of, positive, whole
from bellande_mesh_sync.search_path.boxes import Obstacles, boxes_of
from bellande_mesh_sync.search_path.rays import is_clear
from bellande_mesh_sync.search_path.seeds import Seed, generator_of
from bellande_mesh_sync.search_path.tree import Tree

TARGETS_MAX = 1_000_000


def grow(
    root: ArrayLike,
    limit: float,
    targets: ArrayLike = (),
    *,
    environment: ArrayLike = (),
    count: int = 0,
    seed: Seed = 0,
    obstacles: Obstacles = (),
    rewire_radius: float = 0.0,
) -> Tree:
    """A tree extended once toward each target (m, n), then toward `count` random ones in `environment`.

    Args:
        root: shape (n,). limit: > 0, the longest edge. Both as in `Tree`.
        environment: shape (n,), > 0; needed when `count` is above 0: random targets are between 0 and it.
        rewire_radius: >= 0; above 0 each new node is rewired with those this near (RRT*).

    Edges that meet an obstacle are left out. Cost: that of `Tree.extend`, and O(obstacles * n), a target.
    Source: RRT, LaValle 1998; RRT*, Karaman and Frazzoli 2011.
    """
    tree = Tree(root)
    dimensions = tree.points.shape[1]
    boxes = boxes_of(obstacles, dimensions)
    radius = positive("rewire_radius", rewire_radius, or_zero=True)

    def is_free(start: FloatArray, goal: FloatArray) -> bool:
        return is_clear(start, goal, boxes)

    for target in _targets(targets, environment, count, dimensions, seed):
        node = tree.extend(target, limit, is_free)
        if node is not None and radius > 0:
            tree.rewire(node, tree.near(tree.points[node], radius).tolist(), is_free)
    return tree


def _targets(
    targets: ArrayLike, environment: ArrayLike, count: int, dimensions: int, seed: Seed
) -> FloatArray:
    given = path_of("targets", targets, dimensions) if np.size(targets) else np.empty((0, dimensions))
    drawn = whole("count", count, 0, TARGETS_MAX)
    if not drawn:
        return given
    space = point_of("environment", environment, dimensions)
    if (space <= 0).any():
        raise InvalidNumberError(what="environment", wanted="numbers above 0")
    return np.concatenate([given, generator_of(seed).uniform(size=(drawn, dimensions)) * space])
