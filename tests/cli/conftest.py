"""Real nodes for the tests of the command line, and ways to call it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bellande_mesh_sync.cli.main import main
from tests.mesh.programs import start_node

COMMAND = [sys.executable, "-m", "bellande_mesh_sync"]


@dataclass(frozen=True)
class Ran:
    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON document and nothing else."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The code of the error, which is one JSON document on standard error."""
        assert self.out == b""
        return str(json.loads(self.err)["error"]["code"])


@dataclass(frozen=True)
class Bms:
    """Calls `bms` in this process, for one home."""

    home: Path
    capsys: pytest.CaptureFixture[bytes]

    def __call__(self, *arguments: str, home: Path | None = None) -> Ran:
        self.capsys.readouterr()
        code = main(["--home", str(home or self.home), *arguments])
        out, err = self.capsys.readouterr()
        return Ran(code, out, err.decode())

    def process(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """In a process of its own, where standard input and output are real."""
        command = [*COMMAND, "--home", str(self.home), *arguments]
        return subprocess.run(command, timeout=60, check=False, **{"capture_output": True, **options})


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a node that runs for all tests; each takes keys of its own."""
    home = tmp_path_factory.mktemp("node") / "home"
    assert main(["init", "--home", str(home), "--name", "crane-1", "--mesh", "harbour"]) == 0
    program, _ = start_node(home)
    with program:
        yield home


@pytest.fixture
def bms(shared_home: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> Bms:
    return Bms(shared_home, capsysbinary)


@pytest.fixture
def space(request: pytest.FixtureRequest) -> str:
    """A prefix that no other test uses."""
    name: str = request.node.name
    return "".join(c if c.isalnum() else "-" for c in name)
