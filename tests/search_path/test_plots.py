"""Pictures: what is in the scene is on them, in any dimension, and no screen is needed."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from bellande_mesh_sync.errors import MissingExtraError
from bellande_mesh_sync.search_path.planner import plan_scene, search_of
from bellande_mesh_sync.search_path.plots import draw_progress, draw_scene, draw_steps, frames_of
from bellande_mesh_sync.search_path.scene import scene_of
from bellande_mesh_sync.values import Path
from tests.search_path.scenes import random_boxes


def drawn(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=40)
    return file.getvalue()


@pytest.mark.parametrize(("n", "panels"), [(1, 1), (2, 1), (3, 1), (4, 2), (6, 3), (10, 5)])
def test_scenes_of_any_dimension_are_drawn(n: int, panels: int) -> None:
    start, goal, boxes = random_boxes(n, seed=n, count=10 if n > 1 else 0)
    scene = scene_of(start, goal, np.ones(n), boxes)
    path = plan_scene(scene, time_limit=None, samples=300)
    figure = draw_scene(scene, path, search_of(scene).engine.branches())
    assert len(figure.axes) == panels
    assert drawn(figure).startswith(b"\x89PNG")


def test_each_obstacle_is_on_the_picture() -> None:
    obstacles: list[dict[str, Any]] = [
        {"position": [4, 4], "dimensions": [1, 1]},
        {"center": [2, 2], "radius": 1},
    ]
    figure = draw_scene(scene_of([0, 0], [9, 9], [10, 10], obstacles))
    assert len(figure.axes[0].patches) == 2
    ball = [{"center": [2, 2, 2], "radius": 1}]
    assert drawn(draw_scene(scene_of([0, 0, 0], [9, 9, 9], [10, 10, 10], ball)))


def test_a_search_is_drawn_as_it_goes_on() -> None:
    start, goal, boxes = random_boxes(2, seed=3)
    figures = list(frames_of(scene_of(start, goal, np.ones(2), boxes), count=4, samples_each=100))
    assert len(figures) == 4
    assert "400 samples, length" in figures[-1].axes[0].get_title()


def test_progress_and_step_charts_have_their_lines() -> None:
    told: list[Path] = []
    start, goal, boxes = random_boxes(2, seed=3)
    scene = scene_of(start, goal, np.ones(2), boxes)
    plan_scene(scene, time_limit=None, samples=500, on_progress=told.append)
    assert drawn(draw_progress(told))
    chart = draw_steps(limit=100.0)
    labels = [line.get_label() for line in chart.axes[0].lines]
    assert labels[:3] == ["2-D: 15 steps", "3-D: 18 steps", "4-D: 20 steps"]
    assert len(labels) == 9


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"bellande-mesh-sync\[plots\]"):
        draw_scene(scene_of([0, 0], [9, 9], [10, 10]))
