"""Nothing acknowledged is lost when a node is killed, at any moment, under full write load."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from bellande_mesh_sync import Config, MeshOptions, init_with_options
from bellande_mesh_sync.store.sqlite import DATABASE_NAME
from tests.mesh.programs import Program, start_node
from tests.mesh.writer_program import value_of

WRITER = str(Path(__file__).with_name("writer_program.py"))


@pytest.fixture
def bystanders(tmp_path: Path) -> Iterator[list[dict[str, Any]]]:
    """Two nodes that live through all of it."""
    with ExitStack() as exits:
        ready: list[dict[str, Any]] = []
        for name in ("b", "c"):
            bootstrap = [argument for each in ready for argument in ("--bootstrap", each["tcp"])]
            program, line = start_node(tmp_path / name, "--dev", *bootstrap)
            exits.enter_context(program)
            ready.append({**line, "program": program, "home": tmp_path / name})
        yield ready


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("kills", [50, pytest.param(200, marks=pytest.mark.soak)])
def test_no_acknowledged_write_is_lost_in_many_kills(
    tmp_path: Path, bystanders: list[dict[str, Any]], kills: int
) -> None:
    chance = random.Random(20_240_917)
    acked: dict[str, set[str]] = {"local": set(), "all": set()}
    for number in range(kills):
        arguments = [WRITER, str(tmp_path / "a"), str(number), *(each["tcp"] for each in bystanders)]
        with Program(arguments) as writer:
            assert writer.line()["event"] == "ready"
            assert writer.line()["event"] == "linked"
            # The random moment is the point here, not a wait for something to have happened.
            time.sleep(chance.uniform(0.0, 0.4))
            writer.kill()
            for said in writer.waiting_lines():
                assert said["event"] == "acked", said
                acked[said["level"]].update(said["keys"])
    for each in bystanders:
        assert each["program"].terminate() == 0
    assert len(acked["local"]) > 20 * kills
    assert len(acked["all"]) > kills
    assert_holds(tmp_path / "a", acked["local"] | acked["all"])
    for each in bystanders:
        assert_holds(each["home"], acked["all"])


def assert_holds(home: Path, keys: set[str]) -> None:
    """Open the home as a node that is alone, and read every key."""

    async def read() -> None:
        config = Config(listen_address="127.0.0.1:0", http_port=-1, https_port=-1)
        options = MeshOptions(dev_mode=True, enable_persistence=True, persistence_path=str(home))
        async with await init_with_options(config, options) as mesh:
            lost = []
            for key in sorted(keys):
                found = await mesh.get(key)
                if not found.data or found.data.replace(value_of(key), b""):
                    lost.append(key)
            assert not lost

    with closing(sqlite3.connect(home / "data" / DATABASE_NAME)) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    asyncio.run(read())
