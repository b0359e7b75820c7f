"""Watches that go on: over a disconnect, a restart and at another node, without a gap."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable

import msgspec
import pytest

from bellande_mesh_sync import Mesh
from bellande_mesh_sync.errors import BusyError, CursorGoneError, UsageError
from bellande_mesh_sync.feeds import Watch
from bellande_mesh_sync.values import Change
from tests.mesh.conftest import MeshMaker, Scenario, agree, linked

Play = Callable[[Scenario], None]


async def told(watch: Watch, count: int) -> dict[str, Change]:
    """The next changes, by key."""
    found: dict[str, Change] = {}
    async with asyncio.timeout(20):
        for _ in range(count):
            change = await anext(watch)
            found[change.key] = change
    return found


def of_another_mesh() -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode((1, b"another!", "fleet/", {}))).decode()


async def nothing_more(watch: Watch, mesh: Mesh, key: str) -> None:
    """A write made now is the next thing that is told."""
    await mesh.put(key, "last")
    assert list(await told(watch, 1)) == [key]


def test_a_watch_goes_on_where_another_one_was(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a")
        watch = mesh.watch("fleet/")
        await mesh.put("fleet/before", "1")
        await told(watch, 1)
        cursor = watch.cursor
        watch.close()
        await mesh.put("fleet/new", "1")
        await mesh.put("fleet/new", "2")
        await mesh.delete("fleet/before")
        await mesh.put("other/key", "not asked for")
        again = mesh.watch("fleet/", cursor=cursor)
        found = await told(again, 2)
        assert found["fleet/before"].kind == "delete"
        assert found["fleet/before"].entry is None
        entry = found["fleet/new"].entry
        assert entry is not None
        assert (await mesh.head("fleet/new")).version == entry.version
        await nothing_more(again, mesh, "fleet/end")
        assert again.cursor != cursor
        await nothing_more(mesh.watch("fleet/", cursor=again.cursor), mesh, "fleet/end2")

    play(scenario)


def test_an_empty_cursor_tells_all_there_is_and_then_what_happens(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a", persistent=True)
        await mesh.put_many([(f"fleet/{number}", b"x" * 2_000) for number in range(500)])
        await mesh.put("fleet/large", os.urandom(100_000))
        await mesh.delete("fleet/7")
        watch = mesh.watch("fleet/", cursor="")
        found = await told(watch, 500)
        assert "fleet/7" not in found
        assert all(change.kind == "put" for change in found.values())
        assert len(found) == 500
        await nothing_more(watch, mesh, "fleet/end")

    play(scenario)


def test_what_happens_during_a_replay_is_not_missed(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a", persistent=True)
        await mesh.put_many([(f"fleet/{number}", b"x" * 3_000) for number in range(300)])
        watch = mesh.watch("fleet/", cursor="")
        seen: dict[str, str] = {}
        for _ in range(50):
            change = await anext(watch)
            seen[change.key] = change.version
        assert watch.cursor == ""
        await mesh.put_many([(f"fleet/{number}", b"new") for number in range(0, 300, 3)])
        await mesh.delete("fleet/1")
        await mesh.put("fleet/end", "last")
        async with asyncio.timeout(20):
            async for change in watch:
                seen[change.key] = change.version if change.entry else ""
                if change.key == "fleet/end" and watch.cursor:
                    break
        assert seen.pop("fleet/1") == ""
        assert seen == {entry.key: entry.version async for entry in mesh.keys("fleet/")}

    play(scenario)


def test_a_reader_that_gives_up_waiting_misses_nothing(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a", persistent=True)
        await mesh.put_many([(f"fleet/{number}", b"x" * 3_000) for number in range(300)])
        watch = mesh.watch("fleet/", cursor="")
        found: set[str] = set()
        while len(found) < 300:
            try:
                async with asyncio.timeout(0):
                    found.add((await anext(watch)).key)
            except TimeoutError:
                await asyncio.sleep(0)
        assert len(found) == 300

    play(scenario)


def test_a_cursor_is_good_after_a_restart(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a", persistent=True)
        await mesh.put("fleet/1", "1")
        cursor = mesh.watch("fleet/").cursor
        await mesh.put("fleet/2", "2")
        await mesh.stop()
        await mesh.start()
        await mesh.put("fleet/3", "3")
        watch = mesh.watch("fleet/", cursor=cursor)
        assert set(await told(watch, 2)) == {"fleet/2", "fleet/3"}
        await nothing_more(watch, mesh, "fleet/end")

    play(scenario)


def test_a_cursor_is_good_at_another_node(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        first = await maker.node("a")
        second = await maker.node("b", first)
        await linked(first, second)
        watch = first.watch("fleet/")
        await first.put("fleet/1", "1", ack="all")
        await second.put("fleet/2", "2", ack="all")
        await told(watch, 2)
        cursor = watch.cursor
        await second.put("fleet/3", "3", ack="all")
        await first.delete("fleet/1", ack="all")
        await agree(first, second)
        there = second.watch("fleet/", cursor=cursor)
        found = await told(there, 2)
        assert {key: change.kind for key, change in found.items()} == {"fleet/1": "delete", "fleet/3": "put"}
        await nothing_more(there, first, "fleet/end")

    play(scenario)


def test_a_node_that_is_behind_tells_what_it_learns(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        first = await maker.node("a")
        await first.put("fleet/1", "1")
        cursor = first.watch("fleet/").cursor
        second = await maker.node("b")
        watch = second.watch("fleet/", cursor=cursor)
        await nothing_more(watch, second, "fleet/own")

    play(scenario)


def test_a_writer_and_a_watcher_that_comes_and_goes(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a")
        shown: dict[str, str] = {}
        done = asyncio.Event()

        async def write() -> None:
            for number in range(400):
                await mesh.put(f"fleet/{number % 37}", f"{number}")
                if number % 5 == 0:
                    await mesh.delete(f"fleet/{number % 37}")
            done.set()
            await mesh.put("fleet/end", "last")

        writing = asyncio.create_task(write())
        cursor = ""
        while "fleet/end" not in shown:
            watch = mesh.watch("fleet/", cursor=cursor)
            async with asyncio.timeout(20):
                for _ in range(7):
                    change = await anext(watch)
                    shown[change.key] = change.version if change.entry else ""
                    if change.key == "fleet/end":
                        break
            cursor = watch.cursor
            watch.close()
        await writing
        last = mesh.watch("fleet/", cursor=cursor)
        await mesh.put("fleet/really", "last")
        while (change := await anext(last)).key != "fleet/really":
            shown[change.key] = change.version if change.entry else ""
        shown = {key: version for key, version in shown.items() if version}
        shown["fleet/really"] = change.version
        assert shown == {entry.key: entry.version async for entry in mesh.keys("fleet/")}

    play(scenario)


def test_a_slow_reader_is_told_and_goes_on_from_its_cursor(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bellande_mesh_sync.feeds.FEED_ITEMS_MAX", 10)

    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a")
        watch = mesh.watch("fleet/")
        cursor = watch.cursor
        await mesh.put_many([(f"fleet/{number}", b"x") for number in range(30)])
        for _ in range(10):
            await anext(watch)
            assert watch.cursor == cursor
        with pytest.raises(BusyError):
            await anext(watch)
        again = mesh.watch("fleet/", cursor=cursor)
        assert len(await told(again, 30)) == 30

    play(scenario)


def test_what_is_no_cursor_of_these_keys_is_refused(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        mesh = await maker.node("a")
        await mesh.put("fleet/1", "1")
        cursor = mesh.watch("fleet/").cursor
        with pytest.raises(UsageError):
            mesh.watch("", cursor=cursor)
        with pytest.raises(UsageError):
            mesh.watch("fleet/", cursor="nonsense")
        with pytest.raises(CursorGoneError):
            mesh.watch("fleet/", cursor=of_another_mesh())

    play(scenario)
