"""A whole mesh for a test: programs that live and die with nodes, faults, rest, and what breaks."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from bellande_mesh_sync.config_model import SpacePolicy
from bellande_mesh_sync.core.data.merging import Sibling
from bellande_mesh_sync.errors import (
    AckTimeoutError,
    ConfigError,
    ConflictError,
    DiskFullError,
    HistoryGoneError,
    InvalidKeyError,
    NotFoundError,
    NotRunningError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)
from bellande_mesh_sync.mesh import Mesh
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.links import LINK_CLASSES
from bellande_mesh_sync.sim.mesh import SimMesh
from bellande_mesh_sync.sim.mesh_world import MeshWorld


@pytest.fixture
def world() -> Iterator[MeshWorld]:
    with MeshWorld(3) as world:
        yield world


# -- the calls of a mesh -----------------------------------------------------------------------


def test_a_value_written_on_one_node_is_read_on_another(world: MeshWorld) -> None:
    first, second = world.mesh(0), world.mesh(1)

    async def program() -> None:
        receipt = await first.put("fleet/dock", "berth 4", ack="all")
        assert len(receipt.nodes) == 3
        assert first.node_id in receipt.nodes
        value = await second.get("fleet/dock")
        assert (value.data, value.content_type) == (b"berth 4", "text/plain; charset=utf-8")
        assert value.version == receipt.version == (await second.head("fleet/dock")).version
        assert value.author == first.node_id

    world.run(program())


def test_a_large_value_travels_in_chunks(world: MeshWorld) -> None:
    data = bytes(range(256)) * 4000

    async def program() -> bytes:
        await world.mesh(0).put("maps/hall", data, ack="all")
        return (await world.mesh(2).get("maps/hall")).data

    assert world.run(program()) == data
    assert world.nodes[2].disk.platter.chunks


def test_many_values_are_listed_in_order_and_page_by_page(world: MeshWorld) -> None:
    mesh = world.mesh(0)

    async def program() -> None:
        await mesh.put_many([(f"a/{number}", b"x") for number in range(5)] + [("b/1", b"y" * 20_000)])
        page = await mesh.list("a/", limit=3)
        assert [entry.key for entry in page.entries] == ["a/0", "a/1", "a/2"]
        rest = await mesh.list("a/", limit=3, cursor=page.cursor)
        assert [entry.key for entry in rest.entries] == ["a/3", "a/4"]
        assert rest.cursor == ""
        assert [entry.key async for entry in mesh.keys("")] == [f"a/{n}" for n in range(5)] + ["b/1"]

    world.run(program())


def test_the_errors_are_those_of_a_mesh(world: MeshWorld) -> None:
    mesh = world.mesh(0)

    async def program() -> None:
        with pytest.raises(NotFoundError):
            await mesh.get("no/such")
        with pytest.raises(NotFoundError):
            await mesh.delete("no/such")
        with pytest.raises(InvalidKeyError):
            await mesh.put("/bad", b"")
        with pytest.raises(UsageError):
            await mesh.put("a/b", b"", ack="most")
        with pytest.raises(UsageError):
            await mesh.list(limit=0)
        await mesh.put("a/b", b"1", if_match="")
        with pytest.raises(ConflictError):
            await mesh.put("a/b", b"2", if_match="")
        with pytest.raises(UnsupportedError):
            await mesh.send(mesh.node_id, b"", reliable=True)
        with pytest.raises(UnreachableError):
            await mesh.send("ab" * 32, b"")

    world.run(program())


def test_a_delete_is_seen_by_watchers_elsewhere(world: MeshWorld) -> None:
    async def program() -> list[tuple[str, str]]:
        with_delete = []
        async with world.mesh(1).watch("a/") as changes:
            await world.mesh(0).put("a/b", b"1", ack="all")
            await world.mesh(0).put("b/c", b"1", ack="all")
            await world.mesh(0).delete("a/b", ack="all")
            async for change in changes:
                with_delete.append((change.kind, change.key))
                if change.kind == "delete":
                    return with_delete
        return []

    assert world.run(program()) == [("put", "a/b"), ("delete", "a/b")]


def test_messages_reach_those_they_are_for(world: MeshWorld) -> None:
    first, second, third = (world.mesh(index) for index in range(3))

    async def program() -> None:
        async with second.subscribe("alerts/*") as alerts, third.subscribe() as everything:
            assert await first.publish("alerts/fire", b"hall 3") == 2
            await first.send(third.node_id, b"you", topic="direct")
            assert await first.broadcast(b"all") == 2
            heard = await anext(alerts)
            assert (heard.sender, heard.body) == (first.node_id, b"hall 3")
            assert [(await anext(everything)).body for _ in range(3)] == [b"hall 3", b"you", b"all"]

    world.run(program())


def test_nodes_are_told_with_their_state(world: MeshWorld) -> None:
    views = world.run(world.mesh(0).nodes("alive"))
    assert views[0].node == world.mesh(0).node_id
    assert len(views) == 3


def test_a_spaces_policy_gives_the_ack_level() -> None:
    with MeshWorld(3, spaces={"plans": SpacePolicy(ack="quorum")}) as world:
        assert world.run(world.mesh(0).put("plans/a", b"")).ack == "quorum"
        assert world.run(world.mesh(0).put("other/a", b"")).ack == "local"


def test_the_past_of_a_simulated_node_is_kept_as_its_spaces_say() -> None:
    with MeshWorld(2, spaces={"plans": {"history": 2}, "poses": {"history": 0}}) as world:
        mesh = world.mesh(0)
        times = []
        for number in range(4):
            world.run(mesh.put("plans/dock", f"v{number}", ack="all"))
            world.run(mesh.put("poses/r7", f"v{number}"))
            times.append(world.run(mesh.head("plans/dock")).time_ms)
            world.advance(10)
        for node in (mesh, world.mesh(1)):
            assert world.run(node.get("plans/dock", at=times[1])).data == b"v1"
            assert world.run(node.get("plans/dock", at="12s ago")).data == b"v2"
            with pytest.raises(HistoryGoneError):
                world.run(node.get("plans/dock", at=times[0]))
        assert [each.state for each in world.run(mesh.history("plans/dock")).versions] == [
            "current",
            "replaced",
            "replaced",
        ]
        assert len(world.run(mesh.history("poses/r7")).versions) == 1
        with pytest.raises(NotFoundError):
            world.run(mesh.history("plans/none"))
        oldest = world.run(mesh.history("plans/dock")).versions[-1]
        world.kill(0)
        world.restart(0)
        world.advance(10)
        assert world.run(world.mesh(0).get("plans/dock", version=oldest.version)).data == b"v1"


_WRITING = ("put", "put_many", "delete")
_READING = ("get", "history", "head", "list", "keys", "watch", "subscribe", "nodes", "is_running")
_SETTLING = ("conflicts", "siblings", "resolve")
_TALKING = ("send", "broadcast", "publish")


@pytest.mark.parametrize("name", [*_WRITING, *_READING, *_SETTLING, *_TALKING])
def test_a_call_takes_what_the_call_of_a_mesh_takes(name: str) -> None:
    simulated, real = (inspect.signature(getattr(mesh, name)) for mesh in (SimMesh, Mesh))
    assert _taken(simulated) == _taken(real)


def _taken(signature: inspect.Signature) -> list[tuple[str, object, object]]:
    return [(each.name, each.kind, each.default) for each in signature.parameters.values()]


# -- programs ----------------------------------------------------------------------------------


def test_a_program_dies_with_its_node_and_starts_again_with_it(world: MeshWorld) -> None:
    log: list[str] = []

    async def service(mesh: SimMesh) -> None:
        log.append("starts")
        child = asyncio.create_task(asyncio.sleep(1000))
        try:
            await child
        finally:
            log.append("ends" if child.cancelled() else "ends without its child")

    world.program(0, service)
    world.advance(5)
    assert log == ["starts"]
    world.kill(0)
    world.advance(60)
    assert log == ["starts", "ends"]
    world.restart(0)
    world.advance(1)
    assert log == ["starts", "ends", "starts"]


def test_calls_on_a_dead_node_raise_and_those_of_an_earlier_run_stay_dead(world: MeshWorld) -> None:
    meshes: list[SimMesh] = []

    async def service(mesh: SimMesh) -> None:
        meshes.append(mesh)

    world.program(1, service)
    world.advance(1)
    world.kill(1)
    for call in (meshes[0].get("a/b"), world.mesh(1).put("a/b", b""), world.mesh(1).nodes()):
        with pytest.raises(NotRunningError):
            world.run(call)
    world.restart(1)
    assert world.mesh(1).is_running()
    assert not meshes[0].is_running()
    with pytest.raises(NotRunningError):
        world.run(meshes[0].put("a/b", b""))


def test_a_call_under_way_when_its_node_dies_is_not_answered_with_success(world: MeshWorld) -> None:
    world.partition([0], [1, 2])

    async def program() -> None:
        writing = asyncio.create_task(world.mesh(0).put("a/b", b"", ack="all"))
        await asyncio.sleep(1)
        world.kill(0)
        with pytest.raises(NotRunningError):
            await writing

    world.run(program())


def test_a_program_that_raises_fails_the_run(world: MeshWorld) -> None:
    async def service(mesh: SimMesh) -> None:
        await mesh.get("no/such")

    world.program(2, service)
    with pytest.raises(Violation, match=r"program: n2: .*service raised NotFoundError") as caught:
        world.advance(5)
    assert isinstance(caught.value.__cause__, NotFoundError)
    with pytest.raises(Violation):
        world.advance(5)


def test_what_breaks_ends_the_test_although_a_program_catches_everything(world: MeshWorld) -> None:
    async def program() -> None:
        while True:
            await asyncio.sleep(1)
            try:
                await world.mesh(0).put("a/b", b"")
                world.nodes[0].disk.platter.by_key.clear()  # As no real disk does.
            except Exception:  # noqa: BLE001
                continue

    with pytest.raises(Violation, match=r"^\w+: n0: "):
        world.run(program(), within=200)


def test_time_does_not_pass_inside_of_time(world: MeshWorld) -> None:
    async def program() -> None:
        world.advance(1)

    with pytest.raises(UsageError, match=r"await asyncio\.sleep"):
        world.run(program())


def test_a_coroutine_that_never_ends_is_given_up(world: MeshWorld) -> None:
    async def stuck() -> None:
        await asyncio.Event().wait()

    with pytest.raises(AssertionError, match=r"stuck is not done after 50 simulated seconds"):
        world.run(stuck(), within=50)


# -- faults ------------------------------------------------------------------------------------


def test_a_partition_holds_until_it_heals(world: MeshWorld) -> None:
    world.partition([0], [1, 2])

    async def program() -> None:
        with pytest.raises(AckTimeoutError) as caught:
            await world.mesh(0).put("a/b", b"1", ack="quorum", timeout=5)
        assert caught.value.have == 1
        assert len((await world.mesh(1).put("a/c", b"1", ack="quorum")).nodes) == 2

    world.run(program())
    with pytest.raises(NotFoundError):
        world.run(world.mesh(1).get("a/b"))
    world.heal()
    world.advance(30)
    assert world.run(world.mesh(1).get("a/b")).data == b"1"


def test_a_one_way_fault_lets_the_other_way_pass(world: MeshWorld) -> None:
    world.one_way(0, [1, 2])
    world.run(world.mesh(1).put("a/b", b"1"))
    world.run(world.mesh(0).put("a/c", b"1"))
    world.advance(2)
    assert world.run(world.mesh(0).get("a/b")).data == b"1"
    with pytest.raises(NotFoundError):
        world.run(world.mesh(1).get("a/c"))


def test_a_paused_node_answers_when_it_goes_on(world: MeshWorld) -> None:
    world.pause(0)
    with pytest.raises(AssertionError, match="not done"):
        world.run(world.mesh(0).put("a/b", b"1"), within=20)
    world.resume(0)
    world.run(world.mesh(0).put("a/b", b"2"), within=20)


def test_programs_stand_still_with_their_node_and_go_on_with_it(world: MeshWorld) -> None:
    ticks: list[float] = []

    async def tick(mesh: SimMesh) -> None:
        while True:
            await asyncio.sleep(10)
            ticks.append(round(asyncio.get_running_loop().time()) - start)

    start = round(world.now_s)
    world.program(0, tick)
    world.advance(25)
    world.pause(0)
    world.advance(40)
    world.resume(0)
    world.advance(15)
    assert ticks == [10, 20, 65, 75]
    world.pause(0)
    world.kill(0)
    world.restart(0)
    world.advance(15)
    assert ticks[4:] == [90]


def test_a_full_disk_refuses_and_takes_again(world: MeshWorld) -> None:
    world.fill_disk(0)
    with pytest.raises(DiskFullError):
        world.run(world.mesh(0).put("a/b", b"1"))
    world.fill_disk(0, full=False)
    world.run(world.mesh(0).put("a/b", b"1"))


def test_a_wiped_node_gets_everything_again(world: MeshWorld) -> None:
    world.run(world.mesh(0).put("a/b", b"1", ack="all"))
    world.wipe(2)
    assert world.nodes[2].disk.platter.by_key == {}
    world.settle()
    assert world.run(world.mesh(2).get("a/b")).data == b"1"


def test_a_clock_that_is_ahead_wins_and_is_set_right_at_the_end(world: MeshWorld) -> None:
    world.set_clock(0, 30)
    world.run(world.mesh(0).put("a/b", b"from the future", ack="all"))
    stamped_ms = world.run(world.mesh(1).head("a/b")).time_ms
    world.settle()
    assert stamped_ms - world.nodes[1].clock.now().wall_ms > 25_000
    assert world.nodes[0].clock.offset_ms == 0


def test_random_faults_happen_and_are_over_after_their_time(world: MeshWorld) -> None:
    world.faults("kill", "partition", for_s=120, every_s=10)
    world.advance(125)
    assert set(world.fault_counts) == {"kill", "partition"}
    counts = dict(world.fault_counts)
    world.advance(120)
    assert world.fault_counts == counts
    assert all(node.is_running for node in world.nodes)


def test_an_unknown_kind_of_fault_is_refused_with_those_there_are(world: MeshWorld) -> None:
    with pytest.raises(UsageError, match=r"'flood' is no kind of fault; there are .*kill"):
        world.faults("flood", for_s=1)


def test_a_killed_node_stays_down_until_it_is_started(world: MeshWorld) -> None:
    world.kill(1)
    world.advance(100)
    assert not world.mesh(1).is_running()
    world.settle()
    assert world.mesh(1).is_running()


def test_the_end_of_random_faults_leaves_what_the_test_did(world: MeshWorld) -> None:
    world.kill(0)
    world.partition([1], [2])
    world.fill_disk(1)
    world.set_clock(2, 7)
    world.faults("kill", "partition", "disk_full", "clock_jump", for_s=30, every_s=2, lasts_s=1)
    world.advance(29)
    assert world.fault_counts.total() > 10
    assert not world.nodes[0].is_running
    world.advance(11)
    assert [node.is_running for node in world.nodes] == [False, True, True]
    network = world.simulation.network
    assert network.is_blocked(1, 2)
    assert not network.is_blocked(0, 1)
    assert [node.disk.is_full for node in world.nodes] == [False, True, False]
    assert [node.clock.offset_ms for node in world.nodes][2] == 7_000
    world.settle()
    assert all(node.is_running and not node.disk.is_full for node in world.nodes)


def test_each_of_two_runs_of_faults_has_its_own_end(world: MeshWorld) -> None:
    world.faults("reset", for_s=10, every_s=1)
    world.faults("flap", for_s=60, every_s=1)
    world.advance(20)
    before = world.fault_counts
    world.advance(30)
    assert world.fault_counts["flap"] > before["flap"] + 10
    assert world.fault_counts["reset"] == before["reset"]


def test_faults_are_counted_once_however_often_it_settles(world: MeshWorld) -> None:
    world.faults("reset", for_s=5, every_s=1)
    world.advance(10)
    counted = world.fault_counts
    assert counted["reset"] > 0
    world.settle()
    world.settle()
    assert world.fault_counts == counted


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"nodes": True}, "nodes=True"),
        ({"nodes": "3"}, "nodes='3'"),
        ({"links": [(0, 9, LINK_CLASSES["lte"])]}, r"links\[0\]"),
        ({"links": [(0, 1, "lte")]}, r"links\[0\]"),
        ({"merge": {"a": 5}}, r"merge\.a"),
        ({"merge": {"a/b": "lww"}}, r"spaces\.a/b"),
        ({"spaces": {"": {}}}, r"spaces\."),
        ({"spaces": {"a": {"encrypt": True}}}, r"spaces\.a\.encrypt"),
        ({"spaces": {"a": {"replicas": 2}}}, r"spaces\.a\.replicas"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises((ConfigError, UsageError, UnsupportedError), match=told):
        MeshWorld(**arguments)


@pytest.mark.parametrize("index", [-1, 3])
def test_a_node_that_is_not_there_is_refused(world: MeshWorld, index: int) -> None:
    with pytest.raises(UsageError, match="0 to 2"):
        world.mesh(index)


def test_links_of_pairs_differ_from_the_others() -> None:
    from bellande_mesh_sync.sim.links import LINK_CLASSES

    with MeshWorld(3, link="lan", links=[(0, 2, LINK_CLASSES["satellite"])]) as world:
        world.advance(20)
        rtt = {view.node: view.rtt_ms for view in world.run(world.mesh(0).nodes())}
        near, far = rtt[world.mesh(1).node_id], rtt[world.mesh(2).node_id]
        assert near is not None
        assert far is not None
        assert near < 20 < 500 < far


def test_links_drop_out_by_nature() -> None:
    from bellande_mesh_sync.sim.links import LinkClass

    with MeshWorld(2, link=LinkClass(1, 1, 0.0, 10**6, drop_every_s=30, drop_lasts_s=10)) as world:
        world.advance(300)
        assert world.drop_out_count > 3
        world.settle()


# -- rest --------------------------------------------------------------------------------------


def test_settle_says_what_differs(world: MeshWorld) -> None:
    world.partition([0], [1, 2])
    world.run(world.mesh(0).put("a/b", b"left"))
    world.run(world.mesh(1).put("a/b", b"right"))
    world.repair = lambda: None  # type: ignore[method-assign]  # The mesh cannot heal.
    with pytest.raises(AssertionError) as caught:
        world.settle(within=10)
    first, second, *_ = str(caught.value).splitlines()
    assert first == "convergence: after 10 s"
    assert second == "  a/b: n0 shows b'left', n1 shows b'right', n2 shows b'right'"


def test_settle_takes_programs_that_go_on_writing() -> None:
    async def beat(mesh: SimMesh) -> None:
        while True:
            await mesh.put(f"beat/{mesh.name}", b"%f" % asyncio.get_running_loop().time())
            await asyncio.sleep(1)

    with MeshWorld(3, link="wifi") as world:
        for index in range(3):
            world.program(index, beat)
        world.kill(1)
        world.advance(60)
        assert world.settle() < 60


def test_siblings_can_be_looked_at_and_are_settled_by_a_write_that_saw_them(world: MeshWorld) -> None:
    world.partition([0], [1, 2])
    world.run(world.mesh(0).put("a/b", b"left"))
    world.run(world.mesh(1).put("a/b", b"right"))
    world.settle()
    assert sorted(sibling.data for sibling in world.siblings(2, "a/b")) == [b"left", b"right"]

    async def decide() -> None:
        entry = await world.mesh(2).head("a/b")
        assert entry.siblings == 2
        await world.mesh(2).put("a/b", b"both", context=entry.context, ack="all")

    world.run(decide())
    assert [sibling.data for sibling in world.siblings(0, "a/b")] == [b"both"]


# -- merge functions ---------------------------------------------------------------------------


def union(siblings: Sequence[Sibling]) -> bytes:
    return json.dumps(sorted({task for sibling in siblings for task in json.loads(sibling.data)})).encode()


def mean(siblings: Sequence[Sibling]) -> bytes:
    return b"%d" % (sum(int(sibling.data) for sibling in siblings) // len(siblings))


def make_conflict(world: MeshWorld, key: str, left: bytes, right: bytes) -> None:
    world.partition([0], [1, 2])
    world.run(world.mesh(0).put(key, left, ack="local"))
    world.run(world.mesh(1).put(key, right, ack="local"))


def test_readers_see_what_the_function_makes_of_siblings_and_can_write_it_back() -> None:
    with MeshWorld(3, merge={"tasks": union}) as world:
        make_conflict(world, "tasks/a", b'["x"]', b'["y"]')
        world.settle()

        async def write_back() -> None:
            value = await world.mesh(2).get("tasks/a")
            assert value.data == b'["x", "y"]'
            assert (value.entry.siblings, value.entry.size) == (2, 10)
            await world.mesh(2).put("tasks/a", value.data, context=value.entry.context, ack="all")
            assert (await world.mesh(0).head("tasks/a")).siblings == 1

        world.run(write_back())


def test_large_siblings_are_merged_too() -> None:
    left, right = (json.dumps([name * 20_000]).encode() for name in "xy")
    with MeshWorld(3, merge={"tasks": union}) as world:
        make_conflict(world, "tasks/a", left, right)
        world.settle()
        assert len(world.run(world.mesh(2).get("tasks/a")).data) > 40_000


def test_a_write_outlives_a_delete_that_did_not_know_of_it() -> None:
    with MeshWorld(3, merge={"tasks": union}) as world:
        world.run(world.mesh(0).put("tasks/a", b'["x"]', ack="all"))
        world.partition([0], [1, 2])
        world.run(world.mesh(1).put("tasks/a", b'["y"]'))
        world.run(world.mesh(0).delete("tasks/a"))
        world.settle()
        assert world.run(world.mesh(2).get("tasks/a")).data == b'["y"]'


def test_a_function_that_breaks_a_law_ends_the_run_with_the_siblings_and_the_law() -> None:
    with MeshWorld(3, merge={"battery": mean}) as world:
        make_conflict(world, "battery/r1", b"80", b"60")
        with pytest.raises(Violation) as caught:
            world.settle()
        assert caught.value.about == "battery/r1"
        told = str(caught.value)
        assert "mean is not idempotent on battery/r1" in told
        assert "1. n0 at " in told
        assert "b'80'" in told


def test_a_function_that_gives_each_node_something_else_is_found_at_rest() -> None:
    calls: dict[bool, int] = {False: 0}

    def moody(siblings: Sequence[Sibling]) -> bytes:
        """Keeps all laws while they are tried, and then changes its mind."""
        calls[False] += 1
        return b"a" if calls[False] < 40 else b"%d" % calls[False]

    with MeshWorld(3, merge={"tasks": moody}) as world:
        make_conflict(world, "tasks/a", b"1", b"2")
        calls[False] = -1000
        world.heal()
        world.advance(5)
        calls[False] = 1000
        with pytest.raises(Violation, match=r"at rest tasks/a is not the same everywhere\n  n0 shows"):
            world.settle()


def test_a_policy_may_name_the_function() -> None:
    policy = {"conflict": "tests.simulation.test_mesh_world:union", "ack": "one"}
    with MeshWorld(3, spaces={"tasks": policy}) as world:
        make_conflict(world, "tasks/a", b'["x"]', b'["y"]')
        world.settle()
        assert world.run(world.mesh(0).get("tasks/a")).data == b'["x", "y"]'


def test_other_spaces_and_words_are_left_alone() -> None:
    with MeshWorld(3, merge={"tasks": mean, "a": "siblings", "b": "lww"}) as world:
        make_conflict(world, "a/b", b"x", b"y")
        world.settle()
        assert world.run(world.mesh(2).get("a/b")).data == b"y"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("union", "written as module:function"),
        ("no_such_module:union", "No module named"),
        ("tests.simulation.test_mesh_world:no_such", "has no function no_such"),
    ],
)
def test_a_function_that_is_not_there_is_refused(name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"merge\.tasks: .*{reason}"):
        MeshWorld(merge={"tasks": name})


# -- the same again ----------------------------------------------------------------------------

_PROGRAM = """
import asyncio, random
from bellande_mesh_sync.sim.mesh_world import MeshWorld

async def busy(mesh):
    while True:
        try:
            await mesh.put(f"a/{random.randrange(9)}", random.randbytes(99), ack="quorum", timeout=3)
            await asyncio.wait_for(asyncio.sleep(random.random()), 0.5)
        except (Exception, TimeoutError):
            await asyncio.sleep(0.1)

with MeshWorld(4, seed=SEED, link="wifi") as world:
    for index in range(4):
        world.program(index, busy)
    world.faults("kill", "power", "partition", for_s=30, every_s=8)
    world.advance(30)
    world.settle()
    print(world.digest())
"""


def digest(seed: int, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", _PROGRAM.replace("SEED", str(seed))]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return ran.stdout.strip()


def test_a_seed_with_programs_gives_the_same_trace_in_every_process() -> None:
    digests = [digest(7, "0"), digest(7, "1"), digest(8, "0")]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]
