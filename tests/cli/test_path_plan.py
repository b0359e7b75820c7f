"""`bms path plan`, in this process and by a node."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Bms
from tests.search_path.scenes import check_path, published_scene

START, GOAL, ENVIRONMENT, OBSTACLES = published_scene()
SCENE = {"start": START, "goal": GOAL, "environment": ENVIRONMENT, "obstacles": OBSTACLES}
BOXES = [
    (each["position"], [a + b for a, b in zip(each["position"], each["dimensions"], strict=True)])
    for each in OBSTACLES
]


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.json"
    path.write_text(json.dumps(SCENE), encoding="utf-8")
    return path


@pytest.mark.parametrize("where", [[], ["--remote"]])
def test_a_path_is_planned_here_or_by_the_node(bms: Bms, scene: Path, where: list[str]) -> None:
    ran = bms("path", "plan", str(scene), *where, "--time-limit", "0.3", "--json")
    assert ran.code == 0, ran.err
    length = check_path(ran.json["points"], START, GOAL, ENVIRONMENT, BOXES)
    assert ran.json["cost"] == pytest.approx(length)
    assert 868.4 < length < 880


def test_equal_seeds_give_equal_paths_here_and_there(bms: Bms, scene: Path) -> None:
    limits = ("--samples", "600", "--time-limit", "30s", "--seed", "5", "--json")
    here = bms("path", "plan", str(scene), *limits).json
    there = bms("path", "plan", str(scene), *limits, "--remote").json
    assert here["points"] == there["points"]
    assert here["seed"] == 5


def test_a_scene_may_be_toml(bms: Bms, tmp_path: Path) -> None:
    path = tmp_path / "scene.toml"
    text = "start = [1, 1]\ngoal = [9, 9]\nenvironment = [[0, 0], [10, 10]]\n"
    path.write_text(text + "[[obstacles]]\ncenter = [5, 5]\nradius = 2\n", encoding="utf-8")
    ran = bms("path", "plan", str(path), "--time-limit", "0.1")
    assert ran.code == 0, ran.err
    assert "length" in ran.text


@pytest.mark.parametrize(
    ("text", "code", "error"),
    [
        ("{", 2, "invalid_scene"),
        ('{"start": [1]}', 2, "invalid_scene"),
        ('{"start": [1], "goal": [2], "environment": [3], "warp": 9}', 2, "invalid_scene"),
        ('{"start": [1], "goal": [2, 3], "environment": [3]}', 2, "invalid_scene"),
        (
            '{"start": [1], "goal": [9], "environment": [10], "obstacles": '
            '[{"position": [4], "dimensions": [1]}], "samples": 50}',
            4,
            "no_path",
        ),
    ],
)
@pytest.mark.parametrize("where", [[], ["--remote"]])
def test_what_cannot_be_planned_says_why(
    bms: Bms, tmp_path: Path, where: list[str], text: str, code: int, error: str
) -> None:
    path = tmp_path / "scene.json"
    path.write_text(text, encoding="utf-8")
    ran = bms("path", "plan", str(path), *where, "--json")
    assert (ran.code, ran.error) == (code, error)


def test_a_file_that_is_not_there_is_named(bms: Bms, tmp_path: Path) -> None:
    ran = bms("path", "plan", str(tmp_path / "none.json"), "--json")
    assert (ran.code, ran.error) == (1, "file_error")


def test_the_group_alone_shows_its_commands(bms: Bms) -> None:
    ran = bms("path")
    assert ran.code == 2
    assert "plan" in ran.err


def test_the_path_is_drawn_into_a_file(bms: Bms, scene: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "path.svg"
    ran = bms("path", "plan", str(scene), "--samples", "300", "--plot", str(drawn), "--json")
    assert ran.code == 0, ran.err
    assert b"<svg" in drawn.read_bytes()
    ran = bms("path", "plan", str(scene), "--samples", "300", "--plot", str(tmp_path / "path.xyz"), "--json")
    assert (ran.code, ran.error) == (2, "usage")


@pytest.mark.parametrize("where", [[], ["--remote"]])
def test_who_shares_a_prefix_later_begins_with_the_best(
    bms: Bms, scene: Path, space: str, where: list[str]
) -> None:
    first = bms("path", "plan", str(scene), "--share", space, *where, "--time-limit", "0.3", "--json")
    assert first.code == 0, first.err
    second = bms("path", "plan", str(scene), "--share", f"{space}/", "--samples", "1", "--json")
    assert second.json["first_cost"] <= first.json["cost"] * (1 + 1e-5)
    assert bms("list", f"{space}/best/", "--json").text.count("/best/") == 1
