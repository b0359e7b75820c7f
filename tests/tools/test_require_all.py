"""REQUIRE_ALL=1 turns a skipped test into a failed one; without it a skip stays a skip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

SKIPPING = "import pytest\n\ndef test_that_needs_something() -> None:\n    pytest.skip('no such tool here')\n"


def run_skipping_test(folder: Path, require_all: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(CONFTEST, folder / "conftest.py")
    (folder / "test_skipping.py").write_text(SKIPPING, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env={**os.environ, "REQUIRE_ALL": require_all},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_skip_is_a_failure_where_everything_is_required(tmp_path: Path) -> None:
    done = run_skipping_test(tmp_path, "1")
    assert done.returncode == 1
    assert "no such tool here" in done.stdout


@pytest.mark.parametrize("require_all", ["", "0"])
def test_a_skip_stays_a_skip_elsewhere(tmp_path: Path, require_all: str) -> None:
    assert run_skipping_test(tmp_path, require_all).returncode == 0
