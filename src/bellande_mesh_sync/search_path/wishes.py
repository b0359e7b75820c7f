"""From what a file or a request wishes to a search."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bellande_mesh_sync.plan_wish import PlanWish
from bellande_mesh_sync.search_path.planner import plan_scene
from bellande_mesh_sync.search_path.scene import Scene, scene_of
from bellande_mesh_sync.values import Path

if TYPE_CHECKING:
    from bellande_mesh_sync.search_path.search import Search


def scene_of_wish(wish: PlanWish) -> Scene:
    return scene_of(wish.start, wish.goal, wish.environment, wish.obstacles, clearance=wish.clearance)


def plan_wished(
    wish: PlanWish,
    on_progress: Callable[[Path], object] | None = None,
    take_part: Callable[[Search], bool] | None = None,
) -> Path:
    """As `plan_scene`, and raises the same."""
    return plan_scene(
        scene_of_wish(wish), step_size=wish.step_size, time_limit=wish.time_limit, samples=wish.samples,
        seed=wish.seed, algorithm=wish.algorithm, engine=wish.engine, on_progress=on_progress,
        take_part=take_part,
    )  # fmt: skip
