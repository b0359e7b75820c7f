"""Conflicts in a simulated mesh: settled under faults, and what is told of clocks held against the truth."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from bellande_mesh_sync.errors import (
    BellandeMeshError,
    ConflictError,
    IncompleteValueError,
    NotFoundError,
    UsageError,
)
from bellande_mesh_sync.sim.mesh import SimMesh
from bellande_mesh_sync.sim.mesh_world import MeshWorld

KEYS = [f"a/{number}" for number in range(12)]


def test_a_program_lists_reads_and_settles_a_conflict() -> None:
    with MeshWorld(3) as world:
        world.partition([0], [1, 2])
        world.run(world.mesh(0).put("a/b", "left"))
        world.run(world.mesh(1).put("a/b", b"right" * 10_000))
        world.run(world.mesh(1).put("a/calm", "x", ack="local"))
        world.settle()

        async def decide() -> None:
            mesh = world.mesh(2)
            (found,) = (await mesh.conflicts("a/", limit=1)).conflicts
            assert (found.key, found.siblings) == ("a/b", 2)
            assert set(found.authors) == {world.mesh(0).node_id, world.mesh(1).node_id}
            seen = await mesh.siblings("a/b")
            values = {(await mesh.get("a/b", version=view.version)).data for view in seen.siblings}
            assert values == {b"left", b"right" * 10_000}
            (large,) = [view for view in seen.siblings if view.size > 4]
            assert (await mesh.head("a/b", version=large.version)).digest == large.digest
            await mesh.resolve("a/b", large.version, context=seen.context, ack="all")
            assert (await world.mesh(0).get("a/b")).data == b"right" * 10_000
            assert (await world.mesh(0).conflicts()).conflicts == ()
            for nothing, kind in (
                (mesh.resolve("a/b", large.version), ConflictError),
                (mesh.resolve("a/calm", data="y"), NotFoundError),
                (mesh.resolve("a/b"), UsageError),
                (mesh.siblings("a/none"), NotFoundError),
            ):
                with pytest.raises(kind):
                    await nothing

        world.run(decide())


def test_a_new_value_may_come_as_a_stream() -> None:
    with MeshWorld(2) as world:
        world.partition([0], [1])
        for index in range(2):
            world.run(world.mesh(index).put("a/b", str(index)))
        world.settle()

        async def pieces() -> AsyncIterator[bytes]:
            yield b"one"
            yield b"two"

        async def decide() -> bytes:
            with pytest.raises(IncompleteValueError):
                await world.mesh(0).resolve("a/b", data=pieces(), size=7)
            await world.mesh(0).resolve("a/b", data=pieces(), size=6, ack="all")
            return (await world.mesh(1).get("a/b")).data

        assert world.run(decide()) == b"onetwo"


async def write_and_settle(mesh: SimMesh, rng: random.Random) -> None:
    """Write without reading, and now and then settle a conflict, in each of the ways."""
    while True:
        await asyncio.sleep(rng.uniform(0.05, 0.6))
        key = rng.choice(KEYS)
        try:
            if rng.random() < 0.6:
                await mesh.put(key, rng.randbytes(4).hex())
                continue
            page = await mesh.conflicts(rng.choice(KEYS)[: rng.choice([2, 9])], limit=3)
            for found in page.conflicts:
                seen = await mesh.siblings(found.key)
                await asyncio.sleep(rng.uniform(0, 1))  # Others write and settle meanwhile.
                version = rng.choice(seen.siblings).version if rng.random() < 0.7 else None
                data = None if version else f"{mesh.name} {found.version}"
                context = seen.context if rng.random() < 0.7 else None
                await mesh.resolve(found.key, version, data=data, context=context)
        except BellandeMeshError:
            continue  # The disk is full, the node stops, somebody else was quicker.


@pytest.mark.parametrize("seed", range(3))
def test_conflicts_are_settled_under_faults_without_breaking_a_promise(seed: int) -> None:
    """The world's checkers watch each step: nothing is replaced by a write that had not seen it."""
    with MeshWorld(4, seed=seed) as world:
        rng = world.rng("users")
        for index in range(4):
            world.program(index, lambda mesh: write_and_settle(mesh, rng))
        world.faults("kill", "power", "partition", "pause", "disk_full", every_s=6, for_s=60)
        world.advance(90)
        world.stop_programs()
        world.settle()
        listed = [world.run(world.mesh(index).conflicts()).conflicts for index in range(4)]
        assert all(each == listed[0] for each in listed)
        for found in listed[0]:
            world.run(world.mesh(0).resolve(found.key, data="at last", ack="all"))
        world.settle()
        assert [world.run(world.mesh(index).conflicts()).conflicts for index in range(4)] == [()] * 4


@pytest.mark.parametrize("seed", range(4))
def test_what_is_told_of_a_writers_clock_is_never_wrong(seed: int) -> None:
    rng = random.Random(seed)
    with MeshWorld(3, seed=seed) as world:
        offsets_s = [rng.uniform(-40, 15) for _ in range(3)]
        truths: dict[str, tuple[list[int], list[int]]] = {}
        """By version: every node's clock just before and just after the write."""

        def clocks() -> list[int]:
            return [node.clock.now().wall_ms for node in world.nodes]

        known = 0
        for _ in range(12):
            for index, offset_s in enumerate(offsets_s):
                world.set_clock(index, offset_s)
            groups = rng.choice([([0], [1, 2]), ([0, 1], [2]), ([0], [1], [2])])
            world.partition(*groups)
            for index in rng.sample(range(3), 2):
                world.advance(rng.uniform(0, 4))
                before = clocks()
                receipt = world.run(world.mesh(index).put("a/b", "x", ack="local"))
                truths[receipt.version] = (before, clocks())
            world.heal()
            world.advance(rng.uniform(0.5, 40))
            for viewer in range(3):
                for view in world.run(world.mesh(viewer).siblings("a/b")).siblings:
                    before, after = truths[view.version]
                    known += (view.ahead_ms_min is not None) + (view.ahead_ms_max is not None)
                    if view.ahead_ms_min is not None:
                        assert view.ahead_ms_min <= view.time_ms - before[viewer]
                    if view.ahead_ms_max is not None:
                        assert view.ahead_ms_max >= view.time_ms - after[viewer]
        assert known > 50
        world.heal()
