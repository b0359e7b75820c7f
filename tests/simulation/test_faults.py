"""Every kind of fault: it does what it says, it happens, and a mesh under it alone recovers."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Final

import pytest

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.sim.faults import FaultConfig
from bellande_mesh_sync.sim.simulation import Simulation
from bellande_mesh_sync.sim.swarm import Scenario
from bellande_mesh_sync.sim.workload import WorkloadConfig
from bellande_mesh_sync.sim.world import MILLISECOND_NS, SECOND_NS, WALL_START_MS

KINDS: Final = {
    "partition_s": "partition",
    "flap_s": "flap",
    "flapping_s": "flapping",
    "clog_s": "clog",
    "slow_link_s": "slow_link",
    "reset_s": "reset",
    "cut_stream_s": "cut_stream",
    "congestion_s": "congestion",
    "kill_s": "kill",
    "kill_amid_s": "kill_amid",
    "power_s": "power_cut",
    "stop_s": "clean_stop",
    "pause_s": "pause",
    "slow_loop_s": "slow_loop",
    "wipe_s": "wiped_disk",
    "blackout_s": "blackout",
    "away_s": "away",
    "join_s": "joined",
    "clock_jump_s": "clock_jump",
    "clock_lost_s": "clock_lost",
    "disk_full_s": "full_disk",
    "disk_slow_s": "slow_disk",
    "disk_stall_s": "stalled_disk",
    "sync_failure_s": "failed_sync",
    "read_failure_s": "failed_read",
    "rot_record_s": "rotten_record",
    "rot_chunk_s": "rotten_chunk",
    "restore_s": "restored_backup",
}
"""Each kind's pace, and the name it is counted under."""

ELSEWHERE: Final = {"lasts_mean_s", "away_lasts_s", "revoke_s", "state_s", "expel_s", "upgrade_s", "rehome_s"}
"""No kinds of faults, or tested with what they are about."""

_QUICK = CoreConfig(
    sync_interval_ns=3 * SECOND_NS,
    stall_timeout_ns=3 * SECOND_NS,
    ping_interval_ns=2 * SECOND_NS,
    redial_max_ns=2 * SECOND_NS,
    node_timeout_ns=10 * SECOND_NS,
    forget_after_ns=15 * SECOND_NS,
    clock_drift_max_ms=2_000,
)


def mesh(faults: FaultConfig, *, seconds: float = 40, seed: int = 1) -> Simulation:
    return Simulation(
        Scenario(
            seed,
            4,
            faults_s=seconds,
            settle_s=60,
            core=_QUICK,
            workload=WorkloadConfig(clients=3, requests_per_s=6),
            faults=replace(faults, lasts_mean_s=3, jump_max_ms=10_000, away_lasts_s=70),
        )
    )


def running(faults: FaultConfig | None = None) -> Simulation:
    """A mesh whose nodes know each other, with no fault yet."""
    made = mesh(faults or FaultConfig())
    for node in made.nodes:
        node.start()
    made.world.run_until(10 * SECOND_NS)
    return made


def test_every_kind_is_tried_alone_below() -> None:
    paces = {each.name for each in fields(FaultConfig) if each.name.endswith("_s")}
    assert paces - ELSEWHERE == set(KINDS)


@pytest.mark.parametrize("pace", KINDS)
def test_a_mesh_recovers_from_faults_of_one_kind(pace: str) -> None:
    paces: dict[str, Any] = {pace: 4.0}
    simulation = mesh(FaultConfig(**paces))
    outcome = simulation.run()
    assert outcome.violation == ""
    assert outcome.faults[KINDS[pace]] > 0
    assert outcome.counts["acked local"] > 5, "clients get work done between faults"


# -- links


