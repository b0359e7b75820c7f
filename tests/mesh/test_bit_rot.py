"""A record whose bytes changed on the disk: it is found, never spread, and the node says so and stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from bellande_mesh_sync.errors import CorruptStoreError
from bellande_mesh_sync.store.sqlite import DATABASE_NAME
from tests.mesh.conftest import MeshMaker, agree, linked
from tests.mesh.test_mesh import Play


def flip_a_bit(folder: Path, near: bytes) -> None:
    (database,) = folder.rglob(DATABASE_NAME)
    raw = bytearray(database.read_bytes())
    raw[raw.index(near)] ^= 4
    database.write_bytes(raw)


@pytest.mark.timeout(60)
def test_a_write_to_a_key_that_cannot_be_read_fails_and_stops_the_node(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        node = await make.node("a", persistent=True)
        await node.put("fleet/x", b"precious-content")
        await node.stop()
        flip_a_bit(make.folder / "a", b"precious-content")
        await node.start()
        with pytest.raises(CorruptStoreError, match="checksum"):
            await node.put("fleet/x", b"new")
        with pytest.raises(CorruptStoreError):
            await node.wait_stopped()

    play(scenario)


@pytest.mark.timeout(60)
def test_a_record_from_a_peer_for_a_key_that_cannot_be_read_stops_the_node_and_nobody_else(
    play: Play,
) -> None:
    async def scenario(make: MeshMaker) -> None:
        first = await make.node("a", persistent=True)
        second = await make.node("b", first, persistent=True)
        await linked(first, second)
        await first.put("fleet/x", b"precious-content", ack="all")
        await second.stop()
        flip_a_bit(make.folder / "b", b"precious-content")
        await first.put("fleet/x", b"newer")
        await second.start()
        with pytest.raises(CorruptStoreError):
            await second.wait_stopped()
        assert (await first.get("fleet/x")).data == b"newer"
        third = await make.node("c", first)
        await agree(first, third)

    play(scenario)
