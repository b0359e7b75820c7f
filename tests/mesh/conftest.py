"""Meshes of whole nodes in this process: real TLS on loopback, real files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from bellande_mesh_sync import Config, Mesh, MeshOptions, init_with_options

Scenario = Callable[["MeshMaker"], Coroutine[Any, Any, None]]
DEADLINE_S = 20.0


class MeshMaker:
    """Makes nodes that are stopped when the scenario ends."""

    def __init__(self, exits: AsyncExitStack, folder: Path) -> None:
        self._exits = exits
        self.folder = folder
        self.nodes: list[Mesh] = []

    async def node(self, name: str, *friends: Mesh, persistent: bool = False, **settings: Any) -> Mesh:
        """A started dev node that calls `friends`. `settings` are fields of Config."""
        settings.setdefault("listen_address", "127.0.0.1:0")
        if friends:
            settings["bootstrap_nodes"] = [(await friend.status()).tcp for friend in friends]
        options: dict[str, Any] = {"dev_mode": True}
        if persistent:
            options |= {"enable_persistence": True, "persistence_path": str(self.folder / name)}
        mesh = await init_with_options(Config(name=name, **settings), MeshOptions(**options))
        await mesh.start()
        self._exits.push_async_callback(mesh.stop)
        self.nodes.append(mesh)
        return mesh

    async def three(self, **settings: Any) -> list[Mesh]:
        """Three nodes, each linked with the two others."""
        first = await self.node("a", **settings)
        nodes = [first, await self.node("b", first, **settings), await self.node("c", first, **settings)]
        await linked(*nodes)
        return nodes


async def linked(*nodes: Mesh) -> None:
    """Until each of these has a link with all the others."""

    async def all_linked() -> bool:
        wanted = {mesh.node_id for mesh in nodes}
        for mesh in nodes:
            views = {view.node for view in await mesh.nodes() if view.linked}
            if not wanted - {mesh.node_id} <= views:
                return False
        return True

    await eventually(all_linked)


async def eventually(condition: Callable[[], Awaitable[bool]], timeout_s: float = DEADLINE_S) -> None:
    """Until `condition` holds; AssertionError if it takes longer than `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110  # what is asked may be in another process
            await asyncio.sleep(0.01)


async def agree(*nodes: Mesh) -> None:
    """Until all of these hold the same keys and values, every byte read again."""

    async def is_equal() -> bool:
        digests = [await mesh.digest() for mesh in nodes]
        return all(digest == digests[0] for digest in digests)

    await eventually(is_equal)
    deep = [await mesh.digest(deep=True) for mesh in nodes]
    assert all(digest == deep[0] for digest in deep)


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scenario], None]:
    """Run a scenario on a loop of its own, and stop every node it made."""

    def run(scenario: Scenario) -> None:
        async def scene() -> None:
            async with AsyncExitStack() as exits:
                await scenario(MeshMaker(exits, tmp_path))

        asyncio.run(scene())

    return run
