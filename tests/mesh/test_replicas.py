"""Spaces with a number of replicas, on real nodes: any node reads and writes, few hold."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from bellande_mesh_sync import Mesh, replicate_data, sync_with_peers
from bellande_mesh_sync.errors import (
    AckTimeoutError,
    ConfigError,
    ConflictError,
    NotFoundError,
    OwnersUnreachableError,
)
from tests.mesh.conftest import MeshMaker, Scenario, eventually, linked

SPACES: dict[str, Any] = {
    "fleet": {"replicas": 2, "shards": 64},
    "sums": {"replicas": 2, "shards": 64, "conflict": "counter"},
}
SETTINGS: dict[str, Any] = {"spaces": SPACES, "sync_interval": 1, "rebalance_after": 3, "profile": "fast"}
KEYS = [f"fleet/{number}" for number in range(20)]

Play = Callable[[Scenario], None]


async def five(maker: MeshMaker, count: int = 5) -> list[Mesh]:
    first = await maker.node("a", **SETTINGS)
    nodes = [first, *[await maker.node(name, first, **SETTINGS) for name in "bcde"[: count - 1]]]
    await linked(*nodes)
    await seen_by_all(nodes)
    return nodes


async def seen_by_all(nodes: list[Mesh]) -> None:
    """Until all have the same owners in mind."""

    async def is_equal() -> bool:
        views = [[share.node for share in (await node.placement())[0].nodes] for node in nodes]
        return all(sorted(view) == sorted(node.node_id for node in nodes) for view in views)

    await eventually(is_equal)


def held(node: Mesh) -> set[str]:
    """The keys whose records are on this node's own disk."""
    assert node._node is not None
    return {key for key in KEYS if node._node.store.siblings([key])[0]}


async def settled(nodes: list[Mesh], keys: list[str] = KEYS) -> None:
    """Until each key is on the disks of its owners, and on no other."""

    async def is_so() -> bool:
        for key in keys:
            owners = set((await nodes[0].placement_of(key)).owners)
            if {node.node_id for node in nodes if key in held(node)} != owners:
                return False
        return True

    await eventually(is_so, timeout_s=60)


