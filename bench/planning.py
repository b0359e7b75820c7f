"""Planning among 50 random boxes in the unit cube, beside OMPL with a validity checker in Python.

Same scenes, same run. The first path of OMPL is timed around its `solve`, ours from the checked scene on,
with all that is prepared for it; compiling, once on a machine, is a row of its own.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

from bellande_mesh_sync.errors import NoPathError
from bench.measure import Report, progress

SCENES = 100
STAR_SCENES = 9
BUDGET_S = 5.0
STAR_S = 1.0
FIRST_SHARE_COMPILED = 0.05
FIRST_SHARE_NUMPY = 0.3
LARGE = 10_000
LARGE_S_MAX = 1.0


def run(runs: int) -> Report:
    import numpy as np

    from bellande_mesh_sync.search_path import plan

    report = Report("planning")
    peer = _peer(report)
    report.add("compiling, or loading what was", "s", [plan([0], [1], [1]).compile_s])
    for n in (2, 3, 6):
        scenes = [random_scene(n, seed) for seed in range(SCENES)]
        peers = _first_of_peer(report, peer, n, scenes) if peer else []
        for engine, share in (("compiled", FIRST_SHARE_COMPILED), ("numpy", FIRST_SHARE_NUMPY)):
            progress(f"{engine}, {n}-D, first paths")
            times = [_first(n, scene, engine, seed) * 1e3 for seed, scene in enumerate(scenes)]
            found = [each for each in times if not math.isnan(each)]
            report.add(f"{n}-D first path, {engine} ({len(found)} of {len(scenes)})", "ms", found)
            if peers:
                ratio = statistics.median(found) / statistics.median(peers)
                report.add(f"{n}-D first path, {engine} / OMPL", "medians", [ratio], at_most=share)
        _star(report, peer, n, scenes[:STAR_SCENES])
    progress(f"{LARGE:,} boxes")
    start, goal, boxes = random_scene(3, 1, LARGE, 0.1)
    larges = [
        plan(start, goal, np.ones(3), boxes, seed=seed, algorithm="rrt_connect", time_limit=30).first_path_s
        for seed in range(max(runs, 5))
    ]
    report.add(f"3-D first path, {LARGE:,} boxes", "s", larges, at_most=LARGE_S_MAX)
    return report


def _first(n: int, scene: tuple[Any, Any, Any], engine: str, seed: int) -> float:
    """Seconds to the first path; NaN if there is none: boxes in 2-D may close the way."""
    import numpy as np

    from bellande_mesh_sync.search_path import plan

    start, goal, boxes = scene
    try:
        return plan(
            start,
            goal,
            np.ones(n),
            boxes,
            engine=engine,
            seed=seed,
            algorithm="rrt_connect",
            time_limit=BUDGET_S,
        ).first_path_s
    except NoPathError:
        return math.nan


def _first_of_peer(report: Report, peer: Any, n: int, scenes: list[Any]) -> list[float]:
    progress(f"OMPL, {n}-D, first paths")
    found = [peer("RRTConnect", n, scene, BUDGET_S) for scene in scenes]
    times = [seconds * 1e3 for seconds, length in found if not math.isnan(length)]
    report.add(f"{n}-D first path, OMPL RRTConnect ({len(times)} of {len(scenes)})", "ms", times, "peer")
    return times


def _star(report: Report, peer: Any, n: int, scenes: list[Any]) -> None:
    """Lengths after a second."""
    import numpy as np

    from bellande_mesh_sync.search_path import plan

    progress(f"RRT*, {n}-D, {STAR_S:g} s each")
    most = None
    if peer:
        lengths = [length for _, length in (peer("RRTstar", n, scene, STAR_S) for scene in scenes)]
        solved = [length for length in lengths if not math.isnan(length)]
        # A scene that it did not solve in time has no length; it counts as longer than all others.
        most = statistics.median([math.inf if math.isnan(length) else length for length in lengths])
        report.add(
            f"{n}-D length after 1 s, OMPL RRTstar ({len(solved)} of {len(scenes)})", "", solved, "peer"
        )
    for algorithm in ("rrt_star", "auto"):
        found = [
            plan(start, goal, np.ones(n), boxes, seed=seed, algorithm=algorithm, time_limit=STAR_S).cost
            for seed, (start, goal, boxes) in enumerate(scenes)
        ]
        report.add(f"{n}-D length after 1 s, {algorithm}", "", found)
        if most is not None:
            ratio = statistics.median(found) / most
            report.add(f"{n}-D length after 1 s, {algorithm} / OMPL", "medians", [ratio], at_most=1.0)


def random_scene(n: int, seed: int, count: int = 50, share: float = 0.3) -> tuple[Any, Any, Any]:
    """Boxes that fill about this share of the unit cube, and keep away from start and goal."""
    import numpy as np

    rng = np.random.default_rng(seed)
    side = (share / count) ** (1 / n)
    start, goal = np.full(n, 0.05), np.full(n, 0.95)
    boxes: list[Any] = []
    while len(boxes) < count:
        size = side * rng.uniform(0.7, 1.3, n)
        low = rng.uniform(0, 1, n) - size / 2
        if not any(np.all((place >= low - 0.02) & (place <= low + size + 0.02)) for place in (start, goal)):
            boxes.append(np.stack([low, low + size]))
    return start, goal, np.array(boxes)


def _peer(report: Report) -> Callable[..., tuple[float, float]] | None:
    """Seconds and length of a planner of OMPL's; None if it is not installed."""
    try:
        from ompl import base, geometric, util
    except ImportError:
        report.skipped.append("OMPL: it is not installed (pip install ompl)")
        return None
    util.setLogLevel(util.LogLevel.LOG_NONE)

    def solve(kind: str, n: int, scene: tuple[Any, Any, Any], budget_s: float) -> tuple[float, float]:
        start, goal, boxes = scene
        space = base.RealVectorStateSpace(n)
        bounds = base.RealVectorBounds(n)
        bounds.setLow(0)
        bounds.setHigh(1)
        space.setBounds(bounds)
        setup = geometric.SimpleSetup(space)
        sides = [list(zip(box[0].tolist(), box[1].tolist(), strict=True)) for box in boxes]
        axes = range(n)

        def is_valid(state: Any) -> bool:
            place = [state[axis] for axis in axes]
            for box in sides:
                for value, (low, high) in zip(place, box, strict=True):
                    if value < low or value > high:
                        break
                else:
                    return False
            return True

        setup.setStateValidityChecker(is_valid)
        first, last = space.allocState(), space.allocState()
        for axis in axes:
            first[axis], last[axis] = float(start[axis]), float(goal[axis])
        setup.setStartAndGoalStates(first, last)
        if kind == "RRTstar":
            objective = base.PathLengthOptimizationObjective(setup.getSpaceInformation())
            setup.setOptimizationObjective(objective)
        setup.setPlanner(getattr(geometric, kind)(setup.getSpaceInformation()))
        began = time.perf_counter()
        status = setup.solve(budget_s)
        seconds = time.perf_counter() - began
        is_solved = "xact" in str(status)
        return seconds, setup.getSolutionPath().length() if is_solved else math.nan

    return solve
