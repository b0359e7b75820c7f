"""How long bytes take from one node to another: delays of several shapes, losses, slow and clogged ways."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Final

from bellande_mesh_sync.sim.world import MICROSECOND_NS, MILLISECOND_NS, SECOND_NS, World

RETRANSMIT_NS: Final = 200 * MILLISECOND_NS
TAIL_SHAPE: Final = 1.5
"""Of the Pareto distribution: its mean is three times its smallest value, and its variance has no end."""
TAIL_MAX: Final = 100
"""The longest delay of a heavy tail, in means."""
LATENCY_SHAPES: Final = ("exponential", "uniform", "heavy")


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    latency_min_ns: int = 100 * MICROSECOND_NS
    latency_mean_ns: int = MILLISECOND_NS
    """One way, beyond the minimum."""
    latency_shape: str = "exponential"
    """How delays are spread about their mean: one of LATENCY_SHAPES."""
    latency_base_max_ns: int = 0
    """Each pair of nodes is up to this far apart, one way, on top of all else."""
    loss_ratio: float = 0.0
    """How many writes lose a packet: they, and all behind them, come a retransmission later. Datagrams stay
    lost."""
    reorder_ratio: float = 0.0
    """How many writes are overtaken on the way: a stream waits for them, so they only cost time."""
    duplicate_ratio: float = 0.0
    """How many writes go over the wire twice: a stream hides it, so they only cost bandwidth."""
    reset_ratio: float = 0.0
    """How many writes break their connection."""
    torn_ratio: float = 0.5
    """How often a connection that breaks had brought a part of the write that was under way."""
    dial_failure_ratio: float = 0.0
    corrupt_chunk_ratio: float = 0.0
    """How many chunks arrive with wrong bytes (a peer's memory or disk is bad)."""
    late_notice_ratio: float = 0.1
    """How many ends hear of a broken connection only much later."""
    late_notice_mean_ns: int = 20 * SECOND_NS
    stall_timeout_mean_ns: int = 25 * SECOND_NS
    """How long the system resends into the void before it gives a connection up."""
    bytes_per_second: int = 100 * 1024 * 1024
    replay_ratio: float = 0.0
    """How many datagrams come once more, up to minutes later."""
    blocks_datagrams: bool = False
    """A firewall lets none through, and nobody is told."""


Way = tuple[int, int]
"""From the first node to the second, by index."""


class WireTime:
    """The times of all ways, and what makes some of them slow for a while."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self.slowdown = 1
        """What all delays are multiplied with."""
        self._world = world
        self._rng = rng
        self._bases: dict[Way, float] = {}
        self._rates: dict[Way, int] = {}
        self._clogged: dict[Way, int] = {}

    # -- trouble

    def slow_down(self, way: Way, bytes_per_second: int) -> None:
        """Let no more than this pass; 0 for as much as the network takes."""
        self._rates[way] = bytes_per_second

    def clog(self, way: Way, until_ns: int) -> None:
        """Nothing arrives until then; then all does, and nothing is lost."""
        self._clogged[way] = max(until_ns, self._clogged.get(way, 0))

    def unclog(self, way: Way) -> None:
        self._clogged.pop(way, None)

    def recover(self) -> None:
        self.slowdown = 1
        self._rates.clear()
        self._clogged.clear()

    def clogged_until_ns(self, way: Way) -> int:
        return self._clogged.get(way, 0) if self._clogged else 0

    def slow_ways(self, now_ns: int) -> list[Way]:
        """Those that stand still now, or let only little pass."""
        ways = [way for way, until_ns in self._clogged.items() if until_ns > now_ns]
        return ways + [way for way, rate in self._rates.items() if rate]

    # -- times

    def delay_ns(
        self, config: NetworkConfig, way: Way | None = None, rng: random.Random | None = None
    ) -> int:
        """One packet's time from end to end; `rng`: for chance that is not the links'."""
        base_ns = config.latency_min_ns
        if way is not None and config.latency_base_max_ns:
            base_ns += int(self._distance(way) * config.latency_base_max_ns)
        return (base_ns + _draw_latency(config, rng or self._rng)) * self.slowdown

    def arrival_ns(self, config: NetworkConfig, way: Way) -> int:
        """A write's time from end to end, with what goes wrong on the way."""
        delay_ns = self.delay_ns(config, way)
        if config.loss_ratio and self._rng.random() < config.loss_ratio:
            self.counts["lost_packets"] += 1
            delay_ns += self.retransmission_ns()
        if config.reorder_ratio and self._rng.random() < config.reorder_ratio:
            self.counts["reordered_packets"] += 1
            delay_ns += self.delay_ns(config, way)
        return delay_ns

    def retransmission_ns(self) -> int:
        return RETRANSMIT_NS << self._rng.choices((0, 1, 2, 3), (70, 20, 8, 2))[0]

    def sending_ns(self, config: NetworkConfig, way: Way, size_bytes: int) -> int:
        """How long the sender is busy with this write."""
        if config.duplicate_ratio and self._rng.random() < config.duplicate_ratio:
            self.counts["duplicate_packets"] += 1
            size_bytes *= 2
        return size_bytes * SECOND_NS // self.bytes_per_second(config, way)

    def bytes_per_second(self, config: NetworkConfig, way: Way) -> int:
        rate = config.bytes_per_second
        return min(rate, self._rates.get(way) or rate) if self._rates else rate

    def _distance(self, way: Way) -> float:
        """How far apart the two are, from 0 to 1; drawn once, whoever asks first."""
        pair = (min(way), max(way))
        distance = self._bases.get(pair)
        if distance is None:
            distance = self._bases[pair] = self._world.rng(f"distance {pair}").random()
        return distance


def _draw_latency(config: NetworkConfig, rng: random.Random) -> int:
    mean_ns = config.latency_mean_ns
    if config.latency_shape == "exponential":
        return int(rng.expovariate(1.0) * mean_ns)
    if config.latency_shape == "uniform":
        return int(rng.random() * 2 * mean_ns)
    return int(min(rng.paretovariate(TAIL_SHAPE) / 3, TAIL_MAX) * mean_ns)
