"""Keys made anew while a mesh is at work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from bellande_mesh_sync.errors import BusyError, UsageError
from tests.mesh.conftest import MeshMaker, Scenario, eventually

Play = Callable[[Scenario], None]
WRITES = 200


def test_a_new_key_under_load_costs_no_write_and_no_link(play: Play) -> None:
    async def scene(maker: MeshMaker) -> None:
        a, b, c = await maker.three()
        links = {mesh.node_id: (await mesh.stats()).counters.get("links_lost", 0) for mesh in (a, b, c)}
        before = a._alive().runner.datagrams.seal_key
        done = asyncio.Event()

        async def write() -> int:
            count = 0
            while not done.is_set() or count < WRITES:
                await b.put(f"fleet/{count}", b"under load", ack="all", timeout=10)
                count += 1
            return count

        writing = asyncio.create_task(write())
        found = await a.rotate_keys()
        assert (found.what, found.old_until_s) == ("udp", 600)
        key = a._alive().runner.datagrams.seal_key
        assert key != before

        async def is_known() -> bool:
            records = [mesh._alive().core.directory.record_of(a.identity.node) for mesh in (b, c)]
            return all(record is not None and record.seal_key == key for record in records)

        await eventually(is_known)
        done.set()
        assert await writing >= WRITES
        for mesh in (a, b, c):
            assert (await mesh.stats()).counters.get("links_lost", 0) == links[mesh.node_id]
            assert {view.state for view in await mesh.nodes()} == {"alive"}
        with pytest.raises(BusyError):
            await a.rotate_keys()

    play(scene)


def test_there_are_keys_that_are_not_rotated(play: Play) -> None:
    async def scene(maker: MeshMaker) -> None:
        a = await maker.node("a")
        with pytest.raises(UsageError, match="udp"):
            await a.rotate_keys("node")

    play(scene)
