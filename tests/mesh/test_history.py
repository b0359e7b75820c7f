"""The past of a real node's keys: kept, read, compared and brought back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from bellande_mesh_sync import Mesh
from bellande_mesh_sync.errors import HistoryGoneError, NotFoundError, UsageError
from tests.mesh.conftest import MeshMaker, agree, eventually, linked

Play = Callable[[Any], None]


async def put(mesh: Mesh, key: str, value: bytes | str) -> int:
    """Write, and return a time at which that is what is visible: nothing later has the same millisecond."""
    await mesh.put(key, value)
    stamp_ms = (await mesh.head(key)).time_ms
    await after(stamp_ms)
    return stamp_ms


async def remove(mesh: Mesh, key: str) -> int:
    await mesh.delete(key)
    stamp_ms = (await mesh.history(key)).versions[0].time_ms
    await after(stamp_ms)
    return stamp_ms


async def after(stamp_ms: int) -> None:
    """Until the clock is past this millisecond."""

    async def is_past() -> bool:
        return datetime.now(UTC).timestamp() * 1000 > stamp_ms + 1

    await eventually(is_past)


def test_versions_are_listed_latest_first_and_the_oldest_are_forgotten(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a", spaces={"fleet": {"history": 2}})
        for number in range(2):
            await mesh.put("fleet/k", f"v{number}")
        found = await mesh.history("fleet/k")
        assert [version.state for version in found.versions] == ["current", "replaced"]
        assert found.complete
        for number in range(2, 5):
            await mesh.put("fleet/k", f"v{number}")
        found = await mesh.history("fleet/k")
        assert [version.version.rpartition(".")[2] for version in found.versions] == ["5", "4", "3"]
        assert [version.replaced_ms is None for version in found.versions] == [True, False, False]
        assert not found.complete
        with pytest.raises(NotFoundError):
            await mesh.history("fleet/nothing")

    play(scenario)


def test_a_value_is_read_as_it_was_at_a_time(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a")
        first = await put(mesh, "fleet/k", "one")
        second = await put(mesh, "fleet/k", "two")
        gone = await remove(mesh, "fleet/k")
        await put(mesh, "fleet/k", "three")
        assert (await mesh.get("fleet/k", at=first)).data == b"one"
        assert (await mesh.get("fleet/k", at=gone - 1)).data == b"two"
        assert (await mesh.get("fleet/k", at=datetime.fromtimestamp(second / 1000, UTC))).data == b"two"
        assert (await mesh.get("fleet/k", at="now")).data == b"three"
        for nothing in (first - 1, gone, "2h ago"):
            with pytest.raises(NotFoundError):
                await mesh.get("fleet/k", at=nothing)
        for wrong in ("yesterday", -1, "2026-13-01"):
            with pytest.raises(UsageError):
                await mesh.get("fleet/k", at=wrong)

    play(scenario)


def test_what_the_history_does_not_reach_back_to_is_said(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a", spaces={"short": {"history": 1}, "none": {"history": 0}})
        times = [await put(mesh, "short/k", f"v{number}") for number in range(3)]
        assert (await mesh.get("short/k", at=times[1])).data == b"v1"
        with pytest.raises(HistoryGoneError):
            await mesh.get("short/k", at=times[0])
        with pytest.raises(HistoryGoneError):
            await mesh.get("short/k", at="1h ago")
        begun = [await put(mesh, "none/k", f"v{number}") for number in range(2)]
        assert (await mesh.get("none/k", at=begun[1])).data == b"v1"
        with pytest.raises(HistoryGoneError):
            await mesh.get("none/k", at=begun[0])
        assert [version.state for version in (await mesh.history("none/k")).versions] == ["current"]

    play(scenario)


def test_old_versions_outlive_a_restart_and_large_ones_can_be_read(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a", persistent=True)
        large = os.urandom(300_000)
        when = await put(mesh, "maps/hall", large)
        version = (await mesh.head("maps/hall")).version
        await mesh.put("maps/hall", b"small")
        await mesh.stop()
        await mesh.start()
        assert (await mesh.get("maps/hall", at=when)).data == large
        assert (await mesh.get("maps/hall", version=version)).data == large
        await mesh.restore_version("maps/hall", version)
        assert (await mesh.get("maps/hall")).data == large
        assert [each.state for each in (await mesh.history("maps/hall")).versions] == [
            "current",
            "replaced",
            "replaced",
        ]

    play(scenario)


def test_a_diff_names_what_was_added_changed_and_deleted(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a", spaces={"none": {"history": 0}})
        for key in ("d/changed", "d/deleted", "d/same", "other/changed", "none/k"):
            when = await put(mesh, key, "old")
        for key in ("d/changed", "d/added", "other/changed", "none/k"):
            await mesh.put(key, "newer")
        await mesh.put("d/brief", "x")
        await mesh.delete("d/brief")
        await mesh.delete("d/deleted")
        found = {each.key: each async for each in mesh.diff("d/", when)}
        assert {key: each.kind for key, each in found.items()} == {
            "d/added": "added",
            "d/changed": "changed",
            "d/deleted": "deleted",
        }
        before, after = found["d/changed"].before, found["d/changed"].after
        assert before is not None
        assert after is not None
        assert (before.size, after.size) == (3, 5)
        assert {each.key async for each in mesh.diff("d/", "now", when)} == set(found)
        assert [(each.key, each.kind) async for each in mesh.diff("none/", when)] == [("none/k", "unknown")]
        one = await mesh.diff_page("d/", when, limit=1)
        rest = await mesh.diff_page("d/", when, cursor=one.cursor)
        assert [each.key for each in (*one.differences, *rest.differences)] == sorted(found)

    play(scenario)


def test_a_restore_writes_new_versions_and_leaves_alone_what_is_not_known(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a", spaces={"none": {"history": 0}})
        for key in ("r/changed", "r/deleted", "r/same", "none/k"):
            when = await put(mesh, key, f"old {key}")
        for key in ("r/changed", "r/added", "none/k"):
            await mesh.put(key, "new")
        await mesh.delete("r/deleted")
        plan = await mesh.restore_page("r/", when, dry_run=True)
        assert [(change.key, change.kind) for change in plan.changes] == [
            ("r/added", "deleted"),
            ("r/changed", "changed"),
            ("r/deleted", "added"),
        ]
        assert (await mesh.get("r/changed")).data == b"new"
        done = await mesh.restore("", when)
        assert (done.written, done.deleted, done.unchanged) == (2, 1, 1)
        assert (done.gone, done.gone_keys) == (1, ("none/k",))
        for key in ("r/changed", "r/deleted", "r/same"):
            value = await mesh.get(key)
            assert value.data == f"old {key}".encode()
            assert value.entry.siblings == 1
        with pytest.raises(NotFoundError):
            await mesh.get("r/added")
        assert (await mesh.get("none/k")).data == b"new"
        again = await mesh.restore("r/", when)
        assert (again.written, again.deleted, again.unchanged, again.gone) == (0, 0, 4, 0)

    play(scenario)


def test_a_version_that_is_not_here_is_told_from_one_that_never_was(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a", spaces={"short": {"history": 1}})
        versions = [(await mesh.put("short/k", f"v{number}")).version for number in range(3)]
        deleted = (await mesh.delete("short/k")).version
        with pytest.raises(HistoryGoneError):
            await mesh.restore_version("short/k", versions[0])
        with pytest.raises(NotFoundError):
            await mesh.restore_version("short/k", versions[0].rpartition(".")[0] + ".99")
        with pytest.raises(UsageError):
            await mesh.restore_version("short/k", "first")
        with pytest.raises(UsageError):
            await mesh.get_past("short/k")
        with pytest.raises(NotFoundError):
            await mesh.get("short/k", version=deleted)
        await mesh.restore_version("short/k", versions[2])
        assert (await mesh.get("short/k")).data == b"v2"
        await mesh.restore_version("short/k", deleted)
        with pytest.raises(NotFoundError):
            await mesh.get("short/k")

    play(scenario)


def test_each_node_keeps_its_own_history_and_they_agree_all_the_same(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        first = await maker.node("a", spaces={"fleet": {"history": 5}})
        second = await maker.node("b", first, spaces={"fleet": {"history": 0}})
        await linked(first, second)
        for number in range(4):
            await first.put("fleet/k", f"v{number}", ack="all")
        late = await maker.node("c", first, spaces={"fleet": {"history": 5}})
        await agree(first, second, late)
        counts = [len((await mesh.history("fleet/k")).versions) for mesh in (first, second, late)]
        assert counts == [4, 1, 1]
        await second.put("fleet/k", "v4", ack="all")
        counts = [len((await mesh.history("fleet/k")).versions) for mesh in (first, second, late)]
        assert counts == [5, 1, 2]
        await agree(first, second, late)

    play(scenario)


def test_writers_that_did_not_know_of_each_other_are_both_in_the_past(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a")
        first = await mesh.put("fleet/k", "one")
        entry = await mesh.head("fleet/k")
        await mesh.put("fleet/k", "two", context=entry.context)
        await mesh.put("fleet/k", "three", context=entry.context)
        both = await mesh.head("fleet/k")
        await after(both.time_ms)
        await mesh.put("fleet/k", "four")
        past = await mesh.get("fleet/k", at=both.time_ms)
        assert (past.data, past.entry.siblings) == (b"three", 2)
        assert len((await mesh.history("fleet/k")).versions) == 4
        assert (await mesh.get("fleet/k", version=first.version)).data == b"one"

    play(scenario)


def test_a_restore_writes_as_the_policy_of_the_space_says(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a", spaces={"stock": {"conflict": "counter"}, "peak": {"conflict": "max"}})
        await mesh.add("stock/bolts", 5)
        when = await put(mesh, "peak/load", "3")
        await mesh.add("stock/bolts", 3)
        await mesh.put("peak/load", "9")
        assert (await mesh.get("stock/bolts", at=when)).data == b"5"
        oldest = (await mesh.history("stock/bolts")).versions[-1]
        assert (await mesh.get("stock/bolts", version=oldest.version)).data == b"5"
        await mesh.restore("", when)
        assert (await mesh.get("stock/bolts")).data == b"5"
        assert (await mesh.get("peak/load")).data == b"9"
        await mesh.add("stock/bolts", 1)
        await mesh.restore_version("stock/bolts", oldest.version)
        assert (await mesh.get("stock/bolts")).data == b"5"

    play(scenario)


def test_a_long_restore_lets_others_have_their_turn(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a")
        keys = [f"many/{number:05d}" for number in range(10_000)]
        await mesh.put_many([(key, b"old") for key in keys])
        when = (await mesh.head(keys[-1])).time_ms
        await after(when)
        await mesh.put_many([(key, b"newer") for key in keys])
        turns = 0

        async def beat() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beating = asyncio.create_task(beat())
        done = await mesh.restore("many/", when)
        beating.cancel()
        assert (done.written, done.gone) == (len(keys), 0)
        assert (await mesh.get(keys[7])).data == b"old"
        # Each 256 keys that are read and each 500 that are written wait at least once.
        assert turns > len(keys) // 256 + len(keys) // 500

    play(scenario)
