"""Kinds of links, from end to end, with the figures that a fleet sees on them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bellande_mesh_sync.sim.network import Network, NetworkConfig
from bellande_mesh_sync.sim.world import SECOND_NS, World


@dataclass(frozen=True, slots=True)
class LinkClass:
    """One way: `latency_ms` at least, and `jitter_ms` more on average, exponentially distributed."""

    latency_ms: float
    jitter_ms: float
    loss_ratio: float
    """How many writes lose a packet, which comes again 0.2 s later or more."""
    bytes_per_second: int
    drop_every_s: float = 0.0
    """Mean time between two drop-outs of a link; 0: none."""
    drop_lasts_s: float = 0.0

    def network_config(self) -> NetworkConfig:
        return NetworkConfig(
            latency_min_ns=round(self.latency_ms * 1e6),
            latency_mean_ns=round(self.jitter_ms * 1e6),
            loss_ratio=self.loss_ratio,
            bytes_per_second=self.bytes_per_second,
        )


LINK_CLASSES: Final[Mapping[str, LinkClass]] = {
    # A switch and cables, 1 Gbit/s.
    "lan": LinkClass(0.1, 0.1, 0.0, 125_000_000),
    # A hop over WiFi: median 3 ms, 90 % below 20 ms, 1 % above 250 ms (Sui et al., MobiSys 2016); here two
    # of them, for robots talk to robots. Drop-outs: a robot roams from one access point to the next.
    "wifi": LinkClass(1, 6, 0.01, 6_000_000, 600, 3),
    # Median round trip 70 ms, 6 Mbit/s up (Huang et al., MobiSys 2012). Drop-outs: tunnels and handovers.
    "lte": LinkClass(15, 20, 0.005, 750_000, 900, 10),
    # 4,000 km of fibre at 5 us a km, 100 Mbit/s. Drop-outs: routes that change.
    "wan": LinkClass(20, 5, 0.001, 12_500_000, 7200, 20),
    # Up to a geostationary satellite and down again: 240 to 279 ms (RFC 2488). Drop-outs: rain, masts.
    "satellite": LinkClass(260, 20, 0.01, 250_000, 600, 15),
}


class DropOuts:
    """Links that are gone now and then, each by itself."""

    def __init__(self, world: World, network: Network, pairs: Sequence[tuple[int, int, LinkClass]]) -> None:
        self.count = 0
        self._world = world
        self._network = network
        self._pairs = [pair for pair in pairs if pair[2].drop_every_s > 0]
        self._rng: random.Random = world.rng("drop-outs")
        self._run = 0

    def start(self) -> None:
        self._run += 1
        for a, b, link in self._pairs:
            self._world.after(self._draw(link.drop_every_s), self._drop, self._run, a, b, link)

    def stop(self) -> None:
        """No more of them; what is cut now is for whoever repairs the network."""
        self._run += 1

    def _drop(self, run: int, a: int, b: int, link: LinkClass) -> None:
        if run != self._run:
            return
        self.count += 1
        block = self._network.block([(a, b), (b, a)])
        self._world.after(self._draw(link.drop_lasts_s), self._return, run, block, a, b, link)

    def _return(self, run: int, block: int, a: int, b: int, link: LinkClass) -> None:
        if run != self._run:
            return
        self._network.unblock(block)
        self._world.after(self._draw(link.drop_every_s), self._drop, run, a, b, link)

    def _draw(self, mean_s: float) -> int:
        return int(self._rng.expovariate(1.0) * mean_s * SECOND_NS)
