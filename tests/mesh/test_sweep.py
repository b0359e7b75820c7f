"""Sweeping in whole nodes: what anybody could still want stays, and what nobody wants goes."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bellande_mesh_sync import Config, Mesh, MeshOptions, init_with_options
from bellande_mesh_sync.errors import CorruptStoreError, NotFoundError, UsageError
from tests.mesh.conftest import MeshMaker, Scenario, agree, linked
from tests.mesh.programs import Program

NO_HISTORY = {"fleet": {"history": 0}}
SWEEPER = str(Path(__file__).with_name("sweeper_program.py"))


def chunks_dir(maker: MeshMaker, name: str) -> Path:
    return maker.folder / name / "chunks"


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.parametrize("persistent", [True, False])
def test_what_was_overwritten_and_deleted_goes(play: Callable[[Scenario], None], persistent: bool) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a", persistent=persistent, spaces=NO_HISTORY)
        kept = os.urandom(200_000)
        await mesh.put("fleet/kept", kept)
        await mesh.put("fleet/old", os.urandom(2_000_000))
        await mesh.put("fleet/old", "small")
        await mesh.put("fleet/gone", os.urandom(2_000_000))
        await mesh.delete("fleet/gone")
        first = await mesh.cleanup_data()
        assert (first.swept, first.waiting_bytes) == (0, 4_000_000)
        assert (await mesh.stats()).gauges["chunks_unreferenced"] == first.waiting
        report = await mesh.cleanup_data(grace=0)
        assert report.swept_bytes == 4_000_000
        stats = await mesh.stats()
        assert stats.gauges["chunk_bytes"] < 220_000
        assert stats.counters["chunk_bytes_swept"] == 4_000_000
        assert (await mesh.get("fleet/kept")).data == kept
        assert (await mesh.verify(deep=True)).ok

    play(scenario)


def test_a_history_keeps_the_bytes_of_its_versions(play: Callable[[Scenario], None]) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a", persistent=True, spaces={"fleet": {"history": 1}})
        bodies = [os.urandom(100_000) for _ in range(3)]
        receipts = [await mesh.put("fleet/map", body) for body in bodies]
        assert (await mesh.cleanup_data(grace=0)).swept_bytes == 100_000
        assert (await mesh.get("fleet/map", version=receipts[1].version)).data == bodies[1]
        await mesh.restore_version("fleet/map", receipts[1].version)
        assert (await mesh.cleanup_data(grace=0)).swept == 0
        assert (await mesh.get("fleet/map")).data == bodies[1]

    play(scenario)


def test_a_reader_and_a_slow_writer_are_not_disturbed(play: Callable[[Scenario], None]) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a", persistent=True, spaces=NO_HISTORY)
        body = os.urandom(3_000_000)
        await mesh.put("fleet/map", body)
        half_written = asyncio.Event()
        go_on = asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield body[:2_000_000]
            half_written.set()
            await go_on.wait()
            yield body[2_000_000:]

        async with mesh.open_value("fleet/map") as stream:
            writing = asyncio.create_task(mesh.put_stream("fleet/copy", slowly(), size=len(body)))
            await half_written.wait()
            await mesh.delete("fleet/map")
            for _ in range(3):
                await mesh.cleanup_data(grace=0)
            assert b"".join([piece async for piece in stream]) == body
        await mesh.cleanup_data(grace=0)
        go_on.set()
        await writing
        assert (await mesh.cleanup_data(grace=0)).swept == 0
        assert (await mesh.get("fleet/copy")).data == body

    play(scenario)


def test_nodes_sweep_each_for_itself_and_still_agree(play: Callable[[Scenario], None]) -> None:
    async def scenario(maker: MeshMaker) -> None:
        first = await maker.node("a", persistent=True, spaces=NO_HISTORY)
        second = await maker.node("b", first, persistent=True, spaces=NO_HISTORY)
        await linked(first, second)
        for number in range(6):
            await first.put(f"fleet/{number % 2}", os.urandom(300_000), ack="all")
            await asyncio.gather(first.cleanup_data(grace=0), second.cleanup_data(grace=0))
        await agree(first, second)
        for mesh in (first, second):
            await mesh.cleanup_data(grace=0)
            assert (await mesh.stats()).gauges["chunk_bytes"] < 700_000
            assert (await mesh.verify(deep=True)).ok

    play(scenario)


def test_the_same_bytes_can_be_written_again_later(play: Callable[[Scenario], None]) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a", persistent=True, spaces=NO_HISTORY)
        body = os.urandom(500_000)
        for _ in range(3):
            await mesh.put("fleet/map", body)
            await mesh.delete("fleet/map")
            await mesh.cleanup_data(grace=0)
            assert bytes_in(chunks_dir(maker, "a")) == 0
        await mesh.put("fleet/map", body)
        assert (await mesh.get("fleet/map")).data == body

    play(scenario)


def test_a_grace_that_is_no_time_is_refused(play: Callable[[Scenario], None]) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a")
        with pytest.raises(UsageError):
            await mesh.cleanup_data(grace=-1)

    play(scenario)


def test_killed_at_any_moment_of_a_sweep_a_node_has_all_that_it_should(tmp_path: Path) -> None:
    chance = random.Random(7)
    acked: dict[str, str] = {}
    sweeps = 0
    for number in range(12):
        with Program([SWEEPER, str(tmp_path / "a"), str(number)]) as program:
            assert program.line()["event"] == "ready"
            # The random moment is the point here, not a wait for something to have happened.
            time.sleep(chance.uniform(0.1, 1.0))
            program.kill()
            for said in program.waiting_lines():
                if said["event"] == "swept":
                    sweeps += said["swept"]
                else:
                    acked[said["key"]] = said["digest"]
    assert sweeps > 0
    asyncio.run(_holds(tmp_path / "a", acked))


async def _holds(home: Path, acked: dict[str, str]) -> None:
    options = MeshOptions(dev_mode=True, enable_persistence=True, persistence_path=str(home))
    mesh: Mesh = await init_with_options(Config(listen_address="127.0.0.1:0", http_port=-1), options)
    async with mesh:
        for key, digest in acked.items():
            try:
                found = (await mesh.head(key)).digest
            except (NotFoundError, CorruptStoreError) as error:
                raise AssertionError(f"{key} was acknowledged: {error}") from error
            # A later write of the key may have been made durable and not been told of.
            assert digest == "" or found
        report = await mesh.verify(deep=True)
        assert report.ok, report
        await mesh.cleanup_data(grace=0)
        report = await mesh.verify(deep=True)
        assert report.ok, report
