"""Why a member may be called dead though it runs: what it, or its ways to others, went through lately.

Looked at once a second, so what is over sooner may be missed; nobody dies of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.sim.network import Network
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.wire_time import NetworkConfig
from bellande_mesh_sync.sim.world import SECOND_NS

LOSS_MAX: Final = 0.1
"""More packets lost than this, and pings of healthy members fail in a row now and then."""
AFTERMATH_NS: Final = 60 * SECOND_NS
"""How long what went wrong may still come up when it is over: suspicions that are open, news that spread."""
NEVER_NS: Final = -(1 << 62)


class Excuses:
    """Remembers when each node, and the ways between nodes, were last in trouble."""

    def __init__(self, config: CoreConfig, network: Network) -> None:
        self._config = config
        self._network = network
        longest_ns = (
            config.swim.suspicion_max_mult * config.swim.suspicion_mult * config.swim.probe_interval_ns
        )
        self._window_ns = min(longest_ns, config.node_timeout_ns) + AFTERMATH_NS
        self._hampered_ns: dict[int, int] = {}
        """By node: it was down, stood still, was slow, or about to stop."""
        self._cut_ns: dict[int, int] = {}
        """By node: one of its ways was closed, stood still or let little pass."""
        self._everywhere_ns = NEVER_NS
        """All ways were slow, or somebody so slow that it could not hear what speaks for others."""

    def look(self, nodes: Sequence[SimNode], now_ns: int) -> None:
        for node in nodes:
            if not node.is_running or node.is_paused or node.event_ns or node.is_leaving:
                self._hampered_ns[node.index] = now_ns
            if node.event_ns:
                self._everywhere_ns = now_ns
        if self._network.times.slowdown > 1:
            self._everywhere_ns = now_ns
        for way in self._network.hampered_ways():
            for end in way:
                self._cut_ns[end] = now_ns

    def of(self, subject: SimNode, watcher: SimNode, nodes: Sequence[SimNode], now_ns: int) -> bool:
        """Whether `watcher` may say that `subject` is dead, though it is not."""
        since_ns = now_ns - self._window_ns
        return (
            not subject.is_running
            or subject.index in self._network.outsiders
            or max(subject.since_ns, watcher.since_ns, self._everywhere_ns) >= since_ns
            or max(self._hampered_ns.get(each.index, NEVER_NS) for each in (subject, watcher)) >= since_ns
            or self._cut_ns.get(subject.index, NEVER_NS) >= since_ns
            or any(
                self.is_harsh(self._network.config_between(subject.index, other.index))
                for other in nodes
                if other is not subject
            )
        )

    def is_harsh(self, network: NetworkConfig) -> bool:
        """Whether pings fail on it although nothing is wrong: too many are lost, or come too late."""
        slow_trip_ns = network.latency_min_ns + network.latency_base_max_ns + 4 * network.latency_mean_ns
        return network.loss_ratio > LOSS_MAX or 4 * slow_trip_ns > self._config.swim.probe_interval_ns
