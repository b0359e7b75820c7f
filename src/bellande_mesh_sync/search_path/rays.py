"""What lies on a ray, exactly: the slab test against boxes and against the space itself."""

from __future__ import annotations

import numpy as np

from bellande_mesh_sync.search_path.arrays import BoolArray, FloatArray
from bellande_mesh_sync.search_path.boxes import Boxes


def spans_in_box(
    start: FloatArray, direction: FloatArray, lowest: FloatArray, highest: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Where the lines start + t * direction are in a box: from t = first to t = last, each shape (m,).

    first > last where a line misses the box. Faces belong to the box.
    Cost: O(m n). Source: Kay and Kajiya, Ray Tracing Complex Scenes, SIGGRAPH 1986, "slabs".
    """
    first, last = np.full(len(start), -np.inf), np.full(len(start), np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        for axis in range(start.shape[1]):
            along = direction[:, axis]
            low = (lowest[axis] - start[:, axis]) / along
            high = (highest[axis] - start[:, axis]) / along
            # A line along the face of a slab stays in it, or stays out of it.
            still = along == 0
            held = (start[:, axis] >= lowest[axis]) & (start[:, axis] <= highest[axis])
            enters = np.where(still, np.where(held, -np.inf, np.inf), np.minimum(low, high))
            leaves = np.where(still, np.where(held, np.inf, -np.inf), np.maximum(low, high))
            first, last = np.maximum(first, enters), np.minimum(last, leaves)
    empty = bool((highest < lowest).any())
    return (np.full_like(first, np.inf), np.full_like(last, -np.inf)) if empty else (first, last)


def outlook(
    start: FloatArray, direction: FloatArray, environment: FloatArray, boxes: Boxes, radius: float
) -> tuple[BoolArray, FloatArray]:
    """(something is hit in the near half of each ray, share of it that is hit in the far half).

    Directions have length 1. Overlapping boxes count each, and so does being outside the space from 0
    to `environment`. After a near hit the share is 0: the look ahead ends there.
    """
    half = radius / 2
    near = np.zeros(len(start), dtype=bool)
    length = np.zeros(len(start))
    for lowest, highest in zip(boxes.lowest, boxes.highest, strict=True):
        first, last = spans_in_box(start, direction, lowest, highest)
        # What only touches the start is behind the ray.
        near |= (first <= last) & (first <= half) & (last > 0)
        length += np.clip(np.minimum(last, radius) - np.maximum(first, half), 0, None)
    first, last = spans_in_box(start, direction, np.zeros_like(environment), environment)
    outside = first > last
    near |= outside | (first > 0) | (last < half)
    length += np.where(outside, half, radius - np.clip(last, half, radius))
    return near, np.where(near, 0.0, length / radius if radius > 0 else 0.0)


def is_clear(start: FloatArray, goal: FloatArray, boxes: Boxes) -> bool:
    """Whether the straight way from one point to another, ends included, meets no box. Cost: O(b n)."""
    delta = goal - start
    still = delta == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (boxes.lowest - start) / delta, (boxes.highest - start) / delta
    held = (boxes.lowest <= start) & (start <= boxes.highest)
    enters = np.where(still, np.where(held, -np.inf, np.inf), np.minimum(low, high))
    leaves = np.where(still, np.where(held, np.inf, -np.inf), np.maximum(low, high))
    first = enters.max(axis=1, initial=0.0)
    last = leaves.min(axis=1, initial=1.0)
    solid = (boxes.lowest <= boxes.highest).all(axis=1)
    return not (solid & (first <= last)).any()
