"""Statements for the whole mesh in the midst of everything else, and forged ones among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec
from blake3 import blake3

from bellande_mesh_sync.core.data.record import VALUE
from bellande_mesh_sync.core.effects import Reject, Resolve
from bellande_mesh_sync.core.events import AddStatements, Received, Write
from bellande_mesh_sync.core.messages import Statements
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.core.statements import revocation
from bellande_mesh_sync.core.statements.revocation import Revocation
from bellande_mesh_sync.core.statements.statement import Judged, Statement, size_of
from bellande_mesh_sync.sim.faults.config import FaultConfig
from bellande_mesh_sync.sim.faults.plan import Plan
from bellande_mesh_sync.sim.faults.standing import MEMBERS_MIN
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.statements import state
from bellande_mesh_sync.sim.world import SECOND_NS

FORGED_RATIO = 0.3
LATE_MEAN_S = 0.02
SCRIBBLES = 30
SCRIBBLE_MEAN_S = 0.1


class StatementFaults:
    def __init__(self, plan: Plan, config: FaultConfig, nodes: list[SimNode]) -> None:
        self.stated: Callable[[Judged], None] = lambda judged: None
        self.durable: Callable[[SimNode, Judged], None] = lambda node, judged: None
        """Told when a node says that one is on its disk."""
        self.expelled: Callable[[SimNode], None] = lambda node: None
        self._expelled_count = 0
        self._plan = plan
        self._rng = plan.rng
        self._config = config
        self._nodes = nodes
        self._count = 0

    def start(self) -> None:
        self._plan.start(self._config.state_s, self.state)
        self._plan.start(self._config.expel_s, self.expel)

    def state(self) -> bool:
        """Somebody who is no node of this mesh is revoked at some node; or somebody claims that he was."""
        running = [node for node in self._nodes if node.is_running and node.takes_clients]
        if not running:
            return False
        self._count += 1
        node = self._rng.choice(running)
        body = revocation.body_of(Revocation(f"for test {self._count}", "", ()))
        judged = state(revocation.KIND, self._rng.randbytes(32), body, self._count)
        if self._rng.random() < FORGED_RATIO:
            other = revocation.body_of(Revocation("never said", "", ()))
            return self._bring(node, msgspec.structs.replace(judged.statement, body=other))
        self._lay_down(node, judged)
        return True

    def expel(self) -> bool:
        """A node is revoked at another one. The first node stays: newcomers find the mesh through it."""
        members = [node for node in self._nodes if node.takes_clients]
        if self._expelled_count >= self._config.revocations_max or len(members) <= MEMBERS_MIN:
            return False
        victim = self._rng.choice([node for node in members if node.index])
        issuers = [node for node in members if node.is_running and node is not victim]
        if not issuers:
            return False
        self._expelled_count += 1
        victim.takes_clients = False
        self.expelled(victim)
        self._scribble(victim)
        issuer = self._rng.choice(issuers)
        self._plan.world.after(self._plan.draw(LATE_MEAN_S), self._revoke, victim, issuer)
        return True

    def _revoke(self, victim: SimNode, issuer: SimNode) -> None:
        if not issuer.is_running:
            return  # Then nobody is revoked in this run.
        body = cast(NodeCore, issuer.core).revocation_body(victim.node, "expelled")
        self._lay_down(issuer, state(revocation.KIND, victim.node, body, self._expelled_count))

    def _scribble(self, victim: SimNode, count: int = 0) -> None:
        """It goes on writing over what it holds, before the others hear of it and after."""
        if not victim.is_running or count == SCRIBBLES:
            return
        keys = [key for key in sorted(victim.disk.visible_keys()) if key.startswith("s")]
        if keys:
            body = f"scribble {count}".encode()
            write = Write(
                self._rng.choice(keys), VALUE, len(body), blake3(body).digest(), inline=body
            )  # fmt: skip
            victim.write(lambda answer: None, (write,), "local", SECOND_NS)
        self._plan.world.after(self._plan.draw(SCRIBBLE_MEAN_S), self._scribble, victim, count + 1)

    def _lay_down(self, node: SimNode, judged: Judged) -> None:
        self.stated(judged)
        node.command(AddStatements, lambda answer: self._answered(node, judged, answer), (judged,))

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
