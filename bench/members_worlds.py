"""Member worlds for the benchmarks: runs that must keep every promise, and what is looked at from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bellande_mesh_sync.core.members.swim.config import PROFILES
from bellande_mesh_sync.core.members.swim.view import DEAD
from bellande_mesh_sync.sim.datagrams import DatagramConfig
from bellande_mesh_sync.sim.member_faults import MemberFaults
from bellande_mesh_sync.sim.member_run import MemberOutcome, run_members
from bellande_mesh_sync.sim.member_world import MemberScenario, MemberWorld
from bellande_mesh_sync.sim.world import MILLISECOND_NS, SECOND_NS
from bench.measure import Report

STEP_S: Final = 0.1
GOOD: Final = DatagramConfig()
"""0.15 to 0.45 ms one way, nothing lost: machines at one switch."""
BAD: Final = DatagramConfig(
    latency_min_ns=50 * MILLISECOND_NS,
    latency_spread_ns=100 * MILLISECOND_NS,
    loss_ratio=0.1,
    reorder_ratio=0.25,
)
NO_TROUBLE: Final = MemberFaults(kinds=())


def scenario(nodes: int, profile: str, seed: int = 1, network: DatagramConfig = GOOD) -> MemberScenario:
    """False deaths are counted, not refused: here they are the figure."""
    return MemberScenario(nodes, seed, PROFILES[profile], network, expects_accuracy=False)


def simulate(
    nodes: int, profile: str, seed: int, minutes: float, *, network: DatagramConfig = GOOD, kills: int = 0,
    joins: int = 0, weighs: bool = False,
) -> MemberOutcome:  # fmt: skip
    """What `python -m bellande_mesh_sync.sim members` runs."""
    what = scenario(nodes, profile, seed, network)
    outcome = run_members(what, minutes, NO_TROUBLE, kills=kills, joins=joins, weighs=weighs)
    assert not outcome.violation, outcome.violation
    return outcome


def held_dead(world: MemberWorld) -> set[int]:
    """The hosts that any running one holds for dead."""
    nodes = {host.node: host.index for host in world.hosts}
    found: set[int] = set()
    for host in world.hosts:
        if host.machine is None or DEAD not in host.machine.view.standings:
            continue
        view = host.machine.view
        found |= {nodes[view.roster.nodes[i]] for i, how in enumerate(view.standings) if how == DEAD}
    return found


def is_one_mesh(world: MemberWorld) -> bool:
    """Nobody holds anybody for dead."""
    return all(DEAD not in host.machine.view.standings for host in world.hosts if host.machine is not None)


def time_until(world: MemberWorld, holds: Callable[[MemberWorld], bool], limit_s: float) -> float:
    """Virtual seconds until then, to a tenth; `limit_s` if it does not come to that."""
    began_ns = world.world.now_ns
    passed_s = 0.0
    while not holds(world) and passed_s < limit_s:
        world.run_for(STEP_S)
        passed_s = (world.world.now_ns - began_ns) / SECOND_NS
    return passed_s


def add_curve(report: Report, nodes: int, minutes: float, *, kills: int, joins: int) -> None:
    """How membership grows with the mesh: one run of profile `lan`, and all that is known from it."""
    outcome = simulate(nodes, "lan", 1, minutes, kills=kills, joins=joins, weighs=True)
    report.add(f"{nodes:,} nodes: kill to all knowing", "s", outcome.known_by_all_s)
    report.add("  first to last knowing", "s", outcome.first_to_last_s)
    report.add("  join to all knowing", "s", outcome.joins_s)
    report.add("  sent by a node, with these events", "bytes/s", [outcome.bytes_per_node_s])
    report.add("  own memory of a node's view", "kB", [outcome.view_bytes / 1000])
    report.add("  false deaths", "", [len(outcome.false_deaths)], at_most=0)
    speed = outcome.virtual_s / outcome.real_s
    report.add("  speed, all nodes in one thread", "x real time", [speed], "real time: of this machine")
