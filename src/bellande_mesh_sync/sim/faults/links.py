"""What goes wrong between nodes: partitions, flapping and clogged ways, broken connections."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from bellande_mesh_sync.sim.faults.config import FaultConfig
from bellande_mesh_sync.sim.faults.plan import Plan
from bellande_mesh_sync.sim.network import Network
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.wire_time import Way
from bellande_mesh_sync.sim.world import SECOND_NS

PARTITION_SHAPES: Final = ("halves", "sizes", "groups", "isolate")
CLOG_MAX_S: Final = 6.0
SLOW_BYTES_PER_SECOND: Final = (5_000, 40_000, 200_000)
FLAPS_MAX: Final = 12


class LinkFaults:
    """Faults of the network."""

    def __init__(self, plan: Plan, config: FaultConfig, nodes: Sequence[SimNode], network: Network) -> None:
        self._plan = plan
        self._rng = plan.rng
        self._config = config
        self._nodes = nodes
        self._network = network
        self._cuts = False

    def start(self) -> None:
        if len(self._nodes) < 2:
            return
        config, start = self._config, self._plan.start
        start(config.partition_s, self.partition)
        start(config.flap_s, self.flap)
        start(config.flapping_s, self.flapping)
        start(config.clog_s, self.clog)
        start(config.slow_link_s, self.slow_link)
        start(config.reset_s, self.reset)
        start(config.cut_stream_s, self.cut_stream)
        start(config.congestion_s, self.congestion)

    def end(self) -> None:
        """What waits to happen does not."""
        if self._cuts:
            self._network.cuts_next_stream = False

    def repair(self) -> None:
        """The network is sound, whatever was done to it by whom."""
        self._network.unblock_all()
        self._network.cuts_next_stream = False
        self._network.times.recover()

    # -- ways that are closed

    def partition(self) -> bool:
        group = self._draw_groups(self._rng.choice(PARTITION_SHAPES))
        ways = [(a, b) for a in group for b in group if group[a] != group[b]]
        if self._rng.random() < 0.25:
            ways = [(a, b) for a, b in ways if group[a] > group[b]]  # They hear, and are not heard.
        self._plan.until_over(self._plan.release, self._plan.block(self._network, ways))
        return bool(ways)

    def _draw_groups(self, shape: str) -> dict[int, int]:
        """Which group each node is in."""
        count = len(self._nodes)
        order = self._rng.sample(range(count), count)
        if shape == "halves":
            return {index: position * 2 // count for position, index in enumerate(order)}
        if shape == "sizes":
            first = self._rng.randint(1, count)
            return {index: int(position < first) for position, index in enumerate(order)}
        if shape == "groups":
            return {index: self._rng.randrange(3) for index in order}
        return {index: int(position == 0) for position, index in enumerate(order)}

    def flap(self) -> bool:
        a, b = self._draw_pair()
        block = self._plan.block(self._network, [(a, b), (b, a)])
        self._plan.after(self._plan.draw(self._rng.choice((0.1, 1.0, 5.0))), self._plan.release, block)
        return True

    def flapping(self) -> bool:
        a, b = self._draw_pair()
        self._flap_again(
            [(a, b), (b, a)], self._rng.randint(3, FLAPS_MAX), self._rng.choice((0.05, 0.5, 2.0))
        )
        return True

    def _flap_again(self, ways: list[Way], left: int, mean_s: float) -> None:
        if left:
            block = self._plan.block(self._network, ways)
            self._plan.after(self._plan.draw(mean_s), self._flap_back, block, ways, left - 1, mean_s)

    def _flap_back(self, block: int, ways: list[Way], left: int, mean_s: float) -> None:
        self._plan.release(block)
        self._plan.after(self._plan.draw(mean_s), self._flap_again, ways, left, mean_s)

    def _draw_pair(self) -> Way:
        a, b = self._rng.sample(range(len(self._nodes)), 2)
        return a, b

    # -- ways that are slow

    def clog(self) -> bool:
        """One way, both ways of a pair, or all that one node says stands still."""
        a, b = self._draw_pair()
        shape = self._rng.choice(("way", "pair", "node"))
        ways = [(a, b)]
        if shape == "pair":
            ways.append((b, a))
        elif shape == "node":
            ways = [(a, other.index) for other in self._nodes if other.index != a]
        until_ns = self._plan.world.now_ns + int(self._rng.random() * CLOG_MAX_S * SECOND_NS)
        times = self._network.times
        for way in ways:
            times.clog(way, until_ns)
            clogged = self._plan.hold(("clog", way), partial(times.unclog, way))
            self._plan.after(until_ns - self._plan.world.now_ns, self._plan.release, clogged)
        return True

    def slow_link(self) -> bool:
        way = self._draw_pair()
        self._network.times.slow_down(way, self._rng.choice(SLOW_BYTES_PER_SECOND))
        self._plan.episode(("slow way", way), partial(self._network.times.slow_down, way, 0))
        return True

    def congestion(self) -> bool:
        self._network.times.slowdown = self._rng.choice((10, 50, 200))
        self._plan.episode("congestion", self._decongest)
        return True

    def _decongest(self) -> None:
        self._network.times.slowdown = 1

    # -- connections that break

    def reset(self) -> bool:
        return self._network.break_random(self._rng)

    def cut_stream(self) -> bool:
        """Whoever sends records next loses the connection in the middle of it."""
        self._network.cuts_next_stream = True
        self._cuts = True
        return True