def test_any_node_writes_reads_and_lists_and_two_hold_each_key(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        nodes = await five(maker)
        for number, key in enumerate(KEYS):
            receipt = await nodes[number % 5].put(key, key.encode(), ack="all")
            assert sorted(receipt.nodes) == sorted((await nodes[0].placement_of(key)).owners)
            assert len(receipt.nodes) == 2
        await settled(nodes)
        for node in nodes:
            for key in KEYS:
                assert (await node.get(key)).data == key.encode()
                assert (await node.head(key)).key == key
            listing = await node.list("fleet/")
            assert [entry.key for entry in listing.entries] == sorted(KEYS)
            paged = [entry.key async for entry in node.keys("fl")]
            assert paged == sorted(KEYS)
            with pytest.raises(NotFoundError):
                await node.get("fleet/nothing")
        digests = [await node.digest("fleet/", deep=True) for node in nodes]
        assert all(digest == digests[0] for digest in digests)

    play(scenario)


def test_a_large_value_is_read_where_it_is_not_held(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        nodes = await five(maker, 4)
        body = random.Random(1).randbytes(700_000)
        await nodes[0].put(KEYS[0], body, ack="all")
        await settled(nodes, KEYS[:1])
        for node in nodes:
            assert (await node.get(KEYS[0])).data == body
            async with node.open_value(KEYS[0], 100_000, 200_000) as stream:
                assert b"".join([piece async for piece in stream]) == body[100_000:200_000]

    play(scenario)


def test_a_write_elsewhere_replaces_what_is_there_and_conditions_hold(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        nodes = await five(maker, 4)
        for number, node in enumerate(nodes):
            await node.put(KEYS[0], f"{number}", ack="all")
        for node in nodes:
            value = await node.get(KEYS[0])
            assert (value.data, value.entry.siblings) == (b"3", 1)
        version = (await nodes[0].head(KEYS[0])).version
        for node in nodes:
            with pytest.raises(ConflictError):
                await node.put(KEYS[0], b"x", if_match="")
        await nodes[1].put(KEYS[0], b"4", if_match=version, ack="all")
        await nodes[2].delete(KEYS[0], ack="all")
        for node in nodes:
            with pytest.raises(NotFoundError):
                await node.get(KEYS[0])
            assert (await node.list("fleet/")).entries == ()

    play(scenario)


def test_counters_add_up_wherever_they_are_added_to(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        nodes = await five(maker, 4)
        for node in nodes * 2:
            await node.add("sums/hours", 3, ack="all")
        for node in nodes:
            assert (await node.get("sums/hours")).data == b"24"

    play(scenario)


def test_a_node_that_dies_is_replaced_and_one_that_joins_takes_its_share(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        nodes = await five(maker)
        for key in KEYS:
            await nodes[0].put(key, key.encode(), ack="all")
        await settled(nodes)
        victim = next(node for node in nodes[1:] if held(node))
        lost = held(victim)
        await _die(victim)
        rest = [node for node in nodes if node is not victim]
        for node in rest:
            for key in lost:
                assert (await node.get(key)).data == key.encode()
        await eventually(lambda: _sees(rest, victim), timeout_s=60)
        await settled(rest)
        newcomer = await maker.node("late", rest[0], **SETTINGS)
        await linked(newcomer, *rest)
        for key in KEYS:
            assert (await newcomer.get(key)).data == key.encode()
        everyone = [*rest, newcomer]
        await seen_by_all(everyone)
        await settled(everyone)
        assert held(newcomer)
        for node in everyone:
            assert [entry.key for entry in (await node.list("fleet/")).entries] == sorted(KEYS)

    play(scenario)


async def _die(node: Mesh) -> None:
    """Without a word: its links break, and nobody answers there any more."""
    assert node._node is not None
    node._node.runner._is_stopped = True
    await node.stop()


async def _sees(nodes: list[Mesh], gone: Mesh) -> bool:
    """Whether all have given up on a member."""
    views = [{share.node for share in (await node.placement())[0].nodes} for node in nodes]
    return all(gone.node_id not in view for view in views)


def test_what_nobody_in_reach_holds_is_not_said_to_be_missing(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        nodes = await five(maker, 3)
        await nodes[0].put(KEYS[0], b"v", ack="all")
        owners = (await nodes[0].placement_of(KEYS[0])).owners
        stranger = next(node for node in nodes if node.node_id not in owners)
        await settled(nodes, KEYS[:1])
        for node in nodes:
            if node is not stranger:
                await _die(node)
        with pytest.raises(OwnersUnreachableError):
            await stranger.get(KEYS[0])
        with pytest.raises(OwnersUnreachableError):
            await stranger.list("fleet/")
        with pytest.raises(AckTimeoutError):
            await stranger.put(KEYS[0], b"hint", ack="quorum", timeout=0.5)
        assert (await stranger.get(KEYS[0])).data == b"hint"

    play(scenario)


def test_a_space_that_holds_something_is_not_cut_anew(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        node = await maker.node("a", persistent=True, spaces={"fleet": {"replicas": 2}})
        await node.put(KEYS[0], b"v")
        await node.stop()
        for policy in ({"replicas": "all"}, {"replicas": 2, "shards": 64}):
            with pytest.raises(ConfigError) as caught:
                await maker.node("a", persistent=True, spaces={"fleet": policy})
            assert caught.value.facts["field"] == "spaces.fleet.replicas"
        again = await maker.node("a", persistent=True, spaces={"fleet": {"replicas": 3}})
        assert (await again.get(KEYS[0])).data == b"v"

    play(scenario)


def test_it_is_told_who_holds_what(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        first = await maker.node("a", capacity=300, **SETTINGS)
        second = await maker.node("b", first, capacity=0, **SETTINGS)
        third = await maker.node("c", first, **SETTINGS)
        await linked(first, second, third)
        await seen_by_all([first, second, third])
        report = (await first.placement())[0]
        shares = {share.name: share.shards for share in report.nodes}
        assert (report.space, report.replicas, report.shards) == ("fleet", 2, 64)
        assert shares == {"a": 64, "b": 0, "c": 64}
        placed = await second.placement_of(KEYS[0])
        assert set(placed.names) == {"a", "c"}
        assert placed.is_placed
        assert not (await second.placement_of("other/key")).is_placed

    play(scenario)


def test_it_is_waited_for_all_replicas_of_a_key(play: Play) -> None:
    async def scenario(maker: MeshMaker) -> None:
        nodes = await five(maker, 4)
        await nodes[0].put(KEYS[0], b"v")
        owners = sorted((await nodes[0].placement_of(KEYS[0])).owners)
        for node in nodes:
            assert await replicate_data(node, KEYS[0]) == owners
            assert await sync_with_peers(node) == 3
        await nodes[0].put("other/key", b"on all")
        assert len(await replicate_data(nodes[1], "other/key")) == 4
        with pytest.raises(NotFoundError):
            await replicate_data(nodes[2], "fleet/nothing")

    play(scenario)
