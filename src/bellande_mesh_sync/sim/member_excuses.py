"""Why a member may be called dead though it runs: what it, or its ways to others, went through lately.

Looked at once a second, so what is over sooner may be missed; nobody dies of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.sim.network import Network
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.world import SECOND_NS

LOSS_MAX: Final = 0.1
"""More packets lost than this, and pings of healthy members fail in a row now and then."""
AFTERMATH_NS: Final = 60 * SECOND_NS
"""How long what went wrong may still come up when it is over: suspicions that are open, news that spread."""
NEVER_NS: Final = -(1 << 62)


class Excuses:
    """Remembers when each node, and the ways between nodes, were last in trouble."""

    def __init__(self, config: CoreConfig, network: Network) -> None:
        self._network = network
        longest_ns = (
            config.swim.suspicion_max_mult * config.swim.suspicion_mult * config.swim.probe_interval_ns
        )
        self._window_ns = min(longest_ns, config.node_timeout_ns) + AFTERMATH_NS
        self._hampered_ns: dict[int, int] = {}
        """By node: it was down, stood still, or was about to stop."""
        self._cut_ns: dict[int, int] = {}
        """By node: one of its ways was closed, stood still or let little pass."""
        self._everywhere_ns = NEVER_NS
        """All ways were slow, or somebody too slow to hear in time what speaks for others."""

    def look(self, nodes: Sequence[SimNode], now_ns: int) -> None:
        for node in nodes:
            if not node.is_running or node.is_paused or node.is_leaving:
                self._hampered_ns[node.index] = now_ns
            if node.event_ns:
                self._everywhere_ns = now_ns
        if self._network.times.slowdown > 1:
            self._everywhere_ns = now_ns
        for way in self._network.hampered_ways():
            for end in way:
                self._cut_ns[end] = now_ns

    def of(self, subject: SimNode, nodes: Sequence[SimNode], now_ns: int) -> bool:
        """Whether others may say that `subject` is dead, though it is not.

        That they stood still themselves is none: who wakes up accuses nobody of its own sleep.
        """
        since_ns = now_ns - self._window_ns
        last_ns = max(
            subject.since_ns,
            self._hampered_ns.get(subject.index, NEVER_NS),
            self._cut_ns.get(subject.index, NEVER_NS),
            self._everywhere_ns,
        )
        gone = self._network.outsiders | self._network.expelled
        is_member = subject.is_running and subject.index not in gone
        # Whose first messages are lies is turned away by all.
        is_shut_out = subject.index in self._network.liars
        return not is_member or is_shut_out or last_ns >= since_ns or self._loses_much(subject, nodes)

    def _loses_much(self, subject: SimNode, nodes: Sequence[SimNode]) -> bool:
        others = (other.index for other in nodes if other is not subject)
        return any(
            self._network.config_between(subject.index, other).loss_ratio > LOSS_MAX for other in others
        )
