"""Angles in degrees, brought back into one turn."""

from __future__ import annotations

import numpy as np

from bellande_mesh_sync.search_path.arrays import FloatArray

TURN = 360.0


def heading(degrees: FloatArray) -> FloatArray:
    """The same direction, from 0 up to but not including 360."""
    turned = np.mod(degrees, TURN)
    return np.where(turned >= TURN, 0.0, turned)  # A tiny negative angle rounds up to a whole turn.


def bearing(degrees: FloatArray) -> FloatArray:
    """The same direction, above -180 and up to 180: the shorter way to turn."""
    return TURN / 2 - np.mod(TURN / 2 - degrees, TURN)
