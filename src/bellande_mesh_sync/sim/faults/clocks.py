"""What goes wrong with wall clocks: set forward and back, and lost at a start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from bellande_mesh_sync.sim.faults.config import FaultConfig
from bellande_mesh_sync.sim.faults.plan import Plan
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.world import WALL_START_MS


class ClockFaults:
    """Faults of wall clocks. Monotonic clocks drift, and nothing worse."""

    def __init__(self, plan: Plan, config: FaultConfig, nodes: Sequence[SimNode]) -> None:
        self.clock_set: Callable[[int], None] = lambda index: None
        self.usual_ms: Callable[[int], int] = lambda index: 0
        """How far off a node's clock is without these faults."""
        self._plan = plan
        self._rng = plan.rng
        self._config = config
        self._nodes = nodes

    def start(self) -> None:
        self._plan.start(self._config.clock_jump_s, self.clock_jump)
        self._plan.start(self._config.clock_lost_s, self.clock_lost)

    def repair(self) -> None:
        """All clocks are right, whoever set them."""
        for node in self._nodes:
            self._set(node, 0)

    def clock_jump(self) -> bool:
        node = self._rng.choice(self._nodes)
        self._set(node, self._rng.randint(-self._config.jump_max_ms, self._config.jump_max_ms))
        self._plan.hold(("clock", node.index), partial(self._set_right, node))
        return True

    def clock_lost(self) -> bool:
        """A machine without a battery starts in 1970, and hears the time only later."""
        node = self._rng.choice(self._nodes)
        if not node.is_running:
            return False
        node.crash(power=True)
        since_start_ms = node.clock.now().wall_ms - WALL_START_MS - node.clock.offset_ms
        self._set(node, -WALL_START_MS - since_start_ms)
        self._plan.episode(("clock", node.index), partial(self._set_right, node))
        return True

    def _set_right(self, node: SimNode) -> None:
        self._set(node, self.usual_ms(node.index))

    def _set(self, node: SimNode, offset_ms: int) -> None:
        node.clock.offset_ms = offset_ms
        self.clock_set(node.index)
