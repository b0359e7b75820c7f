"""Conflicts on whole nodes: both sides of a cut write one key, see the same conflict, and settle it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from bellande_mesh_sync import Mesh
from bellande_mesh_sync.core.data.context import context_text
from bellande_mesh_sync.errors import (
    ConflictError,
    IncompleteValueError,
    InvalidKeyError,
    NotFoundError,
    UsageError,
)
from bellande_mesh_sync.values import Conflict
from tests.mesh.conftest import MeshMaker, Scenario, agree, eventually, linked

Play = Callable[[Scenario], None]
UNKNOWN = f"{'ab' * 32}.{'00' * 8}.1"


async def two_apart(make: MeshMaker, **settings: bool) -> tuple[Mesh, Mesh]:
    """Two nodes of one mesh that have not met yet."""
    return await make.node("a", **settings), await make.node("b", **settings)


async def meet(first: Mesh, second: Mesh) -> None:
    await second.register_node((await first.status()).tcp)
    await linked(first, second)
    await agree(first, second)


async def in_conflict(make: MeshMaker, key: str = "fleet/x") -> tuple[Mesh, Mesh]:
    """Two nodes that wrote the key while they were apart, and have met; `second` wrote last."""
    first, second = await two_apart(make)
    await first.put(key, "one")
    await asyncio.sleep(0.002)  # Its stamp is then surely the later one.
    await second.put(key, "two")
    await meet(first, second)
    for mesh in (first, second):  # They agree on what is shown before each has what is not.
        await eventually(partial(has_siblings, mesh, key, 2))
    return first, second


async def has_siblings(mesh: Mesh, key: str, count: int) -> bool:
    return (await mesh.head(key)).siblings == count


async def all_conflicts(mesh: Mesh, prefix: str = "", limit: int = 100) -> list[Conflict]:
    found: list[Conflict] = []
    cursor = ""
    while True:
        page = await mesh.conflicts(prefix, limit=limit, cursor=cursor)
        assert len(page.conflicts) <= limit
        found += page.conflicts
        cursor = page.cursor
        if not cursor:
            return found


def test_both_list_the_same_conflict_one_settles_it_and_both_are_clean(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, second = await in_conflict(make)
        (seen,) = (await first.conflicts()).conflicts
        assert (await second.conflicts()).conflicts == (seen,)
        assert (seen.key, seen.siblings) == ("fleet/x", 2)
        assert dict(zip(seen.authors, seen.author_names, strict=True)) == {
            first.node_id: "a",
            second.node_id: "b",
        }
        assert seen.version == (await first.head("fleet/x")).version
        for mesh in (first, second):
            assert (await mesh.stats()).conflicts == {"fleet": 1}
            assert (await mesh.stats()).gauges["conflicts"] == (await mesh.status()).conflicts == 1
        loser = (await first.siblings("fleet/x")).siblings[1]
        assert (await first.get("fleet/x", version=loser.version)).data == b"one"
        receipt = await first.resolve("fleet/x", loser.version, ack="all")
        for mesh in (first, second):
            assert (await mesh.conflicts()).conflicts == ()
            assert (await mesh.status()).conflicts == 0
            assert (await mesh.stats()).conflicts == {}
            value = await mesh.get("fleet/x")
            assert (value.data, value.version, value.entry.siblings) == (b"one", receipt.version, 1)
            assert value.content_type == "text/plain; charset=utf-8"

    play(scenario)


def test_each_sibling_tells_who_wrote_it_and_what_is_known_of_its_clock(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, second = await make.node("a"), await make.node("b")
        before = await first.put("fleet/x", "zero")
        await meet(first, second)
        await second.sleep(60)
        await eventually(lambda: is_apart(first, second))
        newer = await first.put("fleet/x", "one")
        await second.put("fleet/x", b"two!", content_type="text/x-mine")
        await second.wake()
        await eventually(lambda: has_siblings(first, "fleet/x", 2))
        found = await first.siblings("fleet/x")
        assert [view.is_winner for view in found.siblings] == [True, False]
        assert found.siblings[0].time_ms >= found.siblings[1].time_ms
        views = {view.author_name: view for view in found.siblings}
        assert views["a"].version == newer.version != before.version
        mine, theirs = views["a"], views["b"]
        assert (mine.kind, mine.size, theirs.size) == ("put", 3, 4)
        assert (theirs.author, theirs.content_type) == (second.node_id, "text/x-mine")
        assert theirs.digest == (await second.head("fleet/x", version=theirs.version)).digest
        # It was written after "zero" and before it arrived, and both clocks are the same one.
        assert theirs.arrived_ms is not None
        assert theirs.arrived_ms >= theirs.time_ms
        assert theirs.ahead_ms_min is not None
        assert theirs.ahead_ms_max is not None
        assert theirs.ahead_ms_min <= 0 <= theirs.ahead_ms_max
        assert theirs.ahead_ms_min == theirs.time_ms - theirs.arrived_ms
        assert mine.ahead_ms_min is not None
        assert -1000 < mine.ahead_ms_min <= 1000, "by its own clock, of which it made the stamp"

    play(scenario)


async def is_apart(first: Mesh, second: Mesh) -> bool:
    return not await first.is_node_connected(second.node_id)


def test_after_a_restart_the_conflict_is_there_and_the_times_of_arrival_are_not_known(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, second = await two_apart(make, persistent=True)
        await first.put("fleet/x", "one")
        await second.put("fleet/x", "two")
        await meet(first, second)
        await eventually(lambda: has_siblings(first, "fleet/x", 2))
        await second.stop()
        await first.stop()
        await first.start()
        assert (await first.stats()).conflicts == {"fleet": 1}
        for view in (await first.siblings("fleet/x")).siblings:
            assert (view.arrived_ms, view.ahead_ms_min, view.ahead_ms_max) == (None, None, None)

    play(scenario)


def test_ten_thousand_conflicts_are_counted_and_listed_page_by_page(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, second = await two_apart(make)
        keys = [f"fleet/{number:05}" for number in range(10_000)]
        await first.put_many([(key, b"one") for key in keys])
        await first.put_many([(f"log/{number}", b"calm") for number in range(2_000)])
        await second.put_many([(key, b"two") for key in keys])
        await second.put("other/x", b"alone")
        await meet(first, second)
        for mesh in (first, second):
            await eventually(partial(has_conflicts, mesh, 10_000))
            assert [found.key for found in await all_conflicts(mesh, limit=1000)] == keys
        assert (await first.stats()).conflicts == {"fleet": 10_000}
        assert [found.key for found in await all_conflicts(first, "fleet/0123", 3)] == keys[1230:1240]
        assert await all_conflicts(first, "log/") == []
        entries = [await first.siblings(key) for key in keys[:50]]
        for entry in entries:
            await first.resolve(entry.key, entry.siblings[0].version, context=entry.context)
        await eventually(lambda: has_conflicts(second, 9_950))
        assert [found.key for found in (await second.conflicts(limit=2)).conflicts] == keys[50:52]

    play(scenario)


async def has_conflicts(mesh: Mesh, count: int) -> bool:
    return (await mesh.status()).conflicts == count


def test_a_sibling_that_comes_between_the_look_and_the_choice_stays(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, second = await in_conflict(make)
        seen = await first.siblings("fleet/x")
        third = await make.node("c")
        late = await third.put("fleet/x", "three")
        await meet(first, third)
        await eventually(lambda: has_siblings(first, "fleet/x", 3))
        chosen = seen.siblings[0].version
        receipt = await first.resolve("fleet/x", chosen, context=seen.context, ack="all")
        for mesh in (first, second, third):
            await eventually(partial(has_siblings, mesh, "fleet/x", 2))
            versions = {view.version for view in (await mesh.siblings("fleet/x")).siblings}
            assert versions == {receipt.version, late.version}
        last = await second.resolve("fleet/x", data="settled", ack="all")
        assert [view.version for view in (await third.siblings("fleet/x")).siblings] == [last.version]
        assert (await third.get("fleet/x")).data == b"settled"

    play(scenario)


def test_who_settles_what_is_settled_already_is_told(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, _ = await in_conflict(make)
        seen = await first.siblings("fleet/x")
        winner, loser = seen.siblings
        settled = await first.resolve("fleet/x", winner.version, context=seen.context)
        for attempt in (
            first.resolve("fleet/x", loser.version),
            first.resolve("fleet/x", loser.version, context=seen.context),
            first.resolve("fleet/x", data="again", context=seen.context),
        ):
            with pytest.raises(ConflictError, match="look again") as raised:
                await attempt
            assert raised.value.facts["version"] == settled.version
        with pytest.raises(NotFoundError, match="no conflict"):
            await first.resolve("fleet/x", settled.version)
        with pytest.raises(NotFoundError, match="no version"):
            await first.head("fleet/x", version=loser.version)
        assert (await first.get("fleet/x", version=loser.version)).version == loser.version
        assert (await first.head("fleet/x")).version == settled.version

    play(scenario)


def test_the_loser_can_be_given_again_as_a_new_value(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, second = await in_conflict(make)
        winner, loser = (await first.siblings("fleet/x")).siblings
        lost = (await first.get("fleet/x", version=loser.version)).data
        await first.resolve("fleet/x", winner.version)
        await first.put("fleet/x", lost, ack="all")
        assert (await second.get("fleet/x")).data == b"one"

    play(scenario)


def test_a_delete_beside_a_write_is_a_conflict_and_may_be_the_choice(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, second = await two_apart(make)
        for key in ("fleet/x", "fleet/y"):
            await second.put(key, "kept")
            await first.put(key, "gone")
            await first.delete(key)
        await meet(first, second)
        await eventually(lambda: has_conflicts(first, 2))
        for key in ("fleet/x", "fleet/y"):
            with pytest.raises(NotFoundError):
                await first.get(key)  # The delete is the later one.
            delete, put = (await first.siblings(key)).siblings
            assert (delete.kind, delete.is_winner, delete.digest) == ("delete", True, "")
            assert (put.kind, put.author) == ("put", second.node_id)
            with pytest.raises(NotFoundError, match="no value"):
                await first.get(key, version=delete.version)
            await first.resolve(key, (delete if key == "fleet/x" else put).version, ack="all")
        for mesh in (first, second):
            assert (await mesh.status()).conflicts == 0
            with pytest.raises(NotFoundError):
                await mesh.siblings("fleet/x")
            assert (await mesh.get("fleet/y")).data == b"kept"

    play(scenario)


def test_large_values_are_read_and_chosen_without_being_sent_again(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, second = await two_apart(make)
        mine, theirs = os.urandom(400_000), os.urandom(500_000)
        await first.put("fleet/map", mine)
        await second.put("fleet/map", theirs)
        await meet(first, second)
        await eventually(lambda: has_siblings(first, "fleet/map", 2))
        views = {view.size: view.version for view in (await first.siblings("fleet/map")).siblings}
        assert (await first.get("fleet/map", version=views[500_000])).data == theirs
        async with first.open_value("fleet/map", 5, 1000, version=views[400_000]) as stream:
            assert b"".join([piece async for piece in stream]) == mine[5:1000]
        await first.resolve("fleet/map", views[400_000], ack="all")
        assert (await second.get("fleet/map")).data == mine

        async def pieces() -> AsyncIterator[bytes]:
            yield mine
            yield theirs

        await second.put("fleet/map", b"short", context=context_text(()))
        seen = await second.siblings("fleet/map")
        with pytest.raises(IncompleteValueError):
            await second.resolve("fleet/map", data=pieces(), context=seen.context, size=900_001)
        assert await second.siblings("fleet/map") == seen
        await second.resolve("fleet/map", data=pieces(), context=seen.context, size=900_000, ack="all")
        assert (await first.get("fleet/map")).data == mine + theirs

    play(scenario)


def test_a_reader_of_one_sibling_replaces_that_one_alone(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, _ = await in_conflict(make)
        winner, loser = (await first.siblings("fleet/x")).siblings
        entry = await first.head("fleet/x", version=loser.version)
        assert (entry.version, entry.siblings) == (loser.version, 2)
        receipt = await first.put("fleet/x", "one again", context=entry.context)
        versions = {view.version for view in (await first.siblings("fleet/x")).siblings}
        assert versions == {winner.version, receipt.version}

    play(scenario)


def test_bad_input_is_refused_and_changes_nothing(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, _ = await in_conflict(make)
        winner, _ = (await first.siblings("fleet/x")).siblings
        await first.put("fleet/calm", "x")
        calm = await first.head("fleet/calm")
        for refused, kind in (
            (first.conflicts("a//b"), InvalidKeyError),
            (first.conflicts(limit=0), UsageError),
            (first.conflicts(limit=1001), UsageError),
            (first.siblings("a//b"), InvalidKeyError),
            (first.siblings("fleet/none"), NotFoundError),
            (first.resolve("fleet/x"), UsageError),
            (first.resolve("fleet/x", winner.version, data="both"), UsageError),
            (first.resolve("fleet/x", "newest"), UsageError),
            (first.resolve("fleet/x", "1.2.3"), UsageError),
            (first.resolve("fleet/x", UNKNOWN), NotFoundError),
            (first.resolve("fleet/x", winner.version, content_type="text/plain"), UsageError),
            (first.resolve("fleet/x", data="x", content_type="\n"), UsageError),
            (first.resolve("fleet/x", data=7), UsageError),  # type: ignore[arg-type]
            (first.resolve("fleet/x", data="x", context="!"), UsageError),
            (first.resolve("fleet/none", data="x"), NotFoundError),
            (first.resolve("fleet/calm", data="x"), NotFoundError),
            (first.resolve("fleet/calm", data="x", context=calm.context), NotFoundError),
            (first.get("fleet/x", version=""), UsageError),
            (first.get("fleet/x", version=UNKNOWN), NotFoundError),
        ):
            with pytest.raises(kind):
                await refused
        assert (await first.siblings("fleet/x")).siblings[0] == winner
        assert (await first.status()).conflicts == 1

    play(scenario)
