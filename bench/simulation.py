"""How fast the simulator is: whole nodes under a light workload, no faults, on one core."""

from __future__ import annotations

from bellande_mesh_sync.sim.campaign import prepare
from bellande_mesh_sync.sim.simulation import run as simulate
from bellande_mesh_sync.sim.swarm import Scenario
from bellande_mesh_sync.sim.workload import WorkloadConfig
from bench.measure import Report, progress

NODES = (3, 10, 16)
VIRTUAL_S = 600.0
GOALS = {10: "at least 200"}


def run(runs: int) -> Report:
    report = Report("simulation")
    prepare()
    for nodes in NODES:
        progress(f"simulating {nodes} nodes")
        outcomes = [simulate(light(nodes)) for _ in range(runs)]
        assert not any(outcome.violation for outcome in outcomes), outcomes[0].violation
        speeds = [outcome.virtual_s / outcome.real_s for outcome in outcomes]
        report.add(f"{nodes} nodes, one request a second", "x real time", speeds, GOALS.get(nodes, ""))
        costs = [outcome.real_s / outcome.events * 1e6 for outcome in outcomes]
        report.add(f"  of {outcomes[0].events:,} events and effects each", "us", costs)
    return report


def light(nodes: int) -> Scenario:
    """One request a second in the whole mesh, on a good network."""
    return Scenario(1, nodes, VIRTUAL_S, settle_s=60, workload=WorkloadConfig(requests_per_s=1.0))
