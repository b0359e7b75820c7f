"""Clients that add to counters on all nodes, and what the counters must come to once everybody has met.

The checker knows the acknowledged adds, and nothing of how counters are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bellande_mesh_sync.core.data.record import VALUE
from bellande_mesh_sync.core.effects import Reject, Resolve
from bellande_mesh_sync.core.events import Write
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.liar import LiarConfig
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.swarm import Scenario, draw
from bellande_mesh_sync.sim.workload_config import COUNTERS
from bellande_mesh_sync.sim.world import SECOND_NS, World

KEYS: Final = 3
AMOUNT_MAX: Final = 9
TIMEOUT_NS: Final = 5 * SECOND_NS
NOTHING_ADDED: Final = frozenset({"busy", "disk_full", "storage", "corrupt_store"})
EVERY: Final = 4
"""Of so many seeds one has counters: they are traffic too."""


def draw_with_additions(seed: int, *, nodes: tuple[int, int], minutes: float) -> Scenario:
    """The scenario of a seed, with counters in some. All else of a seed is as without them."""
    scenario = draw(seed, nodes=nodes, minutes=minutes)
    # A liar may write what it likes under any key.
    has_counters = seed % EVERY == 0 and scenario.liar == LiarConfig()
    return with_additions(scenario, 0.5) if has_counters else scenario


def with_additions(scenario: Scenario, per_s: float) -> Scenario:
    """The scenario with so many additions a second, of all clients together."""
    return replace(
        scenario,
        core=replace(scenario.core, conflicts=((COUNTERS, "counter"),)),
        workload=replace(scenario.workload, additions_per_s=per_s),
    )


@dataclass(slots=True)
class _Added:
    key: str
    amount: int
    nodes: set[int]
    """On whose disks it is, as far as anybody was told; empty if it may be nowhere."""


class Additions:
    """Adds to a few keys, and judges what all nodes show of them at rest."""

    def __init__(self, world: World, per_s: float, nodes: Sequence[SimNode]) -> None:
        self.counts: Counter[str] = Counter()
        self._world = world
        self._per_s = per_s
        self._nodes = nodes  # The mesh's own list: whoever joins is in it.
        self._rng = world.rng("additions")
        self._is_over = False
        self._added: list[_Added] = []

    def start(self) -> None:
        if self._per_s:
            self._plan()

    def stop(self) -> None:
        self._is_over = True

    def wiped(self, index: int) -> None:
        """A disk is gone: what was promised by it alone may be lost."""
        for added in self._added:
            added.nodes.discard(index)

    def set_aside(self, index: int, keys: Collection[str]) -> None:
        """Records of these keys rotted on a disk: what was promised by it alone may be lost."""
        for added in self._added:
            if added.key in keys:
                added.nodes.discard(index)

    def _plan(self) -> None:
        gap_ns = int(self._rng.expovariate(self._per_s) * SECOND_NS)
        self._world.after(gap_ns, self._act)

    def _act(self) -> None:
        if self._is_over:
            return
        self._plan()
        running = [n for n in self._nodes if n.is_running and not n.is_leaving and n.takes_clients]
        if not running:
            return
        node = self._rng.choice(running)
        # Several of one request at once: each must find the one before.
        count = self._rng.choice((1, 1, 1, 3))
        writes = tuple(
            Write(f"{COUNTERS}/{self._rng.randrange(KEYS)}", VALUE, add=self._rng.randint(1, AMOUNT_MAX))
            for _ in range(count)
        )
        asked = [_Added(write.key, write.add or 0, set()) for write in writes]
        ack = self._rng.choice(("local", "local", "one", "quorum"))

        def answer(effect: Resolve | Reject | None) -> None:
            self._answered(node, asked, effect)

        node.write(answer, writes, ack, TIMEOUT_NS)

    def _answered(self, node: SimNode, asked: list[_Added], effect: Resolve | Reject | None) -> None:
        if isinstance(effect, Reject) and effect.code in NOTHING_ADDED:
            self.counts["additions refused"] += len(asked)
            return
        if isinstance(effect, Resolve):
            self._on_disk(asked, effect.result[0].nodes)
        elif effect is not None and effect.code == "ack_timeout":
            self._on_disk(asked, [NodeId(bytes.fromhex(node)) for node in effect.facts["nodes"]])
        elif effect is not None:
            raise Violation("answers", node.name, f"an add was rejected with {effect.code}: {effect.facts}")
        else:
            self.counts["additions in doubt"] += len(asked)
        self._added += asked

    def _on_disk(self, asked: list[_Added], nodes: Sequence[NodeId]) -> None:
        named = {node.node: node.index for node in self._nodes}
        for added in asked:
            added.nodes.update(named[node] for node in nodes)
        self.counts["additions"] += len(asked)

    def check_at_rest(self, nodes: Sequence[SimNode]) -> None:
        """Every node shows the sum of all adds that are on a disk, and of those in doubt some."""
        here = {node.index for node in nodes}
        for index in range(KEYS):
            key = f"{COUNTERS}/{index}"
            mine = [added for added in self._added if added.key == key]
            least = sum(added.amount for added in mine if added.nodes & here)
            most = sum(added.amount for added in mine)
            seen = {node.name: _shown(node, key) for node in nodes}
            for name, total in seen.items():
                if not least <= total <= most:
                    wanted = str(least) if least == most else f"{least} to {most}"
                    text = f"{key} is {total}; what was added comes to {wanted}"
                    raise Violation("additions", name, text, key)
            if len(set(seen.values())) > 1:
                raise Violation("additions", "", f"{key} is not the same everywhere: {seen}", key)


def _shown(node: SimNode, key: str) -> int:
    """What a reader at this node gets; 0 if there is nothing."""
    core = node.core
    assert isinstance(core, NodeCore), "only a running node can be read"
    siblings = node.disk.shown(key)
    found = core.replica.policies.of(key).shown(siblings, node.clock.now().wall_ms) if siblings else None
    return 0 if found is None else int(found.record.inline or b"")
