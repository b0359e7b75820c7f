"""Bits that flip on the disk of a real node: found, never spread, set aside, and brought by another node."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from bellande_mesh_sync import Mesh, verify_data
from bellande_mesh_sync.core.data.record import INLINE_BYTES_MAX
from bellande_mesh_sync.errors import BusyError, CorruptStoreError, UsageError
from bellande_mesh_sync.store.sqlite import DATABASE_NAME
from bellande_mesh_sync.values import VerifyProgress, VerifyReport
from tests.mesh.conftest import MeshMaker, agree, eventually, linked
from tests.mesh.test_mesh import Play

LARGE = bytes(range(256)) * (INLINE_BYTES_MAX // 64)


def flip_a_bit(folder: Path, near: bytes, name: str = DATABASE_NAME) -> None:
    """In the file of a node that is stopped, or in one that no cache holds."""
    (path,) = folder.rglob(name)
    raw = bytearray(path.read_bytes())
    raw[raw.index(near)] ^= 4
    path.write_bytes(raw)


def rot_while_it_runs(folder: Path, key: str) -> None:
    """Change a record's body behind the back of a running node."""
    (database,) = folder.rglob(DATABASE_NAME)
    connection = sqlite3.connect(database, timeout=20)
    changed = connection.execute(
        "UPDATE records SET body = CAST(substr(body, 1, length(body) - 1) || x'ff' AS BLOB) WHERE key = ?",
        (key,),
    ).rowcount
    connection.commit()
    connection.close()
    assert changed == 1


async def two(make: MeshMaker) -> tuple[Mesh, Mesh]:
    first = await make.node("a", persistent=True)
    second = await make.node("b", first, persistent=True)
    await linked(first, second)
    return first, second


async def reads(mesh: Mesh, key: str, value: bytes) -> None:
    """Until the node gives this value; every answer before is that the key is damaged."""

    async def is_there() -> bool:
        try:
            return (await mesh.get(key)).data == value
        except CorruptStoreError:
            return False

    await eventually(is_there)


