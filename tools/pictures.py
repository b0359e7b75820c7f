"""`python -m tools.pictures`: the pictures of docs/search-path, drawn anew; equal code draws equal ones."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bellande_mesh_sync.search_path.planner import plan_scene
from bellande_mesh_sync.search_path.plots import draw_scene, draw_steps, frames_of
from bellande_mesh_sync.search_path.scene import Scene, scene_of
from bellande_mesh_sync.values import Path as Found

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"
SAMPLES = 4000
FRAME_MS = 200


def main() -> int:
    flat = published()
    found = _plan(flat)
    _save(draw_scene(flat, found), "path-2d.svg")
    solid, many = boxes(3, 40, 0.5), boxes(6, 50, 0.3)
    _save(draw_scene(solid, _plan(solid)), "path-3d.svg")
    _save(draw_scene(many, _plan(many)), "path-6d.svg")
    _save(draw_steps(), "steps.svg")
    _animate(flat, "search.gif")
    return 0


def published() -> Scene:
    """The scene of the published picture."""
    sides = [
        ((100, 100), (50, 200)),
        ((600, 150), (100, 100)),
        ((300, 300), (200, 50)),
        ((200, 450), (150, 80)),
    ]
    obstacles = [{"position": list(low), "dimensions": list(size)} for low, size in sides]
    return scene_of([50, 50], [750, 550], [800, 600], obstacles)


def boxes(n: int, count: int, share: float) -> Scene:
    rng = np.random.default_rng(n)
    side = (share / count) ** (1 / n)
    low = rng.uniform(0.0, 1.0 - side, (count, n))
    start, goal = np.full(n, 0.03), np.full(n, 0.97)
    away = [not any(np.all((p >= a) & (p <= a + side)) for p in (start, goal)) for a in low]
    return scene_of(start, goal, np.ones(n), np.stack([low, low + side], axis=1)[away])


def _plan(scene: Scene) -> Found:
    return plan_scene(scene, time_limit=None, samples=SAMPLES)


def _save(figure: Figure, name: str) -> None:
    import matplotlib

    # Ids in an SVG are drawn from this salt, and a date would change with every run.
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(FOLDER / name, metadata={"Date": None})
    print(f"{name}: {(FOLDER / name).stat().st_size / 1024:.0f} KiB")


def _animate(scene: Scene, name: str) -> None:
    from PIL import Image

    images = []
    for figure in frames_of(scene, samples_each=16, step_size=40.0):
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=70)
        images.append(Image.open(drawn).convert("P", palette=Image.Palette.ADAPTIVE, colors=32))
    images[0].save(
        FOLDER / name, save_all=True, append_images=images[1:], duration=FRAME_MS, loop=0, optimize=True
    )
    print(f"{name}: {(FOLDER / name).stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    raise SystemExit(main())
