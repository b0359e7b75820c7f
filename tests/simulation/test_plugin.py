"""The pytest plug-in, as its users have it: in a pytest of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = "bellande_mesh_sync.pytest_plugin"

MERGES = """
def longest(siblings):
    return max((sibling.data for sibling in siblings), key=len)


def greatest(siblings):
    return max(sibling.data for sibling in siblings)
"""

CONFLICT = """
import pytest


@pytest.mark.mesh_world(nodes=2, seeds=3, link="wifi", merge={"tasks": "merges:MERGE"})
def test_conflict(mesh_world):
    mesh_world.partition([0], [1])
    mesh_world.run(mesh_world.mesh(0).put("tasks/a", b"left"))
    mesh_world.run(mesh_world.mesh(1).put("tasks/a", b"gone"))
    mesh_world.settle()
    assert mesh_world.run(mesh_world.mesh(0).get("tasks/a")).data == b"left"
"""


@dataclass(frozen=True)
class Pytest:
    folder: Path

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(textwrap.dedent(text), encoding="utf-8")

    def __call__(self, *arguments: str, code: int) -> str:
        """Run it; the plug-in is asked for by name, so that an installed one does not count."""
        environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "80"}
        command = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", *arguments]
        ran = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran.stdout


@pytest.fixture
def run(tmp_path: Path) -> Pytest:
    run = Pytest(tmp_path)
    run.write("merges.py", MERGES)
    return run


def test_a_test_runs_once_for_each_seed(run: Pytest) -> None:
    run.write("test_it.py", CONFLICT.replace("MERGE", "greatest"))
    printed = run("-v", code=0)
    assert re.findall(r"test_conflict\[(seed\d+)\] PASSED", printed) == ["seed1", "seed2", "seed3"]


def test_a_failure_shows_the_seed_the_story_and_the_command_for_it_again(run: Pytest) -> None:
    run.write("test_it.py", CONFLICT.replace("MERGE", "longest"))
    printed = run(code=1)
    assert "Violation: merge: n" in printed
    assert "merges:longest is not commutative on tasks/a" in printed
    assert "- mesh_world, seed 2 -" in printed
    assert re.search(r"what happened to tasks/a, up to \d+\.\d{6} s:\n +1\.0\d+ +n0 < WriteMany", printed)
    again = re.findall(r"^again: pytest '(.*)' (--mesh-seed) (\d)$", printed, re.MULTILINE)
    assert [seed for _, _, seed in again] == ["1", "2", "3"]
    alone = run(*again[1], code=1)
    assert "1 failed" in alone
    assert _violation(alone) == _violation(printed.partition("test_conflict[seed2]")[2])


def _violation(printed: str) -> list[str]:
    return re.findall(r"^E  .*$", printed.partition("test_it.py:")[0], re.MULTILINE)


def test_the_traceback_is_the_tests_own(run: Pytest) -> None:
    run.write("test_it.py", CONFLICT.replace("MERGE", "longest"))
    printed = run("--mesh-seed", "1", code=1)
    assert ">       mesh_world.settle()" in printed
    assert "run_until" not in printed


def test_an_error_inside_a_coroutine_is_shown_where_it_is(run: Pytest) -> None:
    run.write(
        "test_it.py",
        """
        async def program(mesh):
            await mesh.put("a/b", b"1")
            assert (await mesh.get("a/b")).data == b"2", "as planted"

        def test_it(mesh_world):
            mesh_world.run(program(mesh_world.mesh(0)))
        """,
    )
    printed = run(code=1)
    assert ">       assert (await mesh.get" in printed
    assert "test_it[seed1]" in printed


def test_seeds_can_be_chosen_from_outside(run: Pytest) -> None:
    run.write("test_it.py", CONFLICT.replace("MERGE", "greatest"))
    assert "test_conflict[seed77] PASSED" in run("-v", "--mesh-seed", "77", code=0)
    assert "5 passed" in run("--mesh-seeds", "5", code=0)


def test_seeds_may_be_a_list_and_stand_beside_other_parameters(run: Pytest) -> None:
    run.write(
        "test_it.py",
        """
        import pytest

        @pytest.mark.parametrize("size", [1, 2])
        @pytest.mark.mesh_world(seeds=[4, 9])
        def test_it(mesh_world, size):
            assert mesh_world.seed in (4, 9)
            assert len(mesh_world.nodes) == 3
        """,
    )
    assert "4 passed" in run("--strict-markers", code=0)


def test_a_marker_without_names_is_refused(run: Pytest) -> None:
    run.write(
        "test_it.py",
        "import pytest\n@pytest.mark.mesh_world(5)\ndef test_it(mesh_world): ...\n",
    )
    assert "takes names: mesh_world(nodes=5)" in run(code=2)


@pytest.mark.parametrize(
    ("marker", "options", "told"),
    [
        ("seeds=0", (), "seeds=0 is no count"),
        ("seeds='12'", (), "seeds='12' is no count"),
        ("seeds=2", ("--mesh-seeds", "0"), "--mesh-seeds=0 is no count"),
        ("node=3", (), "takes no 'node'; it takes nodes, seeds"),
    ],
)
def test_wrong_seeds_and_names_are_refused(
    run: Pytest, marker: str, options: tuple[str, ...], told: str
) -> None:
    run.write(
        "test_wrong.py",
        f"import pytest\n@pytest.mark.mesh_world({marker})\ndef test_it(mesh_world): pass\n",
    )
    assert told in " ".join(run("test_wrong.py", *options, code=2).split())


def test_nothing_is_loaded_for_tests_that_do_not_ask_for_it(run: Pytest) -> None:
    run.write(
        "test_it.py",
        """
        import sys

        def test_it():
            loaded = [name for name in sys.modules if name.startswith("bellande_mesh_sync")]
            assert loaded == ["bellande_mesh_sync", "bellande_mesh_sync.pytest_plugin"]
        """,
    )
    run(code=0)


def test_the_package_registers_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"mesh_world": PLUGIN}
