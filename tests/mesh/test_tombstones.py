"""Deletes on real nodes: forgotten once all have them, and what they ended can still be brought back."""

from __future__ import annotations

import time

import pytest

from bellande_mesh_sync import Mesh
from bellande_mesh_sync.errors import NotFoundError
from tests.mesh.conftest import MeshMaker, agree, eventually, linked
from tests.mesh.test_mesh import Play

QUICK_S = 0.5


async def collected(*nodes: Mesh) -> None:
    """Until none of these holds a tombstone any more."""

    async def is_done() -> bool:
        found = [await mesh.stats() for mesh in nodes]
        return not any(stats.gauges["tombstones"] for stats in found)

    await eventually(is_done)


@pytest.mark.timeout(60)
def test_a_delete_is_forgotten_everywhere_and_its_key_can_be_written_anew(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first = await make.node("a", persistent=True, sync_interval=QUICK_S)
        second = await make.node("b", first, persistent=True, sync_interval=QUICK_S)
        await linked(first, second)
        await first.put("fleet/x", b"1", ack="all")
        await first.put("fleet/y", b"2", ack="all")
        await second.delete("fleet/x", ack="all")
        await collected(first, second)
        assert (await first.status()).records == (await second.status()).records == 1
        assert (await second.stats()).counters["tombstones_collected"] == 1
        await second.stop()
        await second.start()
        with pytest.raises(NotFoundError):
            await second.get("fleet/x")
        await first.put("fleet/x", b"again")
        await linked(first, second)
        await agree(first, second)
        assert (await second.get("fleet/x")).data == b"again"
        assert (await second.status()).conflicts == 0

    play(scenario)


@pytest.mark.timeout(60)
def test_what_was_deleted_is_in_the_history_after_its_delete_was_forgotten(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        mesh = await make.node("a", sync_interval=QUICK_S)
        await mesh.put("fleet/x", b"precious")
        written_ms = (await mesh.head("fleet/x")).time_ms

        async def is_later() -> bool:  # Or the delete may be of the same millisecond.
            return time.time_ns() // 1_000_000 > written_ms

        await eventually(is_later)
        await mesh.delete("fleet/x")
        await collected(mesh)
        found = await mesh.history("fleet/x")
        assert [(each.kind, each.state) for each in found.versions] == [
            ("delete", "replaced"),
            ("put", "replaced"),
        ]
        with pytest.raises(NotFoundError):
            await mesh.get_past("fleet/x", at="now")
        assert [each.kind async for each in mesh.diff("fleet/", written_ms)] == ["deleted"]
        assert (await mesh.restore("fleet/", written_ms)).written == 1
        assert (await mesh.get("fleet/x")).data == b"precious"

    play(scenario)
