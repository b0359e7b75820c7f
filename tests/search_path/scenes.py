"""Scenes for the planner's tests, and a checker of paths that shares no code with it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def random_boxes(n: int, seed: int, count: int = 50, share: float = 0.3) -> tuple[Floats, Floats, Floats]:
    """Start, goal and boxes of shape (count, 2, n) in the unit cube that fill about this share of it."""
    rng = np.random.default_rng(seed)
    side = (share / max(count, 1)) ** (1 / n)
    start, goal = np.full(n, 0.05), np.full(n, 0.95)
    boxes: list[Floats] = []
    while len(boxes) < count:
        size = side * rng.uniform(0.7, 1.3, n)
        low = rng.uniform(0, 1, n) - size / 2
        if not any(np.all((place >= low - 0.02) & (place <= low + size + 0.02)) for place in (start, goal)):
            boxes.append(np.stack([low, low + size]))
    return start, goal, np.array(boxes).reshape(count, 2, n)


def published_scene() -> tuple[list[float], list[float], list[float], list[dict[str, Any]]]:
    """The scene of the published picture. Its shortest path has the length 868.47."""
    boxes = [
        ((100, 100), (50, 200)),
        ((600, 150), (100, 100)),
        ((300, 300), (200, 50)),
        ((200, 450), (150, 80)),
    ]
    obstacles = [{"position": list(low), "dimensions": list(size)} for low, size in boxes]
    return [50.0, 50.0], [750.0, 550.0], [800.0, 600.0], obstacles


def meets_box(a: Sequence[float], b: Sequence[float], low: Sequence[float], high: Sequence[float]) -> bool:
    """Whether a straight move meets a closed box, in exact fractions."""
    begin, end = Fraction(0), Fraction(1)
    for p, q, least, most in zip(a, b, low, high, strict=True):
        here, move = Fraction(float(p)), Fraction(float(q)) - Fraction(float(p))
        if move == 0:
            if here < Fraction(float(least)) or here > Fraction(float(most)):
                return False
            continue
        one, two = (Fraction(float(least)) - here) / move, (Fraction(float(most)) - here) / move
        begin, end = max(begin, min(one, two)), min(end, max(one, two))
    return begin <= end


def meets_ball(a: Sequence[float], b: Sequence[float], center: Sequence[float], radius: float) -> bool:
    """Whether a straight move comes within `radius` of a centre, in exact fractions."""
    away = [Fraction(float(p)) - Fraction(float(c)) for p, c in zip(a, center, strict=True)]
    move = [Fraction(float(q)) - Fraction(float(p)) for p, q in zip(a, b, strict=True)]
    length2 = sum(m * m for m in move)
    along = -sum(m * w for m, w in zip(move, away, strict=True))
    part = min(Fraction(1), max(Fraction(0), along / length2)) if length2 else Fraction(0)
    apart2 = sum((w + part * m) ** 2 for m, w in zip(move, away, strict=True))
    return apart2 <= Fraction(radius) ** 2


def check_path(
    points: Sequence[Sequence[float]],
    start: Any,
    goal: Any,
    environment: Any,
    boxes: Any = (),
    balls: Sequence[tuple[Sequence[float], float]] = (),
) -> float:
    """AssertionError unless the path leads from start to goal through free space; its length."""
    assert list(points[0]) == list(start)
    assert list(points[-1]) == list(goal)
    for point in points:
        assert all(0 <= x <= size for x, size in zip(point, environment, strict=True))
    for a, b in itertools.pairwise(points):
        for low, high in boxes:
            assert not meets_box(a, b, list(low), list(high)), (a, b, low, high)
        for center, radius in balls:
            assert not meets_ball(a, b, center, radius), (a, b, center, radius)
    return sum(math.dist(a, b) for a, b in itertools.pairwise(points))
