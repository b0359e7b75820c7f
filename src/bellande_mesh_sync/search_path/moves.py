"""Where straight moves first collide, many at once, in NumPy. Exact for boxes and balls."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bellande_mesh_sync.errors import InvalidSceneError
from bellande_mesh_sync.search_path.scene import FREE, Obstacles, Scene

Floats = NDArray[np.float64]

_CELLS_MAX: Final = 1 << 20
"""Numbers in one table of moves by obstacles."""
_FEW: Final = 128
"""Up to so many obstacles all are tested; of more only those in the box around the moves."""
_TINY: Final = 1e-200


class Moves:
    """Tests the moves of one scene."""

    def __init__(self, scene: Scene, forbidden: Obstacles | None = None) -> None:
        """Of all obstacles, and the collision function; or of these alone."""
        self._collides = scene.collides if forbidden is None else None
        forbidden = scene.forbidden() if forbidden is None else forbidden
        is_box = forbidden.radii < 0.0
        self._low = np.ascontiguousarray(forbidden.low[is_box].T)
        self._high = np.ascontiguousarray(forbidden.high[is_box].T)
        self._centers = 0.5 * (forbidden.low[~is_box] + forbidden.high[~is_box])
        self._radii = forbidden.radii[~is_box]
        self._scene = scene

    def hits(self, starts: Floats, ends: Floats) -> Floats:
        """For each move, shape (k, n), the share of it after which it first collides; FREE if it does not.

        O(k m n) for m obstacles. A collision function is asked at places up to the resolution apart; its
        answer is the last place that was free.
        """
        found = np.full(len(starts), FREE)
        obstacles = max(self._low.shape[1], len(self._radii), 1)
        rows = max(1, _CELLS_MAX // (obstacles * starts.shape[1]))
        for begin in range(0, len(starts), rows):
            part = slice(begin, begin + rows)
            found[part] = self._exact(starts[part], ends[part])
        if self._collides is not None:
            found = self._asked(starts, ends, found)
        return found

    def _exact(self, starts: Floats, ends: Floats) -> Floats:
        moves = ends - starts
        found = np.full(len(starts), FREE)
        if self._low.shape[1]:
            low, high = self._low, self._high
            if low.shape[1] > _FEW:
                least = np.minimum(starts, ends).min(0)[:, None]
                most = np.maximum(starts, ends).max(0)[:, None]
                close = np.all((low <= most) & (high >= least), axis=0)
                low, high = low[:, close], high[:, close]
            if low.shape[1]:
                found = _box_hits(starts, moves, low, high)
        if len(self._radii):
            found = np.minimum(found, _ball_hits(starts, moves, self._centers, self._radii))
        return found

    def _asked(self, starts: Floats, ends: Floats, found: Floats) -> Floats:
        moves = ends - starts
        counts = np.ceil(np.linalg.norm(moves, axis=1) / self._scene.resolution).astype(int) + 1
        rows = np.repeat(np.arange(len(starts)), counts + 1)
        firsts = np.concatenate([[0], np.cumsum(counts + 1)[:-1]])
        numbers = np.arange(len(rows)) - firsts[rows]
        parts = numbers / counts[rows]
        assert self._collides is not None
        said = np.asarray(self._collides(starts[rows] + parts[:, None] * moves[rows]))
        if said.shape != (len(rows),):
            reason = (
                f"it returned shape {said.shape} for {len(rows)} places, and not one truth value for each"
            )
            raise InvalidSceneError(what="collides", reason=reason)
        last_free = np.where(said.astype(bool), np.maximum(numbers - 1, 0) / counts[rows], FREE)
        return np.minimum(found, np.minimum.reduceat(last_free, firsts))


def _box_hits(starts: Floats, moves: Floats, low: Floats, high: Floats) -> Floats:
    """Slabs: (k, n, m) entering and leaving parts; a move along no axis gets a tiny one, so none is NaN."""
    turned = 1.0 / np.where(moves == 0.0, _TINY, moves)[:, :, None]
    begins = starts[:, :, None]
    one = (low - begins) * turned
    two = (high - begins) * turned
    enters = np.minimum(one, two).max(1)
    leaves = np.maximum(one, two).min(1)
    enters = np.maximum(enters, 0.0)
    found: Floats = np.where(enters <= np.minimum(leaves, 1.0), enters, FREE).min(1)
    return found


def _ball_hits(starts: Floats, moves: Floats, centers: Floats, radii: Floats) -> Floats:
    """The smaller root of |start + t move - center| = radius, in the form without a difference of near
    equals; 0 from inside."""
    away = starts[:, None] - centers
    along = np.einsum("ijk,ik->ij", away, moves)
    outside = np.einsum("ijk,ijk->ij", away, away) - radii**2
    root2 = along**2 - np.einsum("ij,ij->i", moves, moves)[:, None] * outside
    meets = (root2 >= 0.0) & (along < 0.0)
    below = np.where(meets, np.sqrt(np.maximum(root2, 0.0)) - along, 1.0)
    at = np.where(meets, outside / below, FREE)
    at = np.where(at <= 1.0, at, FREE)
    found: Floats = np.where(outside <= 0.0, 0.0, at).min(1)
    return found
