"""A last question to a mesh at rest: does it still take writes, and tell their callers where they are?

Agreement alone does not show it: nodes that refuse every write, or never answer one, agree perfectly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from blake3 import blake3

from bellande_mesh_sync.core.data.record import VALUE
from bellande_mesh_sync.core.effects import Reject, Resolve
from bellande_mesh_sync.core.events import Write
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.workload import Workload
from bellande_mesh_sync.sim.world import SECOND_NS, World

TIMEOUT_NS: Final = 10 * SECOND_NS
REST_NS: Final = 30 * SECOND_NS
"""How long a mesh is watched at rest, at least."""
DIALS_MAX: Final = 6
"""Only over a link of its own does a node hear who has its writes, and dials fail at rest too: so many of
them, with the longest pause after each, may pass before a link that is missing counts as a fault."""


class Probe:
    """One write at each of these nodes, tried again when it fails. `ack`: what they must be able to give."""

    def __init__(self, world: World, workload: Workload, nodes: Sequence[SimNode], ack: str) -> None:
        self._workload = workload
        self._world = world
        self._nodes = list(nodes)
        self._ack = ack
        self._failures: dict[int, str] = {node.index: "no answer" for node in nodes}
        """By node, why its last try failed; those that succeeded are not in here."""

    def run(self, redial_max_ns: int) -> None:
        """Ask, and give the mesh its time; a Violation if a node does not answer with a receipt at last."""
        for node in self._nodes:
            self._ask(node)
        start_ns = self._world.now_ns
        end_ns = start_ns + REST_NS + DIALS_MAX * redial_max_ns
        self._world.run_until(start_ns + REST_NS)
        while self._failures and self._world.now_ns < end_ns:
            self._world.run_until(self._world.now_ns + SECOND_NS)
        for index, failure in sorted(self._failures.items()):
            text = f"at rest, a write with ack={self._ack} fails: {failure}"
            raise Violation("probe", f"n{index}", text)

    def _ask(self, node: SimNode) -> None:
        if not node.is_running:
            self._failures[node.index] = "the node is not running"
            return
        body = b"probe of n%d at %d" % (node.index, self._world.now_ns)
        write = Write(f"s0/probe/{node.index}", VALUE, len(body), blake3(body).digest(), "text/plain", body)

        def answer(effect: Resolve | Reject | None) -> None:
            if isinstance(effect, Resolve):
                del self._failures[node.index]
                return
            self._failures[node.index] = "it died" if effect is None else f"{effect.code} {effect.facts}"
            self._world.after(SECOND_NS, self._ask, node)

        self._workload.put(node, write, self._ack, TIMEOUT_NS, answer)
