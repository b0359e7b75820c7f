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


def test_the_tutorial_works_from_top_to_bottom(tmp_path: Path, environment: dict[str, str]) -> None:
    script = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    started: dict[str, None] = {}
    for example in [example for example in examples("sh") if example.page == "docs/tutorial.md"]:
        script.append(example.code)
        homes = re.findall(r"bms start --home (\w+)", example.code)
        started.update(dict.fromkeys(homes))
        if homes:
            script.append(f"{sys.executable} {SETTLE} {' '.join(started)}")
    output = run(["bash", "-c", "\n".join(script)], tmp_path, environment, TUTORIAL_SECONDS_MAX)
    for words in ("berth 4", "berth 7", "fog", "crane-1", "crane-2"):
        assert words in output
    after_the_delete = output.rpartition("fog")[2]
    assert "fleet/plans/dock" not in after_the_delete


def test_the_readme_names_the_two_commands_of_a_newcomer() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in text
    assert "make test" in text
