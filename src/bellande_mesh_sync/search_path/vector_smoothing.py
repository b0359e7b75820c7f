"""Making a free path shorter, as `smoothing`, with many moves tested at once."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from bellande_mesh_sync.search_path.moves import Moves
from bellande_mesh_sync.search_path.scene import FREE

Floats = NDArray[np.float64]

_AHEAD_MAX: Final = 24
"""Corners that one straight move may skip."""
_CUTS: Final = 8
_PARTS: Final = np.array([1.0, 0.5, 0.25, 0.125])


def smooth_way(way: Floats, moves: Moves, rng: Generator, rounds: int) -> Floats:
    way = skip_corners(way, moves)
    for _ in range(rounds):
        way = _cut(way, moves, rng)
        if len(way) <= 2:
            return way
        for parity in (1, 2):
            way = _pull(way, moves, parity)
    return skip_corners(way, moves)


def skip_corners(way: Floats, moves: Moves) -> Floats:
    """The shortest way over some of the corners, in order, by free moves."""
    last = len(way) - 1
    begins, ends = np.triu_indices(len(way), 2)
    close = ends - begins <= _AHEAD_MAX
    begins, ends = begins[close], ends[close]
    fits = moves.hits(way[begins], way[ends]) == FREE if len(begins) else np.zeros(0, bool)
    hops = [[row + 1] for row in range(last)]
    for begin, end in zip(begins[fits].tolist(), ends[fits].tolist(), strict=True):
        hops[begin].append(end)
    costs, after = [np.inf] * last + [0.0], [last] * (last + 1)
    for row in range(last - 1, -1, -1):
        lengths = np.linalg.norm(way[hops[row]] - way[row], axis=1) + np.array(
            [costs[end] for end in hops[row]]
        )
        best = int(lengths.argmin())
        costs[row], after[row] = float(lengths[best]), hops[row][best]
    kept = [0]
    while kept[-1] != last:
        kept.append(after[kept[-1]])
    return way[kept]


def _cut(way: Floats, moves: Moves, rng: Generator) -> Floats:
    """Of some straight moves between places on the path, take the one that saves most."""
    hops = len(way) - 1
    pairs = np.sort(rng.integers(0, hops, (_CUTS, 2)), axis=1)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    if not len(pairs):
        return way
    first, second = pairs[:, 0], pairs[:, 1]
    parts = rng.random((2, len(pairs), 1))
    a = way[first] + parts[0] * (way[first + 1] - way[first])
    b = way[second] + parts[1] * (way[second + 1] - way[second])
    tested = moves.hits(np.concatenate([way[first], a, b]), np.concatenate([a, b, way[second + 1]]))
    fits = np.all(tested.reshape(3, -1) == FREE, axis=0)
    if not fits.any():
        return way
    reached = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))])
    on_way = reached[second] + np.linalg.norm(b - way[second], axis=1)
    on_way = on_way - reached[first] - np.linalg.norm(a - way[first], axis=1)
    best = int(np.where(fits, on_way - np.linalg.norm(b - a, axis=1), -np.inf).argmax())
    return np.concatenate(
        [way[: first[best] + 1], a[best : best + 1], b[best : best + 1], way[second[best] + 1 :]]
    )


def _pull(way: Floats, moves: Moves, parity: int) -> Floats:
    """Move every second corner towards the straight line between its neighbours, as far as stays free."""
    rows = np.arange(parity, len(way) - 1, 2)
    if not len(rows):
        return way
    before, after = way[rows - 1], way[rows + 1]
    span = after - before
    span2 = np.maximum(np.einsum("ij,ij->i", span, span), 1e-300)
    along = np.clip(np.einsum("ij,ij->i", way[rows] - before, span) / span2, 0.0, 1.0)
    foot = before + along[:, None] * span
    places = way[rows] + _PARTS[:, None, None] * (foot - way[rows])
    flat = places.reshape(-1, way.shape[1])
    befores, afters = np.tile(before, (len(_PARTS), 1)), np.tile(after, (len(_PARTS), 1))
    tested = moves.hits(np.concatenate([befores, flat]), np.concatenate([flat, afters]))
    fits = np.all(tested.reshape(2, len(_PARTS), -1) == FREE, axis=0)
    pulled = way.copy()
    moved = np.flatnonzero(fits.any(0))
    pulled[rows[moved]] = places[fits.argmax(0)[moved], moved]
    return pulled
