"""Step and Limit on many points at once, growing a tree, and finding the nearest of its nodes."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.measure import Report, progress

PAIRS = 1_000_000
STEPS_AT_LEAST = 20e6
RAYS = 20_000
NODES = 100_000
QUERIES = 10_000


def run(runs: int) -> Report:
    import numpy as np

    from bellande_mesh_sync.search_path import Neighbours, limit, step

    report = Report("search_path")
    rng = np.random.default_rng(1)
    progress(f"{PAIRS:,} pairs in 3-D")
    start, goal = rng.uniform(-100, 100, (2, PAIRS, 3))
    seconds = _runs(runs, lambda: step(start, goal, 75.0))
    report.add("step, 3-D", "ns/pair", [each / PAIRS * 1e9 for each in seconds], at_most=1e9 / STEPS_AT_LEAST)

    progress(f"{RAYS:,} rays among 50 boxes")
    boxes = [(corner, [40.0, 40.0, 40.0]) for corner in rng.uniform(0, 950, (50, 3))]
    origin, target = rng.uniform(0, 1000, (2, RAYS, 3))
    space, size, far = [1000.0] * 3, [10.0] * 3, [900.0] * 3
    for exact in (False, True):

        def look(exact: bool = exact) -> None:
            limit(origin, target, space, size, far, boxes, exact=exact)

        name = f"limit, 3-D, 50 boxes, {'exact' if exact else '20 samples'}"
        report.add(name, "us/ray", [each / RAYS * 1e6 for each in _runs(runs, look)])

    progress(f"the nearest of {NODES:,}")
    index = Neighbours(3)
    points = rng.uniform(0, 1, (NODES, 3))
    began = time.process_time()
    for point in points:
        index.add(point)
    index.nearest(points[0])
    report.add(f"{NODES:,} points, added", "us", [(time.process_time() - began) / NODES * 1e6])
    queries = rng.uniform(0, 1, (QUERIES, 3))
    found = _runs(runs, lambda: index.nearest(queries))
    report.add("nearest, of many", "us", [each / QUERIES * 1e6 for each in found])
    one = _runs(runs, lambda: [index.nearest(query) for query in queries[:1000]])
    report.add("nearest, one at a time", "us", [each / 1000 * 1e6 for each in one])
    return report


def _runs(runs: int, call: Callable[[], object]) -> list[float]:
    """Seconds of one core for each run, after one that compiles and warms what there is."""
    call()
    found = []
    for _ in range(runs):
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return found
