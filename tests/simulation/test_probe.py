"""A mesh at rest that agrees and is of no use is found out."""

from __future__ import annotations

from dataclasses import replace

from bellande_mesh_sync.core.effects import Effect, Reject
from bellande_mesh_sync.core.events import Event, WriteMany
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.ids import Now
from bellande_mesh_sync.sim.faults import FaultConfig
from bellande_mesh_sync.sim.simulation import Simulation
from bellande_mesh_sync.sim.swarm import draw


class _WearyCore(NodeCore):
    """Refuses every write."""

    def handle(self, event: Event, now: Now) -> list[Effect]:
        if isinstance(event, WriteMany):
            return [Reject(event.request, "busy", {"what": "this node", "limit": "today"})]
        return super().handle(event, now)


def test_nodes_that_take_no_write_at_rest_are_found() -> None:
    scenario = replace(draw(1, nodes=(3, 3), minutes=0.1), faults=FaultConfig())
    outcome = Simulation(scenario, make_core=_WearyCore).run()
    assert outcome.violation.startswith("probe: n0: at rest, a write with ack=all fails: busy")
