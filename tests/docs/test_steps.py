"""Pages with files and commands work when somebody follows them, and print what they say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.docs.steps import is_printed, pages_of_steps, steps, write

COMMAND_SECONDS_MAX = 120


@pytest.mark.parametrize("page", pages_of_steps())
def test_a_page_works_from_top_to_bottom(
    page: str,
    tmp_path: Path,
    environment: dict[str, str],
) -> None:
    # The plug-in is asked for by name, so that this also holds where an older version is installed.
    plugin = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "bellande_mesh_sync.pytest_plugin"}
    environment = {**environment, **plugin, "COLUMNS": "80"}
    printed = ""
    for step in steps(page):
        where = f"{page}:{step.line}"
        if step.what in ("file", "change"):
            write(step, tmp_path)
        elif step.what == "output":
            assert is_printed(step.text, printed), f"{where} is not what was printed:\n{printed}"
        elif step.language == "sh":
            ran = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", step.text],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=COMMAND_SECONDS_MAX,
                check=False,
            )
            printed = ran.stdout
            assert (ran.returncode != 0) == (step.what == "fails"), f"{where}\n{ran.stdout}\n{ran.stderr}"


def test_the_simulator_has_a_page_of_steps() -> None:
    assert "docs/guides/simulate.md" in pages_of_steps()
    assert {"file", "change", "run", "fails", "output"} == {
        step.what for step in steps("docs/guides/simulate.md")
    }


@pytest.mark.parametrize(
    ("expected", "is_there"),
    [
        ("one\ntwo\n", True),
        ("t...\n", True),
        ("one\n...\nfour\n", True),
        ("one\nthree\n", False),
        ("two\n...\none\n", False),
        ("on\n", False),
    ],
)
def test_output_is_compared_line_by_line(expected: str, is_there: bool) -> None:
    assert is_printed(expected, "one\ntwo\nthree\nfour\n") is is_there
