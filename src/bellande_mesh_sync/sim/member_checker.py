"""Who is said to be alive, dead or gone: held against who really is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.effects import MemberChanged
from bellande_mesh_sync.core.members.member import MemberState
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.world import SECOND_NS

NOTICE_SLACK_NS: Final = 120 * SECOND_NS
"""What full queues and lost links may add to the time in which a death must be known."""
GONE: Final = frozenset({str(MemberState.DEAD), str(MemberState.LEFT)})


class MemberChecker:
    """Follows what each node announces of the others since its start."""

    def __init__(self, config: CoreConfig) -> None:
        # A link is silent for three pings before it is dropped, here and where a witness has one.
        self._notice_max_ns = config.node_timeout_ns + 6 * config.ping_interval_ns + NOTICE_SLACK_NS
        self._states: dict[int, dict[NodeId, str]] = {}
        self._let_go_ns = config.rebalance_after_ns * 9 // 10  # Clocks drift, and announcements come late.
        self._gone_ns: dict[int, dict[NodeId, int]] = {}
        """Since when each node holds another one for dead."""
        self._left_ns: dict[int, dict[NodeId, int]] = {}
        """When each node last heard of another one that it left."""

    def started(self, node: SimNode) -> None:
        self._states[node.index] = {}
        self._left_ns[node.index] = {}
        self._gone_ns[node.index] = {}

    def changed(self, node: SimNode, effect: MemberChanged, others: Sequence[SimNode], now_ns: int) -> None:
        """Only the node itself can say that it left."""
        self._states[node.index][effect.node] = effect.new_state
        if effect.new_state == MemberState.DEAD:
            self._gone_ns[node.index][effect.node] = now_ns
        else:
            self._gone_ns[node.index].pop(effect.node, None)
        if effect.new_state == MemberState.LEFT:
            self._left_ns[node.index][effect.node] = now_ns
        other = next((other for other in others if other.node == effect.node), None)
        if other is None:
            raise Violation("members", node.name, f"{effect.node.hex()[:12]} was announced, and is nobody")
        if effect.new_state == MemberState.LEFT and not other.left_count:
            raise Violation("members", node.name, f"{other.name} is said to have left, and never did")

    def owners(self, index: int, now_ns: int) -> frozenset[NodeId]:
        """Whom a program at this node must take for owners now, beside the node itself: those it has heard of
        and that have not left, nor are dead for long."""
        states, gone_ns = self._states.get(index, {}), self._gone_ns.get(index, {})
        return frozenset(
            node
            for node, state in states.items()
            if state != MemberState.LEFT and now_ns - gone_ns.get(node, now_ns) < self._let_go_ns
        )

    def has_left(self, index: int, node: NodeId, since_ns: int) -> bool:
        """Whether `node` has left since then in the eyes of this one. A write does not wait for it again."""
        return self._left_ns.get(index, {}).get(node, -1) >= since_ns

    def check(self, nodes: Sequence[SimNode], now_ns: int) -> None:
        """Who is down for long is known to be, by everyone who was in a state to notice."""
        for other in nodes:
            if other.is_running or now_ns - other.since_ns < self._notice_max_ns:
                continue
            for node in nodes:
                if not self._could_notice(node, now_ns):
                    continue
                state = self._states[node.index].get(other.node)
                if state is not None and state not in GONE:
                    down_s = (now_ns - other.since_ns) / SECOND_NS
                    raise Violation(
                        "members", node.name, f"{other.name} is {state}, and down for {down_s:.0f} s"
                    )

    def _could_notice(self, node: SimNode, now_ns: int) -> bool:
        is_at_work = node.is_running and not node.is_paused and not node.event_ns
        return is_at_work and now_ns - node.since_ns >= self._notice_max_ns

    def check_at_rest(self, nodes: Sequence[SimNode]) -> None:
        """Everybody is alive in everybody's eyes, but for a suspicion: packets get lost at any time."""
        for node in nodes:
            for other in nodes:
                state = self._states[node.index].get(other.node, "unknown")
                if other is not node and state not in (MemberState.ALIVE, MemberState.SUSPECT):
                    raise Violation(
                        "members", node.name, f"{other.name} is {state} long after the last fault"
                    )
