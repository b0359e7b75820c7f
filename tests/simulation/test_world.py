"""Virtual time and clocks."""

from __future__ import annotations

from bellande_mesh_sync.sim.world import MILLISECOND_NS, SECOND_NS, WALL_START_MS, NodeClock, World


def test_actions_run_in_the_order_of_their_time_and_then_of_their_planning() -> None:
    world = World(1)
    done: list[str] = []
    world.after(20, done.append, "late")
    world.after(10, done.append, "first of two")
    world.after(10, done.append, "second of two")
    world.run_until(15)
    assert done == ["first of two", "second of two"]
    world.run_until(100)
    assert done[-1] == "late"
    assert world.now_ns == 100


def test_an_action_for_the_past_runs_now() -> None:
    world = World(1)
    world.run_until(SECOND_NS)
    times: list[int] = []
    world.at(5, lambda: times.append(world.now_ns))
    world.run_until(SECOND_NS)
    assert times == [SECOND_NS]


def test_chance_depends_on_seed_and_name_alone() -> None:
    draws = [World(7).rng("disk").random(), World(7).rng("disk").random()]
    assert draws[0] == draws[1]
    assert World(7).rng("network").random() != draws[0]
    assert World(8).rng("disk").random() != draws[0]


def test_a_clock_drifts_and_is_off_and_may_jump() -> None:
    world = World(1)
    clock = NodeClock(world, offset_ms=-30, drift_ppm=100)
    clock.reboot(1_000)
    world.run_until(10_000 * SECOND_NS)
    assert clock.now().mono_ns == 1_000 + 10_001 * SECOND_NS
    assert clock.now().wall_ms == WALL_START_MS + 10_001_000 - 30
    clock.offset_ms = 500
    assert clock.now().wall_ms == WALL_START_MS + 10_001_500


def test_a_timer_never_fires_before_the_nodes_own_clock_shows_its_time() -> None:
    for drift_ppm in (-200, 0, 200):
        world = World(1)
        clock = NodeClock(world, drift_ppm=drift_ppm)
        for wait_ns in (1, 999, 20 * MILLISECOND_NS, 3_600 * SECOND_NS):
            due_ns = clock.now().mono_ns + wait_ns
            world.run_until(clock.world_time_of(due_ns))
            assert due_ns <= clock.now().mono_ns <= due_ns + 1_000
