"""What the benchmarks of membership look at."""

from __future__ import annotations

from bellande_mesh_sync.sim.member_world import MemberWorld
from bench.members_worlds import held_dead, is_one_mesh, scenario, time_until


def test_halves_that_hold_each_other_for_dead_are_not_one_mesh_until_they_have_healed() -> None:
    world = MemberWorld(scenario(6, "fast"))
    assert is_one_mesh(world)
    world.split([0, 1, 2])
    world.run_for(60)
    assert held_dead(world) == set(range(6))
    world.heal()
    took_s = time_until(world, is_one_mesh, 60)
    assert 0 < took_s < 60
    assert held_dead(world) == set()


def test_time_that_does_not_come_ends_at_its_limit() -> None:
    world = MemberWorld(scenario(3, "fast"))
    assert 5 <= time_until(world, lambda world: False, 5) < 5.2
