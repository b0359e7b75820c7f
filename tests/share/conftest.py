"""Two real nodes of one mesh, a folder beside each, and ways to share it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bellande_mesh_sync.cli.main import main
from bellande_mesh_sync.cli.session import Session
from bellande_mesh_sync.client import Client
from bellande_mesh_sync.share.names import is_part
from bellande_mesh_sync.share.options import Event, Options
from bellande_mesh_sync.share.runner import share_once
from bellande_mesh_sync.share.sharer import Outcome
from tests.mesh.programs import Program, start_node, until

SETTLE_S = 30.0


@dataclass
class Side:
    """A node, and the folder that is shared there."""

    home: Path
    root: Path
    prefix: str
    events: list[dict[str, Any]] = field(default_factory=list)

    def client(self) -> Client:
        return Session(home=str(self.home)).client()

    def share(self, **options: Any) -> Outcome:
        """Once, in this process; what it told is added to `events`."""

        def tell(event: Event) -> None:
            self.events.append(event.document())

        return share_once(str(self.root), self.prefix, self.home, self.client, Options(**options), tell)

    def live(self, *arguments: str) -> Program:
        """`bms share` in a process of its own, until it is told to end."""
        words = ["-m", "bellande_mesh_sync", "--home", str(self.home), "share", str(self.root)]
        return Program([*words, "--as", self.prefix, "--json", *arguments])

    def told(self, event: str) -> list[str]:
        """The paths of which this was told."""
        return sorted(each["path"] for each in self.events if each["event"] == event)

    def write(self, path: str, data: bytes | str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data.encode() if isinstance(data, str) else data)
        return target

    def tree(self) -> dict[str, bytes | None]:
        """What is in the folder: contents of files, None for empty folders. Without our own files."""
        found: dict[str, bytes | None] = {}
        for path in self.root.rglob("*"):
            name = str(path.relative_to(self.root))
            if path.is_symlink() or name == ".bms-share" or is_part(path.name):
                continue
            if path.is_dir():
                if not any(path.iterdir()):
                    found[name] = None
            else:
                found[name] = path.read_bytes()
        return found

    def keys(self) -> dict[str, bytes]:
        """What the mesh has below the prefix, as this node sees it."""
        with self.client() as client:
            base = self.prefix + "/"
            return {item.key.removeprefix(base): b"".join(item.pieces) for item in client.export_items(base)}


def in_step(*sides: Side) -> None:
    """Wait until the nodes hold the same below the prefix."""

    def same() -> bool:
        digests = set()
        for side in sides:
            with side.client() as client:
                digests.add(client.digest(side.prefix)["digest"])
        return len(digests) == 1

    until(same, SETTLE_S, "the nodes are in step")


def settle(*sides: Side, rounds_max: int = 20) -> None:
    """Share on all sides in turn, until nobody has anything left to do."""
    for _ in range(rounds_max):
        done = 0
        for side in sides:
            in_step(*sides)
            outcome = side.share()
            done += outcome.done + outcome.busy
        in_step(*sides)
        if not done:
            return
        time.sleep(0.06)  # Files that are fresher than this are left for later.
    raise AssertionError(f"not settled after {rounds_max} turns: {[side.events[-5:] for side in sides]}")


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The homes of two nodes that run for all tests; each test takes a prefix of its own."""
    folder = tmp_path_factory.mktemp("nodes")
    first, second = folder / "crane", folder / "dock"
    assert main(["init", "--home", str(first), "--name", "crane-1", "--mesh", "harbour"]) == 0
    program, _ = start_node(first)
    with program:
        with Session(home=str(first)).client() as client:
            token = client.invite()
        assert main(["join", token, "--home", str(second), "--name", "dock-1"]) == 0
        other, _ = start_node(second)
        with other:
            yield first, second


@pytest.fixture
def pair(nodes: tuple[Path, Path], tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Side, Side]:
    """A folder beside each of the two nodes, to be shared under a prefix of this test's own."""
    name: str = request.node.name
    prefix = "share/" + "".join(c if c.isalnum() else "-" for c in name)
    sides = []
    for home, root in zip(nodes, (tmp_path / "left", tmp_path / "right"), strict=True):
        root.mkdir()
        sides.append(Side(home, root, prefix))
    return sides[0], sides[1]


@pytest.fixture
def side(pair: tuple[Side, Side]) -> Side:
    return pair[0]


Pair = tuple[Side, Side]