@pytest.mark.timeout(60)
def test_a_record_that_rotted_while_its_node_was_stopped_comes_back_from_its_peer(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, second = await two(make)
        await first.put("fleet/x", b"precious-content", ack="all")
        await first.put("fleet/y", b"other", ack="all")
        await second.stop()
        flip_a_bit(make.folder / "b", b"precious-content")
        await second.start()
        assert (await second.get("fleet/y")).data == b"other"
        await reads(second, "fleet/x", b"precious-content")
        await agree(first, second)
        assert [check["ok"] for check in second.health().values()] == [True] * len(second.health())
        stats = await second.stats()
        assert stats.counters["records_set_aside"] == 1
        assert stats.gauges["damaged_records"] == 0
        (kept,) = (make.folder / "b" / "data" / "damaged").iterdir()
        assert b"recious-content" in kept.read_bytes()
        await second.stop()
        await second.start()
        assert (await second.get("fleet/x")).data == b"precious-content"

    play(scenario)


@pytest.mark.timeout(60)
def test_a_record_that_rots_under_a_running_node_is_found_by_verify_and_brought_back(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, second = await two(make)
        for number in range(20):
            await first.put(f"fleet/{number}", b"value %d" % number, ack="all")
        await second.put("fleet/own", b"its own", ack="all")
        rot_while_it_runs(make.folder / "b", "fleet/7")
        rot_while_it_runs(make.folder / "b", "fleet/own")
        report = await verify_data(second)
        assert not report.ok
        assert report.found == {"record": 2}
        assert (report.repaired, report.unrepaired) == (2, 0)
        assert {each.key for each in report.damaged} == {"fleet/7", "fleet/own"}
        await agree(first, second)
        assert (await second.get("fleet/own")).data == b"its own"
        again = await second.verify(deep=True)
        assert again.ok
        assert again.records == 21
        assert (await first.verify(deep=True)).ok

    play(scenario)


@pytest.mark.timeout(60)
def test_nothing_is_deleted_elsewhere_for_what_rotted_here(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, second = await two(make)
        await first.put("fleet/x", b"one", ack="all")
        await first.put("fleet/x", b"two", ack="all")
        rot_while_it_runs(make.folder / "b", "fleet/x")
        assert (await second.verify()).repaired == 1
        third = await make.node("c", second)
        await agree(first, second, third)
        assert (await third.get("fleet/x")).data == b"two"
        assert (await first.head("fleet/x")).siblings == 1

    play(scenario)


@pytest.mark.timeout(60)
def test_the_only_copy_is_shown_as_damaged_and_not_as_gone_until_it_is_given_up(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        node = await make.node("a", persistent=True)
        await node.put("fleet/w", b"sound")
        await node.put("fleet/x", b"precious-content")
        await node.stop()
        flip_a_bit(make.folder / "a", b"precious-content")
        await node.start()
        report = await node.verify()
        assert (report.found, report.repaired, report.unrepaired) == ({"record": 1}, 0, 1)
        for _ in range(2):
            with pytest.raises(CorruptStoreError, match="fleet/x"):
                await node.get("fleet/x")
            listing = await node.list("fleet/")
            assert [entry.key for entry in listing.entries] == ["fleet/w"]
            assert listing.damaged == ("fleet/x",)
            assert not node.health()["data"]["ok"]
            with pytest.raises(CorruptStoreError):
                await node.digest()
            with pytest.raises(CorruptStoreError):
                await node.put("fleet/x", b"new", if_match="")
            await node.stop()
            await node.start()
        receipt = await node.put("fleet/x", b"new")
        epoch = receipt.version.split(".")[1]
        assert (await node.get("fleet/x")).data == b"new"
        assert node.health()["data"]["ok"]
        assert (await node.get("fleet/w")).version.split(".")[1] != epoch, "no number is given out twice"
        assert (await node.verify()).ok

    play(scenario)


@pytest.mark.timeout(60)
def test_a_damaged_key_can_be_deleted(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        node = await make.node("a", persistent=True)
        await node.put("fleet/x", b"precious-content")
        rot_while_it_runs(make.folder / "a", "fleet/x")
        await node.verify()
        await node.delete("fleet/x")
        assert (await node.list()).damaged == ()
        assert node.health()["data"]["ok"]

    play(scenario)


@pytest.mark.timeout(60)
def test_a_record_from_a_peer_for_a_key_that_rotted_stops_nobody(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, second = await two(make)
        await first.put("fleet/x", b"precious-content", ack="all")
        await second.stop()
        flip_a_bit(make.folder / "b", b"precious-content")
        await first.put("fleet/x", b"newer")
        await second.start()
        await reads(second, "fleet/x", b"newer")
        await agree(first, second)
        assert second.is_running()

    play(scenario)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("deep", [False, True])
def test_a_chunk_that_rots_is_fetched_again_by_its_hash(play: Play, deep: bool) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, second = await two(make)
        await first.put("fleet/large", LARGE, ack="all")
        flip_a_bit(make.folder / "b", LARGE[:512], "pack-000001.bms")
        if deep:
            report = await second.verify(deep=True)
            assert report.found == {"chunk": 1}
            assert (report.repaired, report.damaged[0].key) == (1, "fleet/large")
        else:
            assert (await second.verify()).ok, "whether it is there is all that was asked"
        await reads(second, "fleet/large", LARGE)
        assert (await second.stats()).counters["chunks_mended"] == 1
        await second.stop()
        await second.start()
        assert (await second.verify(deep=True)).ok
        await agree(first, second)

    play(scenario)


@pytest.mark.timeout(60)
def test_a_missing_pack_is_found_without_reading_any(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, second = await two(make)
        await first.put("fleet/large", LARGE, ack="all")
        connection = sqlite3.connect(make.folder / "b" / "data" / DATABASE_NAME, timeout=20)
        connection.execute("DELETE FROM chunks")
        connection.commit()
        connection.close()
        report = await second.verify()
        assert report.found["missing_chunk"] >= 1
        assert report.unrepaired == 0
        await agree(first, second)

    play(scenario)


@pytest.mark.timeout(60)
def test_one_verification_runs_at_a_time_tells_how_it_goes_on_and_ends_with_its_node(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        import asyncio

        node = await make.node("a", persistent=True)
        await node.put_many([(f"fleet/{number}", b"x" * 1000) for number in range(2000)])
        told: list[VerifyProgress] = []
        slow = asyncio.ensure_future(node.verify(bytes_per_s=50_000, on_progress=told.append))

        async def has_begun() -> bool:
            return bool(told) and told[-1].bytes > 0

        await eventually(has_begun)
        with pytest.raises(BusyError):
            await node.verify()
        with pytest.raises(UsageError):
            await node.verify(bytes_per_s=0)
        assert (await node.get("fleet/1")).data == b"x" * 1000
        await node.stop()
        with pytest.raises(CorruptStoreError.__mro__[1], match="stopped"):
            await slow
        await node.start()
        report: VerifyReport = await node.verify()
        assert (report.ok, report.records) == (True, 2000)

    play(scenario)


@pytest.mark.timeout(60)
def test_nodes_that_know_the_same_and_hold_something_else_find_out_who_is_wrong(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first = await make.node("a", persistent=True, sync_interval=0.5)
        second = await make.node("b", first, persistent=True, sync_interval=0.5)
        await linked(first, second)
        for number in range(5):
            await first.put(f"fleet/{number}", b"value %d" % number, ack="all")
        await second.stop()
        connection = sqlite3.connect(make.folder / "b" / "data" / DATABASE_NAME)
        connection.execute("DELETE FROM records WHERE key = 'fleet/3'")
        connection.execute("UPDATE shards SET fingerprint = zeroblob(32)")
        connection.commit()
        connection.close()
        await second.start()
        await reads(second, "fleet/0", b"value 0")

        async def is_back() -> bool:
            return any(entry.key == "fleet/3" for entry in (await second.list()).entries)

        await eventually(is_back)
        await agree(first, second)
        assert (await second.verify()).ok

    play(scenario)
