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

from bellande_mesh_sync.search_path import particle
from bellande_mesh_sync.search_path.batch import batch
from bellande_mesh_sync.search_path.boxes import Boxes
from bellande_mesh_sync.search_path.coordinates import convert
from bellande_mesh_sync.search_path.expressions import Expression
from bellande_mesh_sync.search_path.geometry import (
    box_volume,
    distance,
    in_bounds,
    interpolate,
    path_length,
)
from bellande_mesh_sync.search_path.importance import Importance, node_importance
from bellande_mesh_sync.search_path.landmarks import Landmarks
from bellande_mesh_sync.search_path.limit import PUBLISHED, LimitRule, limit
from bellande_mesh_sync.search_path.live import LivePlanner
from bellande_mesh_sync.search_path.motion import MotionProbability, motion_probability
from bellande_mesh_sync.search_path.neighbours import Neighbours
from bellande_mesh_sync.search_path.particle_filter import ParticleFilter
from bellande_mesh_sync.search_path.planner import plan
from bellande_mesh_sync.search_path.probability import Probability, probability
from bellande_mesh_sync.search_path.quality import PathQuality, path_quality
from bellande_mesh_sync.search_path.scene import Scene, scene_of
from bellande_mesh_sync.search_path.segment import Segment
from bellande_mesh_sync.search_path.step import step
from bellande_mesh_sync.search_path.tree import Tree
from bellande_mesh_sync.search_path.weights import likelihood, log_likelihood, normalise, weighted_average
from bellande_mesh_sync.values import Path

assert _numpy is not None

__all__ = [
    "PUBLISHED",
    "Boxes",
    "Expression",
    "Importance",
    "Landmarks",
    "LimitRule",
    "LivePlanner",
    "MotionProbability",
    "Neighbours",
    "ParticleFilter",
    "Path",
    "PathQuality",
    "Probability",
    "Scene",
    "Segment",
    "Tree",
    "batch",
    "box_volume",
    "convert",
    "distance",
    "in_bounds",
    "interpolate",
    "likelihood",
    "limit",
    "log_likelihood",
    "motion_probability",
    "node_importance",
    "normalise",
    "particle",
    "path_length",
    "path_quality",
    "plan",
    "probability",
    "scene_of",
    "step",
    "weighted_average",
]
