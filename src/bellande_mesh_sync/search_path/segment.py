"""Segments: space cut into boxes by a grid, with an id each, and who is beside whom."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from bellande_mesh_sync.errors import InvalidNumberError
from bellande_mesh_sync.search_path.arrays import FloatArray, IndexArray, point_of, points_of, whole

SEGMENTS_MAX = 2**53


class Segment:
    """The space from 0 to `environment`, cut into `counts[k]` equal parts along axis k.

    The id of a segment is the sum of its place on axis k times the product of the counts of the axes
    before k. Slabs across one axis are the counts 1, ..., m, ..., 1. Ids are numbers here; where others
    write them as texts, `str` and `int` go there and back.
    Source: docs/search-path/segment.md.
    """

    def __init__(self, environment: ArrayLike, counts: ArrayLike) -> None:
        """`environment`: shape (n,), > 0. `counts`: shape (n,), integers >= 1, their product below 2^53."""
        self.environment = point_of("environment", environment)
        parts = point_of("counts", counts, len(self.environment))
        if not len(parts) or (self.environment <= 0).any():
            raise InvalidNumberError(what="environment", wanted="numbers above 0")
        if (parts < 1).any() or (parts != np.floor(parts)).any() or math.prod(parts) > SEGMENTS_MAX:
            raise InvalidNumberError(what="counts", wanted="integers from 1, with a product below 2^53")
        self.counts = parts.astype(np.int64)
        self._weights = np.concatenate([[1], np.cumprod(self.counts)[:-1]])

    def __len__(self) -> int:
        return math.prod(int(count) for count in self.counts)

    def of(self, points: ArrayLike) -> IndexArray:
        """The id of the segment of each point, shape () or (m,). Points outside belong to the nearest
        segment along each axis. Cost: O(m n)."""
        given = points_of("the points", points, len(self.counts))
        cells = np.floor(given * self.counts / self.environment)
        return np.asarray(np.clip(cells, 0, self.counts - 1).astype(np.int64) @ self._weights)

    def adjacent(self, segment: int) -> IndexArray:
        """The ids of the segments that share a face with this one, ascending."""
        place = self._place(segment)
        found = []
        for axis, (at, count) in enumerate(zip(place, self.counts, strict=True)):
            weight = self._weights[axis]
            found += [segment - weight] if at > 0 else []
            found += [segment + weight] if at < count - 1 else []
        return np.array(sorted(found), dtype=np.int64)

    def bounds(self, segment: int) -> tuple[FloatArray, FloatArray]:
        """The lowest and the highest corner of a segment, each shape (n,)."""
        place = self._place(segment)
        return place * self.environment / self.counts, (place + 1) * self.environment / self.counts

    def coverage(self, nodes: ArrayLike, grid_steps: ArrayLike) -> dict[int, float]:
        """By segment, the share of its cells of the size `grid_steps` that hold a node; of those with any.

        A cell belongs to the segment of its nodes; cells are counted from each segment's lowest corner.
        Cost: O(m log m).
        """
        given = points_of("the nodes", nodes, len(self.counts)).reshape(-1, len(self.counts))
        steps = point_of("grid_steps", grid_steps, len(self.counts))
        if (steps <= 0).any():
            raise InvalidNumberError(what="grid_steps", wanted="numbers above 0")
        sides = self.environment / self.counts
        ids = self.of(given)
        lowest = (ids[:, None] // self._weights % self.counts) * sides
        most = np.ceil(sides / steps)
        cells = np.clip(np.floor((given - lowest) / steps), 0, most - 1)
        held = np.unique(np.column_stack([ids, cells]), axis=0)
        found, count = np.unique(held[:, 0], return_counts=True)
        share = count / math.prod(most)
        return {int(segment): float(part) for segment, part in zip(found, share, strict=True)}

    def _place(self, segment: int) -> IndexArray:
        number = whole("segment", segment, 0, len(self) - 1)
        return np.asarray(number // self._weights % self.counts)
