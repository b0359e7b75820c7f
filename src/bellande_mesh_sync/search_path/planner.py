"""`plan`: a path through a space with obstacles, and a shorter one for as long as there is time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from bellande_mesh_sync.errors import MissingExtraError, NoPathError, UsageError
from bellande_mesh_sync.values import Path

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bellande_mesh_sync.search_path.landmarks import Landmarks
    from bellande_mesh_sync.search_path.scene import Collides, Floats, Obstacle, Scene
    from bellande_mesh_sync.search_path.search import Search

STEP_SHARE: Final = 0.1
"""Of the space's diagonal: the step if none is given. Bellande Limit has the same bound."""
TIME_LIMIT_S: Final = 1.0
SLICE_SAMPLES: Final = 1 << 20
ENGINES: Final = ("auto", "compiled", "numpy")


def plan(
    start: ArrayLike,
    goal: ArrayLike,
    environment: ArrayLike,
    obstacles: Sequence[Obstacle] | Floats = (),
    *,
    step_size: float | None = None,
    is_adaptive: bool = False,
    time_limit: float | None = TIME_LIMIT_S,
    samples: int | None = None,
    seed: int = 0,
    algorithm: str = "auto",
    engine: str = "auto",
    clearance: float = 0.0,
    collides: Collides | None = None,
    resolution: float | None = None,
    landmarks: Landmarks | None = None,
    on_progress: Callable[[Path], object] | None = None,
) -> Path:
    """The shortest path that was found in time.

    Args:
        start: shape (n,), 1 <= n <= 64, in any unit of length. `goal`: the same.
        environment: shape (n,): the space from 0 to these; or (2, n): its lowest and highest corner.
        obstacles: `{"position", "dimensions"}` is a closed box by its lowest corner and sizes, `{"center",
            "radius"}` a closed ball; or an array of shape (m, 2, n), boxes by lowest and highest corner.
        step_size: how far a tree grows at once; a tenth of the space's diagonal if not given.
        is_adaptive: each step is as long as `limit` says there, `step_size` at most. Not compiled.
        time_limit: seconds; None: none, then `samples` is needed.
        samples: end after so many. Without a time limit, equal calls give equal paths.
        algorithm: `auto` (all of them), `rrt_connect` (the first path, smoothed), `informed_rrt_star`,
            `rrt_star` (plain, not smoothed).
        engine: `compiled` needs numba and knows no `collides`; `numpy`; `auto`: compiled where it can be.
        clearance: stay away from obstacles by this.
        collides: asked with places of shape (k, n) for k truth values, besides the obstacles.
        resolution: how far apart those places are at most; a two-hundredth of the diagonal if not given.
        landmarks: a memory of earlier paths in this space: the search begins with it, and adds to it.
        on_progress: called with each path that is shorter than the last one.

    Raises:
        InvalidSceneError: the scene cannot be planned; it says what is wrong.
        NoPathError: none was found in time. There may be one.
        UsageError, MissingExtraError: such an algorithm, engine or limit there is not.
    """
    from bellande_mesh_sync.search_path.scene import scene_of

    scene = scene_of(
        start, goal, environment, obstacles, clearance=clearance, collides=collides, resolution=resolution
    )
    return plan_scene(
        scene, step_size=step_size, is_adaptive=is_adaptive, time_limit=time_limit, samples=samples,
        seed=seed, algorithm=algorithm, engine=engine, landmarks=landmarks, on_progress=on_progress,
    )  # fmt: skip


def plan_scene(
    scene: Scene,
    *,
    step_size: float | None = None,
    is_adaptive: bool = False,
    time_limit: float | None = TIME_LIMIT_S,
    samples: int | None = None,
    seed: int = 0,
    algorithm: str = "auto",
    engine: str = "auto",
    landmarks: Landmarks | None = None,
    on_progress: Callable[[Path], object] | None = None,
    take_part: Callable[[Search], bool] | None = None,
) -> Path:
    """As `plan`, for a scene that is checked already.

    Args:
        take_part: called after every slice; may `offer` paths to the search, and ends it with False.
    """
    if time_limit is None and samples is None:
        raise UsageError(reason="a search needs a time limit, a number of samples, or both")
    if (time_limit is not None and not time_limit > 0) or (samples is not None and samples < 1):
        raise UsageError(reason="the limits of a search must be above 0")
    if is_adaptive:
        engine = not_compiled(engine)
    compile_s = load_engine(scene, engine)
    began = now()
    search = search_of(
        scene, step_size=step_size, is_adaptive=is_adaptive, seed=seed, algorithm=algorithm, engine=engine
    )
    teller = Teller(search, algorithm, seed, began, compile_s, on_progress)
    if landmarks is not None:
        search.begin_with(landmarks.way(scene, search.engine))
        teller.look()
    run(search, teller, time_limit, samples, take_part)
    if search.way is None:
        raise NoPathError(samples=search.samples, seconds=round(teller.seconds(), 3))
    if landmarks is not None:
        landmarks.learn(search.points())
    return teller.path()


