"""The searches without a compiler, and with users' collision functions: each step does many moves at once."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray

from bellande_mesh_sync.search_path.moves import Moves
from bellande_mesh_sync.search_path.scene import FREE, Obstacles, Scene, has_other_ends
from bellande_mesh_sync.search_path.steps import StepsByLimit
from bellande_mesh_sync.search_path.vector_smoothing import smooth_way
from bellande_mesh_sync.search_path.vector_tree import CheapestWays, sample_many

Floats = NDArray[np.float64]

AT_ONCE: Final = 8
"""Samples of one round: a test of eight moves costs little more than one of one."""
NODES_MAX: Final = 20_000


class NumpyEngine:
    """One search's trees. As CompiledEngine."""

    name = "numpy"

    def __init__(self, scene: Scene, step: float, seed: int, *, is_adaptive: bool = False) -> None:
        """`is_adaptive`: `step` is the most, and each step as long as `limit` says where it is."""
        self._step = step
        self._steps = StepsByLimit(scene, step) if is_adaptive else None
        self._rng = Generator(PCG64(seed))
        self._scene = scene
        self._moves = Moves(scene)
        self._restart()
        self._ways = CheapestWays(scene, self._moves, self._rng, 2.0 * step)

    def hits(self, starts: Floats, ends: Floats) -> Floats:
        return self._moves.hits(starts, ends)

    def is_free(self, way: Floats) -> bool:
        return bool(np.all(self.hits(way[:-1], way[1:]) == FREE))

    def change(self, scene: Scene, added: Obstacles) -> None:
        has_moved = has_other_ends(self._scene, scene)
        self._scene = scene
        self._moves = Moves(scene)
        self._steps = None if self._steps is None else StepsByLimit(scene, self._step)
        self._restart()
        if has_moved:
            self._ways = CheapestWays(scene, self._moves, self._rng, 2.0 * self._step)
        else:
            self._ways.change(scene, self._moves, added)

    def seed(self, head: Floats, tail: Floats) -> None:
        self._restart()
        for tree, way in zip(self._trees, (head, tail[::-1]), strict=True):
            tree.add_chain(way[1:], 0)

    def connect(self, samples_max: int, bound: float) -> tuple[Floats | None, int]:
        used = 0
        while used < samples_max:
            count = min(AT_ONCE, samples_max - used)
            used += count
            if (way := self._round(count, bound)) is not None:
                self._restart()
                return way, used
            if max(tree.size for tree in self._trees) > NODES_MAX:
                self._restart()
        return None, used

    def _restart(self) -> None:
        self._trees = (_Tree(self._scene.start), _Tree(self._scene.goal))
        self._turn = 0

    def _round(self, count: int, bound: float) -> Floats | None:
        """Let one tree grow towards some samples, and the other one towards what is new there."""
        grows, other = self._trees[self._turn], self._trees[1 - self._turn]
        self._turn = 1 - self._turn
        wanted = sample_many(self._rng, self._scene, bound, count)
        if not len(wanted):
            return None
        near, lengths = grows.nearest(wanted)
        begins = grows.points[near]
        steps = self._step if self._steps is None else self._steps.at(begins, wanted, other.points[0])
        parts = np.minimum(1.0, steps / np.maximum(lengths, 1e-300))[:, None]
        new = begins + parts * (wanted - begins)
        fits = self.hits(begins, new) == FREE
        if not fits.any():
            return None
        new = new[fits]
        rows = grows.add(new, near[fits])
        near, lengths = other.nearest(new)
        begins = other.points[near]
        hits = self.hits(begins, new)
        joined = np.flatnonzero(hits == FREE)
        if len(joined):
            at = joined[0]
            ways = [grows.way(int(rows[at])), other.way(int(near[at]))]
            ways = ways if grows is self._trees[0] else ways[::-1]
            return np.concatenate([ways[0], ways[1][::-1]])
        counts = np.ceil(np.minimum(hits, 1.0) * lengths / self._step).astype(int) - 1
        for row in np.flatnonzero(counts > 0):
            chain = np.arange(1, counts[row] + 1)[:, None] * (self._step / lengths[row])
            other.add_chain(begins[row] + chain * (new[row] - begins[row]), int(near[row]))
        return None

    def smooth(self, way: Floats, rounds: int) -> Floats:
        return smooth_way(way, self._moves, self._rng, rounds)

    def lay(self, way: Floats) -> None:
        self._ways.lay(way)

    def improve(self, samples_max: int, *, is_informed: bool) -> int:
        return self._ways.improve(samples_max, is_informed=is_informed)

    def tree_cost(self) -> float:
        return self._ways.cost()

    def branches(self) -> Floats:
        """All moves of all trees, shape (k, 2, n), for pictures."""
        return np.concatenate([*(tree.branches() for tree in self._trees), self._ways.branches()])

    def tree_way(self) -> Floats:
        return self._ways.way()


class _Tree:
    """Places with their parents; row 0 is the root."""

    def __init__(self, root: Floats) -> None:
        self.points = np.empty((256, len(root)))
        self.points[0] = root
        self.parents = [0]

    @property
    def size(self) -> int:
        return len(self.parents)

    def nearest(self, places: Floats) -> tuple[NDArray[np.int64], Floats]:
        """The nearest row of each place, and how far away it is."""
        gaps = self.points[None, : self.size] - places[:, None]
        spans = np.einsum("ijk,ijk->ij", gaps, gaps)
        rows = spans.argmin(1)
        return rows, np.sqrt(spans[np.arange(len(places)), rows])

    def add(self, places: Floats, parents: NDArray[np.int64]) -> NDArray[np.int64]:
        begin = self.size
        self._make_room(begin + len(places))
        self.points[begin : begin + len(places)] = places
        self.parents += parents.tolist()
        return np.arange(begin, begin + len(places))

    def add_chain(self, places: Floats, parent: int) -> None:
        begin = self.size
        if len(places):
            self.add(places, np.array([parent, *range(begin, begin + len(places) - 1)]))

    def branches(self) -> Floats:
        return np.stack([self.points[self.parents[1:]], self.points[1 : self.size]], axis=1)

    def way(self, row: int) -> Floats:
        """From the root to this row."""
        rows = [row]
        while row:
            row = self.parents[row]
            rows.append(row)
        return self.points[rows[::-1]]

    def _make_room(self, size: int) -> None:
        while size > len(self.points):
            self.points = np.concatenate([self.points, np.empty_like(self.points)])
