"""One query, many nodes: each searches on its own, and takes over what is shorter elsewhere.

Under a prefix of keys lie `obstacles/NAME`, one key each, which anybody may change at any time, and
`best/DIGEST`, the shortest path that is known for the scene with this digest. With other obstacles it is
another scene with another digest, so no path is taken for one of a scene that is no more; a search carries
over what still holds of its own.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import msgspec
import numpy as np

from bellande_mesh_sync.errors import InvalidSceneError, NoPathError
from bellande_mesh_sync.plan_wish import PlanWish
from bellande_mesh_sync.search_path.planner import SLICE_SAMPLES, Teller, load_engine, now, run, search_of
from bellande_mesh_sync.search_path.scene import Scene, check_place, obstacles_of
from bellande_mesh_sync.search_path.search import Search
from bellande_mesh_sync.search_path.wishes import scene_of_wish
from bellande_mesh_sync.shared_paths import decode_path, encode_path, scene_digest
from bellande_mesh_sync.together.doors import Door, MeshCalls, MeshDoor
from bellande_mesh_sync.values import Path

EXCHANGE_EVERY_S: Final = 0.05
GAIN_MIN: Final = 1e-6
"""A path that is shorter by a smaller share is not worth a write."""


async def plan_together(
    mesh: MeshCalls, prefix: str, wish: PlanWish, *, on_progress: Callable[[Path], object] | None = None
) -> Path:
    """Plan on this node, together with all that plan the same scene under the same prefix.

    Start with the best path that is known, publish each shorter one, and look only where a shorter one could
    be. Give each node another seed. The search runs in a worker thread.

    Args:
        prefix: as `plans/dock`. Set `conflict = "bellande_mesh_sync.shared_paths:shorter"` for its space.

    Raises: as `plan`, and what reading and writing keys raises.
    """
    door = MeshDoor(mesh, asyncio.get_running_loop())
    ends = threading.Event()
    searching = asyncio.ensure_future(
        asyncio.to_thread(plan_shared, door, prefix, wish, on_progress=on_progress, ends=ends)
    )
    try:
        return await asyncio.shield(searching)
    finally:
        ends.set()
        await asyncio.wait({searching})


def plan_shared(
    door: Door,
    prefix: str,
    wish: PlanWish,
    *,
    on_progress: Callable[[Path], object] | None = None,
    ends: threading.Event | None = None,
) -> Path:
    """As `plan_together`, blocking. `ends` set by another thread ends it early."""
    sharing = Sharing(door, prefix, wish)
    scene = scene_of_wish(sharing.wish)
    compile_s = load_engine(scene, wish.engine)
    began = now()
    search = search_of(
        scene, step_size=wish.step_size, seed=wish.seed, algorithm=wish.algorithm, engine=wish.engine
    )
    teller = Teller(search, wish.algorithm, wish.seed, began, compile_s, on_progress)
    sharing.exchange(search)
    teller.look()

    def take_part(search: Search) -> bool:
        sharing.maybe_exchange(search)
        return ends is None or not ends.is_set()

    samples = wish.samples if wish.samples is not None else SLICE_SAMPLES**2
    run(search, teller, wish.time_limit, samples, take_part)
    sharing.exchange(search)
    if search.way is None:
        raise NoPathError(samples=search.samples, seconds=round(teller.seconds(), 3))
    return teller.path()


class Sharing:
    """What one search has to do with the others of its query."""

    def __init__(self, door: Door, prefix: str, wish: PlanWish) -> None:
        self._door = door
        self._prefix = prefix.rstrip("/")
        self._own = wish
        self._obstacles: dict[str, tuple[str, dict[str, Any]]] = {}
        self._next_s = 0.0
        self.wish = wish
        self._look_at_obstacles()
        self.best_key = self._key_of(scene_of_wish(self.wish))
        """Where the best path of the scene lies, as it is now."""

    def _key_of(self, scene: Scene) -> str:
        obstacles = scene.obstacles
        ends = (scene.start, scene.goal, scene.low, scene.high)
        numbers = [each.tolist() for each in (*ends, obstacles.low, obstacles.high, obstacles.radii)]
        digest = scene_digest([scene.clearance, *numbers])
        return f"{self._prefix}/best/{digest}"

    def maybe_exchange(self, search: Search) -> None:
        if now() >= self._next_s:
            self.exchange(search)

    def exchange(self, search: Search) -> None:
        """Take over other obstacles, then a shorter path; tell of ours if it is the shorter one."""
        if self._look_at_obstacles():
            self._change(search)
        found = self._door.read(self.best_key)
        known = math.inf
        path = decode_path(found[0]) if found is not None else None
        if path is not None:
            way = np.array(path.points)
            # A path that is not free here is none of this scene; ours replaces it, however long it is.
            if path.cost >= search.cost or search.offer(way):
                known = path.cost
        if search.way is not None and search.cost < known * (1.0 - GAIN_MIN):
            version = found[1] if found is not None else ""
            # If somebody was quicker, the next exchange compares with theirs.
            self._door.write(self.best_key, encode_path(search.cost, search.points()), version)
        self._next_s = now() + EXCHANGE_EVERY_S

    def _look_at_obstacles(self) -> bool:
        """Whether the shared obstacles are others than before."""
        folder = f"{self._prefix}/obstacles/"
        versions = self._door.versions(folder)
        if versions == {key: version for key, (version, _) in self._obstacles.items()}:
            return False
        obstacles = {}
        for key, version in sorted(versions.items()):
            known = self._obstacles.get(key)
            if known is not None and known[0] == version:
                obstacles[key] = known
            elif (read := self._door.read(key)) is not None:
                obstacles[key] = (read[1], self._obstacle(key, read[0]))
        self._obstacles = obstacles
        listed = [each for _, each in obstacles.values()]
        self.wish = msgspec.structs.replace(self._own, obstacles=[*self._own.obstacles, *listed])
        return True

    def _obstacle(self, key: str, data: bytes) -> dict[str, Any]:
        try:
            obstacle = msgspec.json.decode(data, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidSceneError(what=f"obstacle {key}", reason=str(error)) from None
        try:
            obstacles_of([obstacle], len(self._own.start))
        except InvalidSceneError as error:
            raise InvalidSceneError(what=f"obstacle {key}", reason=error.reason) from None
        return obstacle

    def _change(self, search: Search) -> None:
        before = search.scene
        scene = replace(before, obstacles=obstacles_of(self.wish.obstacles, before.dimensions))
        check_place(scene, scene.start, "start")
        check_place(scene, scene.goal, "goal")
        # All of them are tested: which of them are new is not worth keeping count of at this rate.
        search.change(scene, scene.forbidden())
        self.best_key = self._key_of(scene)
