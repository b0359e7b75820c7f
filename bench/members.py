"""What membership promises, with its goals: on virtual time, so that other work here changes no figure.

Each run is one seed. Only the rows that say so are of real time.
"""

from __future__ import annotations

from typing import Final

from bellande_mesh_sync.sim.campaign import prepare
from bellande_mesh_sync.sim.member_promises import LONG_SPLIT, detection_bound_ns
from bellande_mesh_sync.sim.member_world import MemberWorld
from bellande_mesh_sync.sim.world import SECOND_NS
from bench.measure import Report, percentile, progress
from bench.members_worlds import (
    BAD,
    add_curve,
    held_dead,
    is_one_mesh,
    scenario,
    simulate,
    time_until,
)

KILLS: Final = ((100, 10, 2.0, 6.0), (1000, 5, 1.0, 8.5))
"""Nodes, kills in a run, virtual minutes for them, and seconds until all know, at the median."""
KNOWN_P99_S: Final = 12.0
SPLITS: Final = ((2, "lan"), (30, "lan"), (100, "lan"))
MESH_NODES: Final = 30
BAD_MINUTES: Final = 30.0
CUT_S: Final = 600.0
PAUSE_S: Final = 60.0
BACK_S: Final = 10.0
HEAL_S: Final = 60.0
IDLE_BYTES: Final = 2000.0
CURVE: Final = (100, 300, 1000)


def run(runs: int) -> Report:
    report = Report("members")
    prepare()
    seeds = range(1, runs + 1)
    _kills(report, seeds)
    _false_deaths(report, seeds)
    _cut(report, seeds)
    _pause(report, seeds)
    _splits(report, seeds)
    _idle(report)
    for nodes in CURVE:
        progress(f"{nodes} members: the curve")
        add_curve(report, nodes, 3.0, kills=4, joins=2)
    return report


def _kills(report: Report, seeds: range) -> None:
    for nodes, kills, minutes, goal_s in KILLS:
        progress(f"{nodes} members: kills")
        outcomes = [simulate(nodes, "fast", seed, minutes, kills=kills) for seed in seeds]
        medians = [percentile(outcome.known_by_all_s, 0.5) for outcome in outcomes]
        report.add(
            f"{nodes:,} nodes, fast: kill to all knowing, median of {kills}", "s", medians, at_most=goal_s
        )
        each = [outcome.detections_s for outcome in outcomes]
        report.add(
            "  kill to each knowing, p99", "s", [percentile(s, 0.99) for s in each], at_most=KNOWN_P99_S
        )
        report.add("  kill to each knowing, worst", "s", [max(samples) for samples in each])


def _false_deaths(report: Report, seeds: range) -> None:
    """A tenth lost, a quarter out of order, 100 +- 50 ms one way."""
    for profile in ("lan", "fast"):
        progress(f"{MESH_NODES} members on a bad network, {profile}")
        outcomes = [simulate(MESH_NODES, profile, seed, BAD_MINUTES, network=BAD) for seed in seeds]
        deaths = [len(outcome.false_deaths) for outcome in outcomes]
        report.add(f"{MESH_NODES} nodes, {profile}, bad network: false deaths", "", deaths, at_most=0)


def _cut(report: Report, seeds: range) -> None:
    deaths, suspicions = [], []
    progress(f"{MESH_NODES} members, one way cut")
    for seed in seeds:
        world = MemberWorld(scenario(MESH_NODES, "lan", seed))
        world.run_for(10)
        changes = world.checker.change_count
        world.cut_one_way(0, 1)
        world.run_for(CUT_S)
        deaths.append(len(world.checker.false_deaths))
        suspicions.append(world.checker.change_count - changes)
    report.add(f"{MESH_NODES} nodes, one way cut for {CUT_S:.0f} s: deaths", "", deaths, at_most=0)
    report.add("  suspicions and refutations told to programs", "", suspicions)


def _pause(report: Report, seeds: range) -> None:
    others, returns = [], []
    progress(f"{MESH_NODES} members, one paused")
    for seed in seeds:
        world = MemberWorld(scenario(MESH_NODES, "lan", seed))
        world.run_for(10)
        world.pause(0)
        world.run_for(PAUSE_S)
        called_dead = held_dead(world)
        assert 0 in called_dead, "a node paused for a minute is not known dead"
        world.resume(0)
        returns.append(time_until(world, is_one_mesh, HEAL_S))
        world.run_for(BACK_S)  # What it held against others in its sleep would come out by now.
        others.append(len((called_dead | held_dead(world)) - {0}))
    report.add(f"{MESH_NODES} nodes, one paused for {PAUSE_S:.0f} s: others dead", "", others, at_most=0)
    report.add("  back for all, and all for it, after", "s", returns, at_most=BACK_S)


def _splits(report: Report, seeds: range) -> None:
    for nodes, profile in SPLITS:
        add_split(report, nodes, profile, seeds)


def add_split(report: Report, nodes: int, profile: str, seeds: range) -> None:
    progress(f"{nodes} members, split in halves")
    times = [_split(nodes, profile, seed) for seed in seeds]
    report.add(f"{nodes:,} nodes, {profile}: halves healed to one mesh", "s", times, at_most=HEAL_S)


def _split(nodes: int, profile: str, seed: int) -> float:
    """Longer than every timeout, even that of nodes which doubt themselves."""
    what = scenario(nodes, profile, seed)
    world = MemberWorld(what)
    world.run_for(10)
    world.split(list(range(nodes // 2)))
    world.run_for(LONG_SPLIT * detection_bound_ns(what.config, nodes) / SECOND_NS)
    assert len(held_dead(world)) == nodes, "the halves do not hold each other for dead"
    world.heal()
    return time_until(world, is_one_mesh, 2 * HEAL_S)


def _idle(report: Report) -> None:
    for profile in ("lan", "fast"):
        progress(f"1000 members, {profile}, nothing happens")
        outcome = simulate(1000, profile, 1, 2.0)
        report.add(
            f"1,000 nodes, {profile}, idle: sent by a node", "bytes/s", [outcome.bytes_per_node_s],
            at_most=IDLE_BYTES,
        )  # fmt: skip
