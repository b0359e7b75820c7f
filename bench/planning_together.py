"""One query on 1, 2 and 4 node processes: the same wall time for each, and the same CPU time for all.

Nodes are `bms start` processes of one mesh; each plans by `POST /v1/path/plan?share=`. What counts is the
best path that the mesh shows at the end. On fewer cores than nodes the same wall time gives each node less.
"""

from __future__ import annotations

import statistics
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bellande_mesh_sync.client import Client
from bellande_mesh_sync.plan_wish import PlanWish
from bench.measure import Report, progress
from bench.meshes import fresh_folder
from bench.planning import random_scene
from tools.processes import NodeProcess, all_stopped, join_mesh

COUNTS = (1, 2, 4)
SCENES = 12
DIMENSIONS = 6
BUDGET_S = 1.0
SPACES = '\n[spaces.plans]\nconflict = "bellande_mesh_sync.shared_paths:shorter"\n'


def run(runs: int) -> Report:
    report = Report("planning_together")
    with fresh_folder() as root:
        nodes = join_mesh(root, [f"node{number}" for number in range(1, max(COUNTS) + 1)], mesh="bench")
        with all_stopped(nodes):
            for node in nodes:
                node.stop()
                with (node.home / "node.toml").open("a", encoding="utf-8") as settings:
                    settings.write(SPACES)
                node.start()
            progress("compiling")
            for node in nodes:
                _plan(node, _wish(0, 0, 0.2), "warm/up")
            for name, shares in (
                ("wall time", dict.fromkeys(COUNTS, 1.0)),
                ("CPU time", {n: 1 / n for n in COUNTS}),
            ):
                medians = {}
                for count in COUNTS:
                    progress(f"the same {name}, {count} nodes")
                    costs = [
                        _best(
                            nodes[:count],
                            scene,
                            BUDGET_S * shares[count],
                            f"plans/{name[:3]}-{count}-{scene}",
                        )
                        for scene in range(SCENES)
                    ]
                    medians[count] = statistics.median(costs)
                    report.add(f"{DIMENSIONS}-D length, {count} nodes, same {name}", "", costs)
                for count in COUNTS[1:]:
                    ratio = medians[count] / medians[1]
                    report.add(f"{count} nodes / 1, same {name}", "medians", [ratio], at_most=1.0)
    return report


def _best(nodes: list[NodeProcess], scene: int, seconds: float, prefix: str) -> float:
    """What the first node shows in the end."""
    with ThreadPoolExecutor(len(nodes)) as pool:
        searches = [
            pool.submit(_plan, node, _wish(scene, seed, seconds), prefix) for seed, node in enumerate(nodes)
        ]
        for search in searches:
            search.result()
    # One sample more: it begins with the best there is.
    return _plan(nodes[0], _wish(scene, 99, seconds, samples=1), prefix)


def _plan(node: NodeProcess, wish: PlanWish, prefix: str) -> float:
    with Client(node.http_url, node.admin_token()) as client:
        return client.plan(wish, share=prefix).cost


def _wish(scene: int, seed: int, seconds: float, **settings: Any) -> PlanWish:
    start, goal, boxes = random_scene(DIMENSIONS, scene)
    obstacles = [{"position": low.tolist(), "dimensions": (high - low).tolist()} for low, high in boxes]
    return PlanWish(
        start=start.tolist(),
        goal=goal.tolist(),
        environment=[1.0] * DIMENSIONS,
        obstacles=obstacles,
        seed=seed,
        time_limit=seconds,
        **settings,
    )
