"""Sweeps amid all faults: no chunk goes that anybody could still name, and those of no use do go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.sim.disk import DiskConfig
from bellande_mesh_sync.sim.faults import FaultConfig
from bellande_mesh_sync.sim.simulation import Simulation
from bellande_mesh_sync.sim.swarm import Scenario
from bellande_mesh_sync.sim.workload import WorkloadConfig
from bellande_mesh_sync.sim.world import MILLISECOND_NS, SECOND_NS
from bellande_mesh_sync.store.condemned import Condemned


def scenario(seed: int) -> Scenario:
    """Few large values on few keys, so that the same chunks are given up and named again all the time."""
    return Scenario(
        seed,
        4,
        faults_s=30,
        settle_s=60,
        core=CoreConfig(sync_interval_ns=3 * SECOND_NS, stall_timeout_ns=3 * SECOND_NS),
        disk=DiskConfig(sweep_every_ns=150 * MILLISECOND_NS),
        workload=WorkloadConfig(
            requests_per_s=8, hot_keys=3, hot_ratio=1.0, chunked_ratio=0.5, chunk_bytes=3_000, equal_ratio=0.5
        ),
        faults=FaultConfig(kill_s=6, power_s=12, partition_s=8, lasts_mean_s=4),
    )


@pytest.mark.parametrize("seed", range(1, 5))
def test_no_chunk_goes_that_is_still_named(seed: int) -> None:
    simulation = Simulation(scenario(seed))
    outcome = simulation.run()
    assert not outcome.violation, outcome.violation
    assert sum(disk.counts["chunks_swept"] for disk in simulation.disks) > 0


def test_the_checkers_find_out_if_touching_a_chunk_does_not_pardon_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def not_pardoned(self: Condemned, located: Mapping[bytes, Any], generation: int) -> dict[bytes, Any]:
        return dict(located)

    monkeypatch.setattr(Condemned, "touched", not_pardoned)
    found = [Simulation(scenario(seed)).run().violation for seed in range(1, 9)]
    assert any(found)
