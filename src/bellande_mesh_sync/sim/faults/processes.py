"""What goes wrong with processes and machines: killed, paused, slow, long away, new."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from bellande_mesh_sync.sim.faults.config import FaultConfig
from bellande_mesh_sync.sim.faults.plan import Plan
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.world import MILLISECOND_NS, SECOND_NS

NOTICES_AFTER_S: Final = (1.0, 10.0)
"""How long it takes a machine to find out that its address is another one."""
SLOW_EVENT_MS: Final = (5, 20, 100, 500)


class ProcessFaults:
    """Faults of nodes. Whatever ended a process, it comes back."""

    def __init__(self, plan: Plan, config: FaultConfig, nodes: list[SimNode]) -> None:
        self.left: Callable[[int], None] = lambda index: None
        self.join: Callable[[], SimNode | None] = lambda: None
        """Makes a new node, not yet started, and takes it into the mesh's list of nodes."""
        self.stays_down: Callable[[SimNode], bool] = lambda node: False
        """Whether somebody else ended a node and will start it."""
        self._plan = plan
        self._rng = plan.rng
        self._config = config
        self._nodes = nodes
        self._moves = 0
        self._joins = 0
        self._away: dict[int, None] = {}
        """Nodes that stay off longer than others."""
        self._down: dict[int, SimNode] = {}
        """Nodes that come back, when it is time."""
        self._doomed: dict[int, SimNode] = {}
        for node in nodes:
            node.on_death = partial(self._died, node)

    def start(self) -> None:
        config, start = self._config, self._plan.start
        start(config.kill_s, self.kill)
        start(config.kill_amid_s, self.kill_amid)
        start(config.power_s, self.power_cut)
        start(config.blackout_s, self.blackout)
        start(config.stop_s, self.clean_stop)
        start(config.pause_s, self.pause)
        start(config.slow_loop_s, self.slow_loop)
        start(config.away_s, self.away)
        start(config.join_s, self.joined)
        start(config.rehome_s, self.rehome)

    def end(self) -> None:
        """Nodes that wait for their time to come back do so now."""
        for node in self._doomed.values():
            node.dies_after_effects = -1
        for node in list(self._down.values()):
            self._start_if_down(node)

    def repair(self) -> None:
        """Every node runs, at its usual speed."""
        for node in self._nodes:
            node.dies_after_effects = -1
            node.event_ns = 0
            node.resume()
            if not node.is_running and not node.is_retired:
                self._start(node)
        self._down.clear()

    def _draw(self) -> SimNode | None:
        running = [node for node in self._nodes if node.is_running and not node.is_leaving]
        return self._rng.choice(running) if running else None

    # -- ends

    def kill(self) -> bool:
        node = self._draw()
        if node is not None:
            node.crash()
        return node is not None

    def kill_amid(self) -> bool:
        """The next time the node has anything to do it dies in the middle of it."""
        node = self._draw()
        if node is not None:
            node.dies_after_effects = self._rng.randrange(6)
            self._doomed[node.index] = node
        return node is not None

    def power_cut(self) -> bool:
        node = self._draw()
        if node is not None:
            node.crash(power=True)
        return node is not None

    def blackout(self) -> bool:
        """Power is gone everywhere at once, and comes back one by one."""
        for node in self._nodes:
            node.crash(power=True)
        return True

    def clean_stop(self) -> bool:
        node = self._draw()
        if node is not None:
            self.left(node.index)
            node.leave()
        return node is not None

    def away(self) -> bool:
        node = self._draw()
        if node is not None:
            self._away[node.index] = None
            node.crash(power=self._rng.random() < 0.5)
        return node is not None

    def _died(self, node: SimNode) -> None:
        self._down[node.index] = node
        if self._plan.is_over:
            self._plan.world.after(SECOND_NS, self._restart, node)
        elif node.index in self._away:
            del self._away[node.index]
            away_ns = int(self._config.away_lasts_s * (1 + self._rng.random()) * SECOND_NS)
            self._plan.after(away_ns, self._restart, node)
        else:
            self._plan.until_over(self._restart, node)

    def _restart(self, node: SimNode) -> None:
        if not self._may_start(node):
            return
        if node.index and self._rng.random() < self._config.moves_ratio:
            self._plan.counts["moved"] += 1
            node.move(self._another_address(node))
        self._start(node)

    def _another_address(self, node: SimNode) -> str:
        self._moves += 1
        return f"10.0.{self._moves}.{node.index}:7000"

    def _start_if_down(self, node: SimNode) -> None:
        if self._may_start(node):
            self._start(node)

    def _may_start(self, node: SimNode) -> bool:
        self._down.pop(node.index, None)
        return not (node.is_running or node.is_retired or self.stays_down(node))

    def _start(self, node: SimNode) -> None:
        node.start()

    # -- a hard life

    def pause(self) -> bool:
        node = self._draw()
        if node is not None:
            node.pause()
            self._plan.episode(("pause", node.index, node.boot), partial(self._resume, node, node.boot))
        return node is not None

    def _resume(self, node: SimNode, boot: int) -> None:
        if node.boot == boot:
            node.resume()

    def slow_loop(self) -> bool:
        node = self._draw()
        if node is not None:
            node.event_ns = self._rng.choice(SLOW_EVENT_MS) * MILLISECOND_NS
            self._plan.episode(("slow loop", node.index), partial(self._hasten, node))
        return node is not None

    def _hasten(self, node: SimNode) -> None:
        node.event_ns = 0

    def rehome(self) -> bool:
        """Not the first node, through whose address newcomers find the mesh."""
        node = self._draw()
        if node is None or not node.index:
            return False
        notices_after_ns = int(self._rng.uniform(*NOTICES_AFTER_S) * SECOND_NS)
        node.rehome(self._another_address(node), notices_after_ns)
        return True

    # -- newcomers

    def joined(self) -> bool:
        node = self.join() if self._joins < self._config.joins_max else None
        if node is None:
            return False
        self._joins += 1
        node.on_death = partial(self._died, node)
        node.start()
        return True