def test_a_partition_blocks_just_what_is_between_its_groups_and_ends() -> None:
    simulation = running()
    links = simulation.faults.links
    shapes: set[tuple[tuple[int, int], ...]] = set()
    for _ in range(40):
        assert links.partition() in (True, False)
        shapes.add(tuple(sorted(simulation.network._blocked)))
        links.repair()
        assert not simulation.network._blocked
    counts = {len(ways) for ways in shapes}
    assert {6, 8} <= counts, "one against three, and halves, both ways"
    assert any((b, a) not in ways for ways in shapes for a, b in ways), "now and then one way only"


def test_a_way_that_two_partitions_block_is_free_when_the_last_one_ends() -> None:
    simulation = running()
    network = simulation.network
    first, second = network.block([(0, 1)]), network.block([(0, 1), (1, 0)])
    network.unblock(first)
    assert network.is_blocked(0, 1)
    network.unblock(second)
    assert not network.is_blocked(0, 1)
    network.block([(0, 1)])
    network.unblock(second)
    assert network.is_blocked(0, 1), "each block is taken back once"


def test_a_flapping_pair_goes_up_and_down_several_times() -> None:
    simulation = running()
    simulation.faults.links.flapping()
    seen = [bool(simulation.network._blocked)]
    for _ in range(2_000):
        simulation.world.run_until(simulation.world.now_ns + 20 * MILLISECOND_NS)
        is_down = bool(simulation.network._blocked)
        if is_down != seen[-1]:
            seen.append(is_down)
    assert len(seen) >= 6
    assert seen[-1] is False


# -- processes


def test_a_slow_loop_lets_events_queue_up_and_handles_all_of_them_in_the_end() -> None:
    simulation = running()
    node = simulation.nodes[1]
    node.event_ns = 500 * MILLISECOND_NS
    longest = 0
    for _ in range(100):
        simulation.world.run_until(simulation.world.now_ns + 100 * MILLISECOND_NS)
        longest = max(longest, len(node._inbox))
    assert longest > 3
    node.event_ns = 0
    simulation.world.run_until(simulation.world.now_ns + 10 * SECOND_NS)
    assert not node._inbox


def test_a_slow_node_that_dies_is_not_slow_or_deaf_when_it_is_back() -> None:
    simulation = running()
    node = simulation.nodes[1]
    node.event_ns = 10 * SECOND_NS
    simulation.world.run_until(simulation.world.now_ns + 3 * SECOND_NS)
    node.crash()
    node.event_ns = 0
    node.start()
    simulation.world.run_until(simulation.world.now_ns + 10 * SECOND_NS)
    assert not node._inbox
    assert simulation.network.links_of(node) == 3


def test_a_newcomer_has_an_empty_disk_and_a_name_of_its_own_and_is_told_everything() -> None:
    simulation = running()
    assert simulation.faults.processes.joined()
    node = simulation.nodes[4]
    assert node.node not in {other.node for other in simulation.nodes[:4]}
    assert node.disk.platter.members == {}
    simulation.world.run_until(simulation.world.now_ns + 20 * SECOND_NS)
    assert all(len(disk.platter.members) == 5 for disk in simulation.disks)


def test_no_more_join_than_may() -> None:
    simulation = running(FaultConfig(joins_max=2))
    assert [simulation.faults.processes.joined() for _ in range(3)] == [True, True, False]


def test_a_node_that_is_long_away_is_forgotten_and_found_again() -> None:
    simulation = running()
    assert simulation.faults.processes.away()
    (absent,) = [node for node in simulation.nodes if not node.is_running]
    simulation.world.run_until(simulation.world.now_ns + 65 * SECOND_NS)
    for node in simulation.nodes:
        if node is not absent:
            assert isinstance(node.core, NodeCore)
            assert node.core.directory.record_of(absent.node) is None
    simulation.world.run_until(simulation.world.now_ns + 100 * SECOND_NS)
    assert absent.is_running
    assert simulation.network.links_of(absent) == 3


# -- clocks


