"""Statements for the whole mesh in the midst of everything else, and forged ones among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec

from bellande_mesh_sync.core.effects import Reject, Resolve
from bellande_mesh_sync.core.events import AddStatements, Received
from bellande_mesh_sync.core.messages import Statements
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.core.statements import revocation
from bellande_mesh_sync.core.statements.revocation import Revocation
from bellande_mesh_sync.core.statements.statement import Judged, Statement, size_of
from bellande_mesh_sync.sim.faults.config import FaultConfig
from bellande_mesh_sync.sim.faults.plan import Plan
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.statements import state

FORGED_RATIO = 0.3


class StatementFaults:
    def __init__(self, plan: Plan, config: FaultConfig, nodes: list[SimNode]) -> None:
        self.stated: Callable[[Judged], None] = lambda judged: None
        self.durable: Callable[[SimNode, Judged], None] = lambda node, judged: None
        """Told when a node says that one is on its disk."""
        self._plan = plan
        self._rng = plan.rng
        self._config = config
        self._nodes = nodes
        self._count = 0

    def start(self) -> None:
        self._plan.start(self._config.state_s, self.state)

    def state(self) -> bool:
        """Somebody who is no node of this mesh is revoked at some node; or somebody claims that he was."""
        running = [node for node in self._nodes if node.is_running and node.takes_clients]
        if not running:
            return False
        self._count += 1
        node = self._rng.choice(running)
        body = revocation.body_of(Revocation(f"for test {self._count}", ()))
        judged = state(revocation.KIND, self._rng.randbytes(32), body, self._count)
        if self._rng.random() < FORGED_RATIO:
            other = revocation.body_of(Revocation("never said", ()))
            return self._bring(node, msgspec.structs.replace(judged.statement, body=other))
        self.stated(judged)
        node.command(AddStatements, lambda answer: self._answered(node, judged, answer), (judged,))
        return True

    def _answered(self, node: SimNode, judged: Judged, answer: Resolve | Reject | None) -> None:
        if isinstance(answer, Resolve):
            self.durable(node, judged)

    def _bring(self, node: SimNode, forged: Statement) -> bool:
        """As if a peer had sent it."""
        links = cast(NodeCore, node.core).links.records_links()
        if not links:
            return False
        self._plan.counts["forge"] += 1
        link = self._rng.choice(links)
        node.post(Received(link.link, (Statements((forged,)),), size_of(forged)))
        return True
