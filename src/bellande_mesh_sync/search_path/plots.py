"""Pictures of scenes, paths and searches. They need the extra `plots`, and no screen.

Two dimensions are drawn as they are, three in perspective, more as projections on pairs of axes: there a
path may seem to cross an obstacle that it passes along another axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from bellande_mesh_sync.errors import MissingExtraError
from bellande_mesh_sync.search_path.scene import Scene
from bellande_mesh_sync.values import Path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

_WALL: Final = "#9aa5b1"
_TREE: Final = "#7fb3d5"
_PATH: Final = "#c0392b"
_ENDS: Final = "#1e8449"
_PROJECTIONS_MAX: Final = 6
_BOX_CORNERS: Final = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)])
_BOX_EDGES: Final = [
    (a, b) for a in range(8) for b in range(a + 1, 8) if np.abs(_BOX_CORNERS[a] - _BOX_CORNERS[b]).sum() == 1
]


def figure(width: float = 6.0, height: float = 4.5) -> Figure:
    """An empty one, in inches. MissingExtraError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(what="a picture", package="matplotlib", extra="plots") from None
    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def draw_scene(scene: Scene, path: Path | None = None, branches: Floats | None = None) -> Figure:
    """A scene, and what was found in it.

    Args:
        branches: moves of a search's trees, shape (k, 2, n).
    """
    n = scene.dimensions
    if n <= 3:
        made = figure()
        axes = made.add_subplot(projection="3d" if n == 3 else None)
        (_draw_solid if n == 3 else _draw_flat)(axes, scene, path, branches, (0, min(1, n - 1)))
        return made
    pairs = [(axis, axis + 1) for axis in range(0, n - 1, 2)][:_PROJECTIONS_MAX]
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    made = figure(3.2 * columns, 3.2 * rows)
    for place, pair in enumerate(pairs):
        _draw_flat(made.add_subplot(rows, columns, place + 1), scene, path, branches, pair)
    return made


def draw_progress(told: Sequence[Path]) -> Figure:
    """The length of the best path over time, as `on_progress` tells it."""
    made = figure(6.0, 3.0)
    axes = made.add_subplot()
    times = [each.seconds * 1e3 for each in told]
    axes.step(times, [each.cost for each in told], where="post", color=_PATH)
    axes.axhline(told[-1].lower_bound, color=_WALL, linestyle="--", linewidth=1, label="straight distance")
    axes.set_xscale("log")
    axes.set_xlabel("time [ms]")
    axes.set_ylabel("length")
    axes.legend(frameon=False)
    return made


def draw_steps(limit: float = 75.0, dimensions: Sequence[int] = range(2, 11)) -> Figure:
    """Step charts: what is left to the goal after each step, from one corner of a cube of 1000 to the other.

    A step has the length `limit`, so it takes about 1000 sqrt(n) / limit of them in n dimensions.
    """
    from bellande_mesh_sync.search_path.step import step

    made = figure()
    axes = made.add_subplot()
    for n in dimensions:
        here, goal = np.zeros(n), np.full(n, 1000.0)
        left = [float(np.linalg.norm(goal - here))]
        while left[-1] > 0.0:
            here = np.asarray(step(here, goal, limit))
            left.append(float(np.linalg.norm(goal - here)))
        axes.plot(left, marker=".", linewidth=1, label=f"{n}-D: {len(left) - 1} steps")
    axes.set_xlabel("step")
    axes.set_ylabel("distance to the goal")
    axes.legend(frameon=False, fontsize="small")
    return made


def frames_of(
    scene: Scene, *, count: int = 24, samples_each: int = 40, seed: int = 0, step_size: float | None = None
) -> Iterator[Figure]:
    """A search as it goes on: a picture after each so many samples."""
    from bellande_mesh_sync.search_path.planner import search_of

    search = search_of(scene, seed=seed, step_size=step_size)
    for _ in range(count):
        wanted = search.samples + samples_each
        while search.samples < wanted and not search.is_done:
            search.advance(wanted - search.samples)
        made = draw_scene(scene, None, search.engine.branches())
        axes = made.axes[0]
        if search.way is not None:
            axes.plot(*search.way.T[: 3 if scene.dimensions == 3 else 2], color=_PATH, linewidth=2)
        length = "no path yet" if search.way is None else f"length {search.cost:.2f}"
        axes.set_title(f"{search.samples} samples, {length}", fontsize="medium")
        yield made


def _draw_flat(
    axes: Any, scene: Scene, path: Path | None, branches: Floats | None, pair: tuple[int, int]
) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Circle, Rectangle

    across, up = pair
    obstacles = scene.obstacles
    for low, high, radius in zip(obstacles.low, obstacles.high, obstacles.radii, strict=True):
        look: dict[str, Any] = {
            "facecolor": _WALL,
            "edgecolor": "none",
            "alpha": 0.9 if scene.dimensions <= 2 else 0.15,
        }
        if radius < 0.0:
            size = high - low
            axes.add_patch(Rectangle((low[across], low[up]), size[across], size[up], **look))
        else:
            middle = 0.5 * (low + high)
            axes.add_patch(Circle((middle[across], middle[up]), radius, **look))
    if branches is not None:
        axes.add_collection(LineCollection(list(branches[:, :, [across, up]]), colors=_TREE, linewidths=0.5))
    if path is not None:
        corners = np.array(path.points)
        axes.plot(corners[:, across], corners[:, up], color=_PATH, linewidth=2)
    ends = np.stack([scene.start, scene.goal])
    axes.plot(ends[:, across], ends[:, up], "o", color=_ENDS)
    axes.set_xlim(scene.low[across], scene.high[across])
    axes.set_ylim(scene.low[up], scene.high[up])
    axes.set_aspect("equal")
    axes.set_xlabel(f"x{across}")
    axes.set_ylabel(f"x{up}")


def _draw_solid(
    axes: Any, scene: Scene, path: Path | None, branches: Floats | None, pair: tuple[int, int]
) -> None:
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    edges = []
    for low, high, radius in zip(
        scene.obstacles.low, scene.obstacles.high, scene.obstacles.radii, strict=True
    ):
        if radius < 0.0:
            corners = low + _BOX_CORNERS * (high - low)
            edges += [corners[[a, b]] for a, b in _BOX_EDGES]
        else:
            around, over = np.meshgrid(np.linspace(0, 2 * np.pi, 17), np.linspace(0, np.pi, 9))
            unit = np.stack([np.cos(around) * np.sin(over), np.sin(around) * np.sin(over), np.cos(over)])
            ball = 0.5 * (low + high)[:, None, None] + radius * unit
            axes.plot_wireframe(*ball, color=_WALL, linewidth=0.5)
    if edges:
        axes.add_collection3d(Line3DCollection(edges, colors=_WALL, linewidths=0.6))
    if branches is not None and len(branches):
        axes.add_collection3d(Line3DCollection(list(branches), colors=_TREE, linewidths=0.5))
    if path is not None:
        axes.plot(*np.array(path.points).T, color=_PATH, linewidth=2)
    axes.plot(*np.stack([scene.start, scene.goal]).T, "o", color=_ENDS)
    axes.set_xlim(scene.low[0], scene.high[0])
    axes.set_ylim(scene.low[1], scene.high[1])
    axes.set_zlim(scene.low[2], scene.high[2])
