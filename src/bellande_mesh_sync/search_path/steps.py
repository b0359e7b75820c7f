"""How long a tree's steps are when `limit` says so: short where something lies ahead, and near the goal."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bellande_mesh_sync.search_path.boxes import Boxes
from bellande_mesh_sync.search_path.limit import LimitRule, limit
from bellande_mesh_sync.search_path.scene import Scene

Floats = NDArray[np.float64]

_AHEAD_STEPS: Final = 2.0
"""How far it looks ahead."""
_GOAL_SHARE: Final = 0.1
_SMALLEST_SHARE: Final = 0.05


class StepsByLimit:
    """Bellande Limit at the scale of a scene: the published constants are absolute, for spaces of about 1000.

    A ball counts as the box around it.
    """

    def __init__(self, scene: Scene, step: float) -> None:
        forbidden = scene.forbidden()
        self._low = scene.low
        self._space = scene.high - scene.low
        self._boxes = Boxes(forbidden.low - scene.low, forbidden.high - scene.low)
        self._radius = _AHEAD_STEPS * step
        self._rule = LimitRule(goal_radius=_GOAL_SHARE * scene.diagonal, smallest=_SMALLEST_SHARE * step)
        # Limit takes a share of the length of this.
        self._size = np.full(scene.dimensions, step / (self._rule.size_share * scene.dimensions**0.5))

    def at(self, places: Floats, targets: Floats, goal: Floats) -> Floats:
        """Steps from these places, shape (k,), towards these targets, in a tree that wants to `goal`."""
        found: Floats = limit(
            places - self._low, targets - self._low, self._space, self._size, goal - self._low, self._boxes,
            self._radius, exact=True, rule=self._rule,
        )  # fmt: skip
        return found
