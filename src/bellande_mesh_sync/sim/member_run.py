"""One run of a member world: trouble, then peace, and what was measured."""

from __future__ import annotations

import gc
import resource
import time
import traceback
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, field

from bellande_mesh_sync.sim.campaign import prepare
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.member_faults import MemberFaults, MemberNemesis
from bellande_mesh_sync.sim.member_promises import (
    HEAL_NS,
    UP,
    detection_bound_ns,
    double_bound_ns,
    removal_bound_ns,
)
from bellande_mesh_sync.sim.member_world import MemberScenario, MemberWorld
from bellande_mesh_sync.sim.world import SECOND_NS


@dataclass(slots=True)
class MemberOutcome:
    """How a run went. Times in virtual seconds unless they say otherwise."""

    nodes: int
    virtual_s: float = 0.0
    real_s: float = 0.0
    violation: str = ""
    detections_s: list[float] = field(default_factory=list)
    known_by_all_s: list[float] = field(default_factory=list)
    first_to_last_s: list[float] = field(default_factory=list)
    joins_s: list[float] = field(default_factory=list)
    doubles_s: list[float] = field(default_factory=list)
    """From the start of each second node with one identity to the stop of the older one."""
    false_deaths: list[str] = field(default_factory=list)
    packets_per_node_s: float = 0.0
    bytes_per_node_s: float = 0.0
    """Sent; as many come in."""
    packet_count: int = 0
    view_bytes: int = 0
    """What one node more takes, beyond what the nodes share."""
    rss_mib: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    digest: str = ""

    def lines(self) -> list[str]:
        return [
            f"{self.nodes} nodes, {self.virtual_s:.0f} virtual s in {self.real_s:.1f} s "
            f"({self.virtual_s / max(self.real_s, 1e-9):.2f}x real time), "
            f"{self.packet_count / max(self.real_s, 1e-9):,.0f} packets per real second",
            f"kill to each knowing: {_percentiles(self.detections_s)}",
            f"kill to all knowing: {_percentiles(self.known_by_all_s)}",
            f"join to all knowing: {_percentiles(self.joins_s)}",
            f"first to last knowing: {_percentiles(self.first_to_last_s)}",
            f"false deaths: {len(self.false_deaths)}",
            f"sent per node: {self.packets_per_node_s:.1f} packets/s, {self.bytes_per_node_s:.0f} bytes/s",
            f"memory: {self.view_bytes / 1000:.1f} kB per node, process at most {self.rss_mib:.0f} MiB",
            "faults: " + (", ".join(f"{kind} {n}" for kind, n in sorted(self.faults.items())) or "none"),
            f"digest: {self.digest[:16]}",
            f"FAILED {self.violation}" if self.violation else "every promise was kept",
        ]


def run_members(
    scenario: MemberScenario, minutes: float, faults: MemberFaults, *, kills: int = 0, joins: int = 0,
    weighs: bool = True,
) -> MemberOutcome:  # fmt: skip
    """Trouble for `minutes`, then peace until all must agree. `kills`, `joins`: so many at first.

    `weighs`: measure what one node more takes.
    """
    started = time.perf_counter()
    outcome = MemberOutcome(scenario.nodes)
    world = MemberWorld(scenario)
    thresholds = gc.get_threshold()
    gc.freeze()  # What a run begins with lives as long as it.
    prepare()
    try:
        _run(world, minutes, faults, kills, joins, outcome)
    except Violation as violation:
        outcome.violation = str(violation)
    except (AssertionError, LookupError, TypeError, ValueError, RecursionError) as error:
        # The machine broke: as bad as a broken promise, and to be replayed like one.
        outcome.violation = f"crash: {traceback.format_exception_only(error)[-1].strip()}"
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
    outcome.real_s = time.perf_counter() - started
    _measure(world, outcome)
    if weighs:
        outcome.view_bytes = _bytes_of_one_more(world)
    return outcome


def _run(
    world: MemberWorld, minutes: float, faults: MemberFaults, kills: int, joins: int, outcome: MemberOutcome
) -> None:
    bound_s = detection_bound_ns(world.scenario.config, len(world.hosts)) / SECOND_NS
    rng = world.world.rng("kills")
    pause_s = minutes * 60 / (kills + joins + 1)
    for _ in range(joins):
        world.run_for(pause_s * (0.5 + 0.5 * rng.random()))
        world.join()
    for _ in range(kills):
        world.run_for(pause_s * (0.5 + 0.5 * rng.random()))
        world.kill(rng.choice([i for i, life in enumerate(world.checker.lives) if life.state == UP]))
    if faults.kinds:
        nemesis = MemberNemesis(world, faults)
        world.run_for(minutes * 60)
        nemesis.stop()
        outcome.faults = dict(nemesis.counts)
        # Until the last pause, split and double are over.
        double_ns = double_bound_ns(world.scenario.config)
        world.run_for(max(0, nemesis.ends_ns - world.world.now_ns, double_ns) / SECOND_NS)
        world.heal()
        world.run_for(HEAL_NS / SECOND_NS)
    else:
        world.run_for(max(0.0, minutes * 60 - world.world.now_ns / SECOND_NS))
    if kills or faults.kinds:
        world.run_for(bound_s + 1)
        if "remove" in faults.kinds:
            world.run_for(removal_bound_ns(world.scenario.config) / SECOND_NS)
        world.check_agreement()
    world.check_traffic(world.world.now_ns / SECOND_NS)


def _measure(world: MemberWorld, outcome: MemberOutcome) -> None:
    checker = world.checker
    seconds = max(world.world.now_ns / SECOND_NS, 1e-9)
    outcome.virtual_s = seconds
    outcome.detections_s = [ns / SECOND_NS for ns in checker.detections_ns]
    outcome.known_by_all_s = [ns / SECOND_NS for ns in checker.known_by_all_ns]
    outcome.first_to_last_s = [ns / SECOND_NS for ns in checker.first_to_last_ns]
    outcome.joins_s = [ns / SECOND_NS for ns in checker.joins_ns]
    outcome.false_deaths = checker.false_deaths
    outcome.packet_count = sum(world.network.sent_packets)
    outcome.packets_per_node_s = outcome.packet_count / seconds / len(world.hosts)
    outcome.bytes_per_node_s = sum(world.network.sent_bytes) / seconds / len(world.hosts)
    outcome.rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    outcome.doubles_s = [ns / SECOND_NS for ns in checker.doubles_ns]
    outcome.digest = world.digest()


def _bytes_of_one_more(world: MemberWorld) -> int:
    """What the allocator gives for one more node that knows all of the first ones."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        machine = world.make_machine(0)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert machine.incarnation > 0
    return after - before


def _percentiles(times_s: Sequence[float]) -> str:
    if not times_s:
        return "-"
    ordered = sorted(times_s)
    p50, p99 = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"p50 {p50:.1f} s, p99 {p99:.1f} s, max {ordered[-1]:.1f} s ({len(ordered)} samples)"
