"""What becomes of a node's standing in the mesh: cut off for good, or of another protocol version."""

from __future__ import annotations

from collections.abc import Callable

from bellande_mesh_sync.sim.faults.config import FaultConfig
from bellande_mesh_sync.sim.faults.plan import Plan
from bellande_mesh_sync.sim.network import Network
from bellande_mesh_sync.sim.next_version import bend_to_next_version
from bellande_mesh_sync.sim.node import SimNode

MEMBERS_MIN = 2
"""Honest members that stay, however many are cut off."""


class StandingFaults:
    """Revocations and upgrades."""

    def __init__(self, plan: Plan, config: FaultConfig, nodes: list[SimNode], network: Network) -> None:
        self.revoked: Callable[[SimNode], None] = lambda node: None
        self._plan = plan
        self._rng = plan.rng
        self._config = config
        self._nodes = nodes
        self._network = network

    def start(self) -> None:
        self._plan.start(self._config.revoke_s, self.revoke)
        self._plan.start(self._config.upgrade_s, self.upgrade)

    def repair(self) -> None:
        """Neither is a fault that ends."""

    def revoke(self) -> bool:
        """A node's certificate counts no more. The first node stays: newcomers find the mesh through it."""
        outsiders = self._network.outsiders
        members = [node for node in self._nodes if node.takes_clients]
        if len(outsiders) >= self._config.revocations_max or len(members) <= MEMBERS_MIN:
            return False
        node = self._rng.choice([node for node in members if node.index])
        node.takes_clients = False
        self._network.cut_off(node)
        self.revoked(node)
        return True

    def upgrade(self) -> bool:
        """A node is killed and comes back with the next protocol version, or with the one before."""
        running = [node for node in self._nodes if node.is_running and node.takes_clients]
        if not running:
            return False
        node = self._rng.choice(running)
        node.crash()
        if self._network.bent.pop(node.index, None) is None:
            self._network.bent[node.index] = bend_to_next_version
        return True
