"""The examples of the README and the documentation do what they say."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.examples import ROOT, Example, examples

EXAMPLE_SECONDS_MAX = 60
TUTORIAL_SECONDS_MAX = 120

PYTHON_EXAMPLES = examples("python")
SETTLE = Path(__file__).with_name("settle.py")


def run(command: list[str], cwd: Path, environment: dict[str, str], seconds: float) -> str:
    """Run to the end in a session of its own, of which nothing outlives the test."""
    child = subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = child.communicate(timeout=seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    assert child.returncode == 0, f"exit code {child.returncode}\n{stdout}\n{stderr}"
    return stdout


@pytest.mark.parametrize("example", PYTHON_EXAMPLES, ids=str)
def test_a_python_example_runs_as_pasted(
    example: Example, tmp_path: Path, environment: dict[str, str]
) -> None:
    script = tmp_path / "example.py"
    script.write_text(example.code, encoding="utf-8")
    output = run([sys.executable, str(script)], tmp_path, environment, EXAMPLE_SECONDS_MAX)
    assert output.strip(), "an example shows something"


def test_the_readme_and_the_tutorial_have_python_examples() -> None:
    assert {"README.md", "docs/tutorial.md"} <= {example.page for example in PYTHON_EXAMPLES}


def follow(page: str, folder: Path, environment: dict[str, str]) -> str:
    """Type the commands of a page one block after the other; what they printed. Nodes end with the page."""
    script = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    started: dict[str, None] = {}
    for example in [example for example in examples("sh") if example.page == page]:
        script.append(example.code)
        homes = re.findall(r"bms start --home (\w+)", example.code)
        started.update(dict.fromkeys(homes))
        if homes or "bms wake" in example.code:
            script.append(f"{sys.executable} {SETTLE} {' '.join(started)}")
    return run(["bash", "-c", "\n".join(script)], folder, environment, TUTORIAL_SECONDS_MAX)


def test_the_tutorial_works_from_top_to_bottom(tmp_path: Path, environment: dict[str, str]) -> None:
    output = follow("docs/tutorial.md", tmp_path, environment)
    for words in ("berth 4", "berth 7", "fog", "crane-1", "crane-2"):
        assert words in output
    after_the_delete = output.rpartition("fog")[2]
    assert "fleet/plans/dock" not in after_the_delete


def test_the_guide_to_conflicts_works_from_top_to_bottom(tmp_path: Path, environment: dict[str, str]) -> None:
    output = follow("docs/guides/conflicts.md", tmp_path, environment)
    listed, compared, settled = output.partition("\n*\t")[0], output, output.rpartition("/berth: ")[2]
    assert "\nfleet/plans/dock\t2\tcrane-" in listed
    assert "  /berth: 7 -> 4\n" in compared
    assert len(settled.splitlines()) == 2, "the rest of that line, the receipt, and no conflict any more"


def test_the_readme_names_the_two_commands_of_a_newcomer() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in text
    assert "make test" in text