def run(
    search: Search,
    teller: Teller,
    time_limit: float | None,
    samples: int | None,
    take_part: Callable[[Search], bool] | None = None,
) -> None:
    """Slice after slice, until a limit is reached or nothing can be gained any more."""
    while not search.is_done:
        if time_limit is not None and teller.seconds() >= time_limit:
            return
        left = SLICE_SAMPLES if samples is None else samples - search.samples
        if left <= 0:
            return
        search.advance(left)
        teller.look()
        if take_part is not None and not take_part(search):
            return


class Teller:
    """Looks at the clock, and tells of each shorter path."""

    def __init__(
        self,
        search: Search,
        algorithm: str,
        seed: int,
        began: float,
        compile_s: float,
        on_progress: Callable[[Path], object] | None,
    ) -> None:
        self._search = search
        self._algorithm = algorithm
        self._seed = seed
        self._compile_s = compile_s
        self._on_progress = on_progress
        self._began = began
        self._first_path_s: float | None = None if search.way is None else 0.0
        self._told = search.cost
        self._scene = search.scene

    def seconds(self) -> float:
        return now() - self._began

    def look(self) -> None:
        if self._search.scene is not self._scene:  # What is the shortest in another scene may be longer.
            self._scene, self._told = self._search.scene, math.inf
        if self._search.cost >= self._told:
            return
        if self._first_path_s is None:
            self._first_path_s = self.seconds()
        self._told = self._search.cost
        if self._on_progress is not None:
            self._on_progress(self.path())

    def path(self) -> Path:
        search = self._search
        bound = search.scene.lower_bound
        return Path(
            points=search.points(),
            cost=search.cost,
            lower_bound=bound,
            gap=max(0.0, search.cost / bound - 1.0) if bound else 0.0,
            samples=search.samples,
            first_cost=search.first_cost,
            first_path_s=self._first_path_s or 0.0,
            seconds=self.seconds(),
            compile_s=self._compile_s,
            algorithm=self._algorithm,
            engine=search.engine.name,
            seed=self._seed,
        )


def load_engine(scene: Scene, engine: str) -> float:
    """Compile, or load compiled code, if this scene is to be planned by it; the seconds that this took."""
    if not _is_compiled(scene, engine):
        return 0.0
    began = now()
    from bellande_mesh_sync.search_path.engine_compiled import warm

    warm()
    return now() - began


def search_of(
    scene: Scene,
    *,
    step_size: float | None = None,
    is_adaptive: bool = False,
    seed: int = 0,
    algorithm: str = "auto",
    engine: str = "auto",
) -> Search:
    """A search that has not begun."""
    from bellande_mesh_sync.search_path.search import Search

    if not 0 <= seed < 1 << 64:
        raise UsageError(reason=f"the seed {seed!r} is not from 0 to 2^64 - 1")
    step = STEP_SHARE * scene.diagonal if step_size is None else float(step_size)
    if not 1e-6 * scene.diagonal <= step < float("inf"):
        reason = f"the step {step_size!r} is below a millionth of the space's diagonal, or not finite"
        raise UsageError(reason=reason)
    if _is_compiled(scene, engine):
        from bellande_mesh_sync.search_path.engine_compiled import CompiledEngine

        return Search(scene, CompiledEngine(scene, step, seed), algorithm)
    from bellande_mesh_sync.search_path.engine_numpy import NumpyEngine

    return Search(scene, NumpyEngine(scene, step, seed, is_adaptive=is_adaptive), algorithm)


def not_compiled(engine: str) -> str:
    """The engine for what cannot be compiled."""
    if engine == "compiled":
        raise UsageError(reason="adaptive steps are not compiled; leave the engine to itself")
    return "numpy" if engine == "auto" else engine


def _is_compiled(scene: Scene, engine: str) -> bool:
    if engine not in ENGINES:
        raise UsageError(reason=f"engine {engine!r} is none of {', '.join(ENGINES)}")
    if engine == "compiled" and scene.collides is not None:
        raise UsageError(reason="a collision function cannot be compiled; leave the engine to itself")
    if engine == "numpy" or scene.collides is not None:
        return False
    return _can_compile(is_needed=engine == "compiled")


def _can_compile(*, is_needed: bool) -> bool:
    try:
        import numba  # noqa: F401
    except ImportError:
        if is_needed:
            raise MissingExtraError(what="compiled planning", package="numba", extra="path") from None
        return False
    return True


def now() -> float:
    """Seconds, for differences."""
    import time

    return time.perf_counter()