def test_a_lost_clock_shows_1970_until_it_is_told_the_time() -> None:
    simulation = running()
    assert simulation.faults.clocks.clock_lost()
    (node,) = [node for node in simulation.nodes if node.clock.offset_ms < -WALL_START_MS // 2]
    assert 0 <= node.clock.now().wall_ms < 1_000
    simulation.world.run_until(simulation.world.now_ns + 60 * SECOND_NS)
    assert node.clock.offset_ms == 0


def test_a_clock_jump_stays_within_its_bound() -> None:
    simulation = running()
    offsets: list[int] = []
    for _ in range(50):
        simulation.faults.clocks.clock_jump()
        offsets += [node.clock.offset_ms for node in simulation.nodes]
    assert all(abs(offset) <= 10_000 for offset in offsets)
    assert min(offsets) < 0 < max(offsets)


# -- disks


def test_a_record_that_rotted_is_set_aside_when_it_is_read_and_comes_back_from_a_peer() -> None:
    simulation = mesh(FaultConfig(rot_record_s=1.0), seconds=60)
    outcome = simulation.run()
    assert outcome.violation == ""
    assert outcome.counts["rot_found"] > 10
    assert outcome.counts["set_aside"] > 10
    assert all(node.boot == 1 for node in simulation.nodes), "no node stopped for it"
    damaged = [disk.platter.damaged for disk in simulation.disks]
    assert sum(map(len, damaged)) < outcome.counts["set_aside"] / 2, "what others have comes back"


def test_a_restored_node_becomes_a_new_author() -> None:
    outcome = mesh(FaultConfig(restore_s=5.0), seconds=60).run()
    assert outcome.violation == ""
    assert 0 < outcome.counts["epochs_drawn"] <= outcome.faults["restored_backup"]


# -- episodes


@pytest.mark.parametrize("kind", ["full_disk", "slow_disk", "slow_loop", "congestion", "pause"])
def test_of_two_episodes_the_last_end_counts(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = running()
    faults = simulation.faults
    node, plan = simulation.nodes[1], faults.disks._plan
    monkeypatch.setattr(faults.disks, "_draw", lambda: node.disk)
    monkeypatch.setattr(faults.processes, "_draw", lambda: node)
    lasts_s = iter((1, 5))
    monkeypatch.setattr(plan, "draw", lambda mean_s: next(lasts_s) * SECOND_NS)

    def is_wrong() -> bool:
        disk, times = node.disk, simulation.network.times
        return bool(disk.is_full or disk.is_slow or node.event_ns or node.is_paused or times.slowdown > 1)

    inflict = next(getattr(each, kind) for each in (faults.disks, faults.processes, faults.links)
                   if hasattr(each, kind))  # fmt: skip
    assert inflict()
    assert inflict()
    simulation.world.run_until(simulation.world.now_ns + 3 * SECOND_NS)
    assert is_wrong()
    simulation.world.run_until(simulation.world.now_ns + 3 * SECOND_NS)
    assert not is_wrong()


# -- the end


def test_at_the_end_everything_is_repaired() -> None:
    simulation = running()
    faults, nodes = simulation.faults, simulation.nodes
    faults.links.partition()
    faults.links.clog()
    faults.links.congestion()
    nodes[0].crash()
    nodes[1].pause()
    nodes[2].event_ns = SECOND_NS
    nodes[2].clock.offset_ms = 77
    nodes[3].disk.is_full = True
    faults.stop()
    assert not simulation.network._blocked
    assert simulation.network.times.slowdown == 1
    assert simulation.network.times.clogged_until_ns((0, 1)) == 0
    assert all(node.is_running and not node.is_paused and not node.event_ns for node in nodes)
    assert all(node.clock.offset_ms == 0 for node in nodes)
    assert not nodes[3].disk.is_full
    before = dict(faults.counts)
    simulation.world.run_until(simulation.world.now_ns + 60 * SECOND_NS)
    assert dict(faults.counts) == before
