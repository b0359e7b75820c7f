"""Spaces with conflict policies, on real nodes that write while they are apart."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from bellande_mesh_sync import Mesh
from bellande_mesh_sync.core.data.merging import Sibling
from bellande_mesh_sync.core.data.sibling_cap import SIBLINGS_MAX
from bellande_mesh_sync.errors import (
    ConfigError,
    ConflictError,
    ConflictLimitError,
    InvalidValueError,
    NotFoundError,
    UsageError,
)
from tests.mesh.conftest import MeshMaker, Scenario, agree, eventually, linked

Play = Callable[[Scenario], None]

SPACES: dict[str, Any] = {
    "hits": {"conflict": "counter"},
    "tags": {"conflict": "set"},
    "state": {"conflict": "map"},
    "top": {"conflict": "max"},
    "low": {"conflict": "min"},
    "seen": {"conflict": "siblings"},
    "joined": {"conflict": "tests.mesh.test_policies:joined"},
    "broken": {"conflict": "tests.mesh.test_policies:broken"},
}


def joined(given: Sequence[Sibling]) -> bytes:
    words = {word for sibling in given for word in sibling.data.split()}
    return b" ".join(sorted(words))


def broken(given: Sequence[Sibling]) -> bytes:
    match b" ".join(sibling.data for sibling in given):
        case data if b"raise" in data:
            raise RuntimeError("as it was told")
        case data if b"exit" in data:
            sys.exit(3)
        case data if b"sleep" in data:
            while True:
                time.sleep(0.001)
        case _:
            return "text"  # type: ignore[return-value]


async def apart(make: MeshMaker, write: Callable[[Mesh, int], Awaitable[None]]) -> list[Mesh]:
    """Two nodes that write before they meet, and a third that learns of it all."""
    nodes = [await make.node(name, persistent=True, spaces=SPACES) for name in ("a", "b")]
    for index, mesh in enumerate(nodes):
        await write(mesh, index)
    nodes.append(await make.node("c", *nodes, spaces=SPACES))
    await linked(nodes[2], nodes[0])
    await linked(nodes[2], nodes[1])
    await eventually(lambda: all_have_both(nodes))
    await agree(*nodes)
    return nodes


async def all_have_both(nodes: Sequence[Mesh]) -> bool:
    """Whether each key has the siblings that two nodes made; a digest may agree before."""
    found = [{entry.key: entry.siblings async for entry in mesh.keys("")} for mesh in nodes]
    return all(each and each == found[0] and set(each.values()) == {2} for each in found)


def test_what_each_policy_makes_of_two_writes_is_the_same_on_all_nodes(play: Play) -> None:
    async def write(mesh: Mesh, index: int) -> None:
        for _ in range(3):
            await mesh.add("hits/k", index + 1)
        await mesh.put("tags/k", json.dumps(["all", index]))
        await mesh.put("state/k", json.dumps({"last": index, f"n{index}": True}))
        await mesh.put("top/k", str(10 * index))
        await mesh.put("low/k", str(10 * index))
        await mesh.put("seen/k", f"by {index}")
        await mesh.put("joined/k", f"all n{index}")

    async def scenario(make: MeshMaker) -> None:
        nodes = await apart(make, write)
        for mesh in nodes:
            found = {entry.key: await mesh.get(entry.key) async for entry in mesh.keys("")}
            assert {key: value.data for key, value in found.items()} == {
                "hits/k": b"9",
                "tags/k": b'["all",0,1]',
                "state/k": b'{"last":1,"n0":true,"n1":true}',
                "top/k": b"10",
                "low/k": b"0",
                "seen/k": b"by 1",
                "joined/k": b"all n0 n1",
            }
            for value in found.values():
                assert value.entry.siblings == 2
                assert value.entry.size == len(value.data)
            assert found["tags/k"].content_type == "application/json"
            async with mesh.open_value("tags/k", 1, 6) as stream:
                assert b"".join([piece async for piece in stream]) == b'"all"'
        versions = {(await mesh.head("tags/k")).version for mesh in nodes}
        assert len(versions) == 1

    play(scenario)


def test_a_merged_value_is_written_back_with_its_version_or_context(play: Play) -> None:
    async def write(mesh: Mesh, index: int) -> None:
        await mesh.put("tags/k", json.dumps([index]))
        await mesh.put("joined/k", f"n{index}")

    async def scenario(make: MeshMaker) -> None:
        nodes = await apart(make, write)
        for key, value in (("tags/k", "[0,1,2]"), ("joined/k", "n0 n1 n2")):
            entry = await nodes[0].head(key)
            await nodes[0].put(key, value, context=entry.context, if_match=entry.version)
            with pytest.raises(ConflictError):
                await nodes[0].put(key, value, if_match=entry.version)
            await agree(*nodes)
            for mesh in nodes:
                found = await mesh.get(key)
                assert (found.data.decode(), found.entry.siblings) == (value, 1)

    play(scenario)


def test_a_watch_tells_what_the_siblings_make_together(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first = await make.node("a", persistent=True, spaces=SPACES)
        await first.put("tags/k", '["x"]')
        second = await make.node("b", persistent=True, spaces=SPACES)
        await second.put("tags/k", '["y"]')
        async with first.watch("tags/") as watch:
            await make.node("c", first, second, spaces=SPACES)
            change = await anext(watch)
            assert change.entry is not None
            assert change.entry.siblings == 2
            assert change.version == change.entry.version == (await first.head("tags/k")).version
            assert change.entry.size == len((await first.get("tags/k")).data) == len('["x","y"]')

    play(scenario)


def test_a_value_that_does_not_fit_is_refused_and_nothing_is_written(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        mesh = await make.node("a", spaces=SPACES)
        for key, value in (
            ("hits/k", b"many"),
            ("tags/k", b"{}"),
            ("state/k", b"[]"),
            ("top/k", b"x" * 16_385),
            ("joined/k", b"x" * 3_000_000),
        ):
            with pytest.raises(InvalidValueError, match=key):
                await mesh.put(key, value)
            with pytest.raises(InvalidValueError):
                await mesh.put_many([("free/k", b"1"), (key, value)])
        for amount in ("1", 1.5, True, 10**18 + 1):
            with pytest.raises(InvalidValueError):
                await mesh.add("hits/k", amount)  # type: ignore[arg-type]
        with pytest.raises(InvalidValueError, match="counter"):
            await mesh.add("free/k", 1)
        assert not (await mesh.list()).entries

    play(scenario)


@pytest.mark.parametrize("how", ["raise", "exit", "sleep", "text"])
def test_whatever_a_function_does_the_node_goes_on_and_shows_the_latest(play: Play, how: str) -> None:
    async def write(mesh: Mesh, index: int) -> None:
        await mesh.put("broken/k", f"{how} {index}")

    async def scenario(make: MeshMaker) -> None:
        nodes = await apart(make, write)
        for mesh in nodes:
            value = await mesh.get("broken/k")
            assert value.data == f"{how} 1".encode()
            assert (await mesh.stats()).counters["merges_failed"] >= 1
            entry = await mesh.head("broken/k")
            assert entry.version == value.version
        await nodes[0].put("broken/k", "settled", if_match=value.version)
        await agree(*nodes)
        assert (await nodes[2].get("broken/k")).data == b"settled"

    play(scenario)


def test_nodes_that_are_configured_differently_hold_the_same_records(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first = await make.node("a", spaces=SPACES)
        second = await make.node("b", first)
        await linked(first, second)
        await first.add("hits/k", 3, ack="all")
        raw = await second.get("hits/k")
        assert raw.content_type == "application/vnd.bellande.counter"
        await second.put("hits/k", "plain", ack="all")
        assert (await first.get("hits/k")).data == b"plain"
        await first.add("hits/k", 4, ack="all")
        assert (await first.get("hits/k")).data == b"4"
        assert (await first.head("hits/k")).siblings == (await second.head("hits/k")).siblings == 2

    play(scenario)


def test_a_blind_write_stands_beside_what_is_there_up_to_the_cap(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        mesh = await make.node("a")
        for number in range(SIBLINGS_MAX):
            await mesh.put("free/k", str(number), context="")
        with pytest.raises(ConflictLimitError) as caught:
            await mesh.put("free/k", "one too many", context="")
        assert (caught.value.code, caught.value.facts["limit"]) == ("conflict_limit", SIBLINGS_MAX)
        assert (await mesh.head("free/k")).siblings == SIBLINGS_MAX
        await mesh.put("free/k", "settled", context="*")
        assert (await mesh.head("free/k")).siblings == 1
        with pytest.raises(UsageError):
            await mesh.put("free/k", "x", context="no context")

    play(scenario)


def test_a_function_that_is_not_there_is_told_before_anything_starts(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        with pytest.raises(ConfigError) as caught:
            await make.node("a", spaces={"x": {"conflict": "tests.mesh.test_policies:nothing"}})
        assert caught.value.field == "spaces.x.conflict"

    play(scenario)


def test_only_spaces_that_do_not_merge_have_conflicts_to_settle(play: Play) -> None:
    async def write(mesh: Mesh, index: int) -> None:
        await mesh.put_many([(f"tags/{n}", b"[%d]" % index) for n in range(150)])
        await mesh.put("hits/1", b"%d" % index)
        await mesh.put("seen/1", f"seen {index}")
        await mesh.put("top/1", b"%d" % index)

    async def scenario(make: MeshMaker) -> None:
        first, *_ = await apart(make, write)
        assert [each.key for each in (await first.conflicts()).conflicts] == ["seen/1"]
        assert (await first.conflicts("t", limit=1)).conflicts == ()
        assert (await first.status()).conflicts == 1
        assert (await first.stats()).conflicts == {"seen": 1}
        one, other = (await first.siblings("tags/1")).siblings
        values = {(await first.get("tags/1", version=each.version)).data for each in (one, other)}
        assert values == {b"[0]", b"[1]"}
        with pytest.raises(NotFoundError, match="merges"):
            await first.resolve("tags/1", one.version)

    play(scenario)
