"""Two robots claim crossing paths on two nodes at the same moment, on a whole mesh with faults."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from bellande_mesh_sync.errors import ReservedError, UsageError
from bellande_mesh_sync.sim.mesh_world import MeshWorld
from bellande_mesh_sync.together import Reservation, Reservations, Tube, meet, plan_together, tube_of
from bellande_mesh_sync.together.reservations import CLOCK_MARGIN_MS
from tests.mesh.conftest import MeshMaker, Scenario, eventually
from tests.together.test_planning import flat

Play = Callable[[Scenario], None]
SPEED = 5.0
RADIUS = 0.5
SIDE = 5 / math.sqrt(2)
AHEAD_MS = 20_000
"""Tubes begin so long after they are claimed."""


def crossing(start_ms: int) -> list[Tube]:
    """East, north, and a diagonal: all are in the middle after a second."""
    ways: list[list[tuple[float, float]]] = [
        [(0, 5), (10, 5)],
        [(5, 0), (5, 10)],
        [(5 - SIDE, 5 - SIDE), (5 + SIDE, 5 + SIDE)],
    ]
    return [tube_of(way, start_ms=start_ms, speed=SPEED, radius=RADIUS) for way in ways]


async def claims(desks: list[Reservations], tubes: list[Tube], timeout: float = 5.0) -> list[Reservation]:
    """All at the same moment; those that got theirs."""
    tries = (
        desk.reserve(f"r{n}", tube, timeout=timeout)
        for n, (desk, tube) in enumerate(zip(desks, tubes, strict=True))
    )
    ended = await asyncio.gather(*tries, return_exceptions=True)
    for each in ended:
        assert isinstance(each, Reservation | ReservedError), each
    return [each for each in ended if isinstance(each, Reservation)]


def run_trials(count: int, seed: int, trouble: Callable[[MeshWorld, int], object]) -> tuple[int, int]:
    """So many times three robots claim at once: how often one got its tube, and the count of fences."""
    with MeshWorld(3, seed=seed) as world:
        meshes = [world.mesh(index) for index in range(3)]

        def clock_ms() -> int:
            return round(world.now_s * 1000)

        async def all_trials() -> list[list[Reservation]]:
            found = []
            async with AsyncExitStack() as exits:
                voters = [mesh.node_id for mesh in meshes]
                desks = [
                    await exits.enter_async_context(
                        Reservations(mesh, "tubes/hall", voters, clock_ms=clock_ms, seed=number)
                    )
                    for number, mesh in enumerate(meshes)
                ]
                for trial in range(count):
                    trouble(world, trial)
                    tubes = crossing(clock_ms() + AHEAD_MS)
                    won = await claims(desks, tubes)
                    found.append(won)
                    for reservation in won:
                        await desks[int(reservation.robot[1])].release(reservation)
            return found

        found = world.run(all_trials())
        fences = [reservation.fence for won in found for reservation in won]
        for won in found:
            for number, one in enumerate(won):
                assert not any(meet(one.tube, other.tube) for other in won[number + 1 :])
        return sum(map(bool, found)), len(set(fences))


def test_of_robots_that_cross_at_once_one_at_most_goes() -> None:
    got, fences = run_trials(30, 1, lambda world, trial: None)
    assert got >= 28
    assert fences == got


def test_that_holds_while_nodes_are_cut_off() -> None:
    def cut(world: MeshWorld, trial: int) -> None:
        world.repair()
        if trial % 3:
            world.partition([trial % 2], [1 - trial % 2, 2])

    got, fences = run_trials(20, 2, cut)
    assert got >= 10
    assert fences == got


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_that_holds_in_a_thousand_trials(seed: int) -> None:
    got, _ = run_trials(100, seed, lambda world, trial: None)
    assert got >= 90


def test_two_robots_plan_on_two_nodes_and_the_second_goes_later(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        nodes = await make.three()
        voters = [mesh.node_id for mesh in nodes]
        async with AsyncExitStack() as exits:
            desks = [
                await exits.enter_async_context(Reservations(mesh, "tubes/hall", voters)) for mesh in nodes
            ]
            paths = [await plan_together(mesh, "plans/x", flat(seed=n)) for n, mesh in enumerate(nodes[:2])]
            start_ms = desks[0]._clock_ms() + 60_000
            tubes = [tube_of(path.points, start_ms=start_ms, speed=SPEED, radius=RADIUS) for path in paths]
            won = await claims(desks[:2], tubes)
            assert len(won) <= 1
            first = won[0] if won else await desks[0].reserve("r0", tubes[0])
            with pytest.raises(ReservedError):
                await desks[2].reserve("late", tubes[0])
            second = await desks[2].reserve("r2", tubes[1].delayed(10_000))

            async def all_confirmed() -> bool:
                return {claim.state for claim in desks[2].claims()} == {"confirmed"}

            async def release_arrived() -> bool:
                return first.id not in {claim.id for claim in desks[1].claims()}

            await eventually(all_confirmed)
            await desks[int(first.robot[1])].release(first)
            await eventually(release_arrived)
            third = await desks[1].reserve("r3", tubes[1])
            assert third.fence > first.fence
            assert second.fence > 0

    play(scenario)


def test_a_tube_in_the_past_and_voters_that_are_none_are_refused(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        mesh = await make.node("a")
        for voters in ([], ["x", "x"]):
            with pytest.raises(UsageError):
                Reservations(mesh, "tubes/hall", voters)
        async with Reservations(mesh, "tubes/hall", [mesh.node_id]) as desk:
            with pytest.raises(UsageError, match="past"):
                await desk.reserve("r", crossing(1000)[0])
            now_ms = desk._clock_ms()
            with pytest.raises(UsageError, match="timeout"):
                await desk.reserve("r", crossing(now_ms + 5000)[0], timeout=0)
            await mesh.put("tubes/hall/claims/junk", b"no claim")
            await mesh.put(f"tubes/hall/votes/{mesh.node_id}", b'{"counter": "many"}')
            got: Any = await desk.reserve("r", crossing(desk._clock_ms() + CLOCK_MARGIN_MS)[0])
            assert got.fence > now_ms

    play(scenario)


def test_without_a_majority_there_is_no_reservation_and_it_is_withdrawn(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        mesh = await make.node("a")
        async with Reservations(mesh, "tubes/hall", [mesh.node_id, "b" * 64, "c" * 64]) as desk:
            with pytest.raises(ReservedError, match="no majority"):
                await desk.reserve("r", crossing(desk._clock_ms() + 60_000)[0], timeout=0.3)
            assert desk.claims() == []

    play(scenario)
