"""Members as programs see and change them: real nodes on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from blake3 import blake3

import bellande_mesh_sync as library
from bellande_mesh_sync import Mesh
from bellande_mesh_sync.errors import NotFoundError, StillMemberError, UnreachableError, UsageError
from bellande_mesh_sync.mesh_members import MemberCalls
from tests.mesh.conftest import MeshMaker, Scenario, eventually, linked

Play = Callable[[Scenario], None]
ABSENT = "ab" * 32


async def _state(mesh: Mesh, other: Mesh) -> str:
    return (await mesh.node(other.node_id)).state


def test_every_function_of_the_group_calls_the_method_of_its_name() -> None:
    names = {name for name, each in vars(MemberCalls).items() if asyncio.iscoroutinefunction(each)}
    inner = {"nodes", "nodes_page", "node", "find_node", "_until"}
    assert names - inner <= set(library.__all__)
    for name in names - inner:
        assert asyncio.iscoroutinefunction(getattr(library, name))
        assert getattr(library, name).__doc__


def test_the_nearest_are_found_by_id_by_key_and_by_bytes(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        nodes = await make.three()
        for mesh in nodes:
            found = await library.find_nearest_nodes(mesh, nodes[1].node_id, 2)
            assert found[0].node == nodes[1].node_id
            assert len(found) == 2
        by_key = await nodes[0].find_nearest_nodes("fleet/plans/dock")
        by_bytes = await library.find_closest_nodes(nodes[2], b"fleet/plans/dock")
        point = int.from_bytes(blake3(b"fleet/plans/dock").digest(), "big")
        expected = sorted((mesh.node_id for mesh in nodes), key=lambda node: int(node, 16) ^ point)
        assert [view.node for view in by_key] == [view.node for view in by_bytes] == expected
        for count in (0, 1001, "2"):
            with pytest.raises(UsageError):
                await nodes[0].find_nearest_nodes("x", count)  # type: ignore[arg-type]

    play(scenario)


def test_a_node_tells_who_it_is_and_others_hear_of_a_change(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first = await make.node("a")
        second = await make.node("b", first, labels={"model": "gantry"}, zone="hall-3", capacity=7)
        await linked(first, second)
        seen = await first.node(second.node_id)
        assert (seen.labels, seen.zone, seen.capacity) == ({"model": "gantry"}, "hall-3", 7)
        assert seen.state == "alive"
        assert await library.is_node_connected(first, second.node_id)
        own = await library.update_node(second, labels={"model": "arm", "floor": "2"}, zone="hall-4")
        assert (own.labels, own.zone, own.capacity) == ({"floor": "2", "model": "arm"}, "hall-4", 7)

        async def heard() -> bool:
            view = await first.node(second.node_id)
            return (view.labels, view.zone) == (own.labels, own.zone)

        await eventually(heard)
        before = (await first.node(second.node_id)).incarnation
        await library.broadcast_new_node(second)

        async def announced() -> bool:
            return (await first.node(second.node_id)).incarnation > before

        await eventually(announced)

    play(scenario)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {"a": "x" * 65}},
        {"labels": {"": "x"}},
        {"labels": {"a": 1}},
        {"labels": {f"label-{number}": "x" * 60 for number in range(20)}},
        {"zone": "\n"},
        {"zone": 3},
        {"capacity": -1},
        {"capacity": True},
    ],
)
def test_what_does_not_fit_into_a_member_record_is_refused(play: Play, change: dict[str, Any]) -> None:
    async def scenario(make: MeshMaker) -> None:
        mesh = await make.node("a")
        before = await mesh.node(mesh.node_id)
        with pytest.raises(UsageError):
            await mesh.update_node(**change)
        assert (await mesh.node(mesh.node_id)).incarnation == before.incarnation

    play(scenario)


def test_a_member_is_registered_by_its_address_and_nobody_else_is(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, second = await make.node("a"), await make.node("b")
        address = (await second.status()).tcp
        view = await library.register_node(first, address)
        assert (view.node, view.linked) == (second.node_id, True)
        again = await first.register_node(address.replace("127.0.0.1", "localhost"), timeout=2)
        assert again.node == second.node_id
        with pytest.raises(UnreachableError):
            await first.register_node("127.0.0.1:1", timeout=0.3)
        for wrong in ("127.0.0.1", "127.0.0.1:0", (await first.status()).tcp):
            with pytest.raises(UsageError):
                await first.register_node(wrong, timeout=0.3)

    play(scenario)


def test_only_a_member_that_is_down_is_removed_and_it_may_come_back(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first = await make.node("a")
        second = await make.node("b", first, persistent=True)
        await linked(first, second)
        with pytest.raises(StillMemberError) as caught:
            await library.remove_node(first, second.node_id)
        assert caught.value.code == "still_member"
        with pytest.raises(NotFoundError):
            await first.remove_node(ABSENT)
        await second.stop()

        async def has_left() -> bool:
            return await _state(first, second) == "left"

        await eventually(has_left)
        assert await first.remove_node(second.node_id)
        assert await _state(first, second) == "left"
        await second.start()
        await linked(first, second)

    play(scenario)


def test_planned_sleep_raises_no_alarm_and_ends_with_a_wake(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        nodes = await make.three()
        first, second, third = nodes
        assert not await library.wake(second)
        await library.sleep(second, 600)

        async def asleep() -> bool:
            return [await _state(mesh, second) for mesh in nodes] == ["asleep"] * 3

        await eventually(asleep)
        await second.put("fleet/x", b"while asleep")
        assert not await first.is_node_connected(second.node_id)
        assert await library.wake(second)
        await linked(*nodes)

        async def arrived() -> bool:
            return bool((await third.digest())["records"] == 1)

        await eventually(arrived)
        for wrong in (0, -1, float("nan"), 1e9):
            with pytest.raises(UsageError):
                await second.sleep(wrong)

    play(scenario)


def test_the_dead_are_forgotten_and_the_restored_are_told(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first, second = await make.node("a"), await make.node("b")
        assert await library.cleanup_dead_nodes(first) == []
        assert await library.restore_nodes(first) == []
        await first.register_node((await second.status()).tcp)
        assert await first.restore_nodes() == []
        with pytest.raises(UsageError):
            await first.cleanup_dead_nodes(0)

    play(scenario)


def test_a_limit_of_links_holds_from_now_on(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        nodes = await make.three()
        await library.set_max_connections(nodes[0], 1)

        async def trimmed() -> bool:
            return (await nodes[0].status()).links <= 1

        await eventually(trimmed)
        with pytest.raises(UsageError):
            await nodes[0].set_max_connections(0)

    play(scenario)


def test_all_tell_whom_they_see(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        nodes = await make.three()
        found = await library.topology(nodes[0])
        assert {(sight.source, sight.target) for sight in found.sights if sight.linked} == {
            (source.node_id, target.node_id) for source in nodes for target in nodes if source is not target
        }
        assert all(node.answered for node in found.nodes)

    play(scenario)


def test_a_verdict_is_explained(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        nodes = await make.three()
        explained = await library.why(nodes[0], nodes[1].node_id)
        assert (explained.name, explained.state, explained.linked) == ("b", "alive", True)
        with pytest.raises(NotFoundError):
            await nodes[0].why(ABSENT)

    play(scenario)
