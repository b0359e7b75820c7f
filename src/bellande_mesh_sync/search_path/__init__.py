"""Search in space of any dimension: steps, limits, importance, particles, probabilities, trees.

Every function takes lists or NumPy arrays, and one point or many at once. Needs the extra `path`.
"""

from __future__ import annotations

from bellande_mesh_sync.errors import MissingExtraError

try:
    import numpy as _numpy
except ModuleNotFoundError as error:
    if error.name != "numpy":
        raise
    raise MissingExtraError(what="search_path", package="numpy", extra="path") from None

from bellande_mesh_sync.search_path.boxes import Boxes
from bellande_mesh_sync.search_path.limit import PUBLISHED, LimitRule, limit
from bellande_mesh_sync.search_path.live import LivePlanner
from bellande_mesh_sync.search_path.neighbours import Neighbours
from bellande_mesh_sync.search_path.planner import plan
from bellande_mesh_sync.search_path.scene import Scene, scene_of
from bellande_mesh_sync.search_path.step import step
from bellande_mesh_sync.search_path.tree import Tree
from bellande_mesh_sync.values import Path

assert _numpy is not None

__all__ = [
    "PUBLISHED",
    "Boxes",
    "LimitRule",
    "LivePlanner",
    "Neighbours",
    "Path",
    "Scene",
    "Tree",
    "limit",
    "plan",
    "scene_of",
    "step",
]
