"""Who is said to be alive, dead or gone: held against who really is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.effects import MemberChanged
from bellande_mesh_sync.core.members.member import MemberState
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.member_excuses import Excuses
from bellande_mesh_sync.sim.network import Network
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.world import SECOND_NS

FOUND: Final = "no answer to "
"""How the reason begins for a death that a node has found by itself."""
NOTICE_SLACK_NS: Final = 120 * SECOND_NS
"""What full queues and lost links may add to the time in which a death must be known."""
GONE: Final = frozenset(
    map(str, (MemberState.DEAD, MemberState.LEFT, MemberState.ASLEEP, MemberState.REVOKED))
)
"""What may be said of a node that is down for long."""
UNTOLD: Final = frozenset(map(str, (MemberState.SUSPECT, MemberState.LEFT)))
"""How a member of the peer book may be shown."""


def known_dead_ns(config: CoreConfig, members: int) -> int:
    """After how long at the latest everybody who runs must know that a member is down.

    Each node probes every other one within two rounds, at worst at the pace of the worst local health. The
    suspicion then lasts no longer than the node timeout.
    """
    swim = config.swim
    probed_ns = 2 * members * swim.health_max * swim.probe_interval_ns
    return probed_ns + config.node_timeout_ns + NOTICE_SLACK_NS


class MemberChecker:
    """Follows what each node announces of the others since its start."""

    def __init__(self, config: CoreConfig, network: Network) -> None:
        self._config = config
        self._network = network
        self.gone: Callable[[int], None] = lambda index: None
        """Some node holds this one for gone for good: it said so, or a liar did, who is rightly believed."""
        self._excuses = Excuses(config, network)
        self._states: dict[int, dict[NodeId, str]] = {}
        self._let_go_ns = config.rebalance_after_ns * 9 // 10  # Clocks drift, and announcements come late.
        self._gone_ns: dict[int, dict[NodeId, int]] = {}
        """Since when each node holds another one for dead."""
        self._left_ns: dict[int, dict[NodeId, int]] = {}
        """When each node last held another one for gone for good: left, or dead for long."""

    def started(self, node: SimNode) -> None:
        self._states[node.index] = {}
        self._left_ns[node.index] = {}
        self._gone_ns[node.index] = {}

    def changed(self, node: SimNode, effect: MemberChanged, others: Sequence[SimNode], now_ns: int) -> None:
        """Only the node itself can say that it left, and nobody is dead who runs and can be heard."""
        self._states[node.index][effect.node] = effect.new_state
        is_removable = self._is_removable(node.index, effect.node, now_ns)
        if effect.new_state == MemberState.DEAD:
            self._gone_ns[node.index][effect.node] = now_ns
        else:
            gone_ns = self._gone_ns[node.index].pop(effect.node, now_ns)
            if now_ns - gone_ns >= self._let_go_ns:
                self._left_ns[node.index][effect.node] = now_ns
        if effect.new_state in (MemberState.LEFT, MemberState.REVOKED):
            self._left_ns[node.index][effect.node] = now_ns
        other = next((other for other in others if other.node == effect.node), None)
        if other is None and effect.new_state == MemberState.REVOKED:
            return  # A statement may be about anybody.
        if other is None:
            raise Violation("members", node.name, f"{effect.node.hex()[:12]} was announced, and is nobody")
        if effect.new_state == MemberState.REVOKED:
            if other.index not in self._network.expelled | self._network.outsiders:
                raise Violation("members", node.name, f"{other.name} is said to be revoked, and is not")
            self.gone(other.index)
        if effect.new_state == MemberState.LEFT and not self._may_have_left(other, others, now_ns):
            raise Violation("members", node.name, f"{other.name} is said to have left, and never did")
        if effect.new_state == MemberState.LEFT and (other.left_count or is_removable):
            self.gone(other.index)
        if effect.new_state == MemberState.ASLEEP:
            raise Violation("members", node.name, f"{other.name} is said to sleep, and nobody does here")
        is_dead = effect.new_state == MemberState.DEAD
        if is_dead and self._network.liars and not effect.reason.startswith(FOUND):
            return  # Hearsay: it holds until it is refuted.
        if is_dead and not self._excuses.of(other, others, now_ns):
            raise Violation(
                "members", node.name, f"{other.name} is said to be dead ({effect.reason}), and runs"
            )

    def _is_removable(self, index: int, node: NodeId, now_ns: int) -> bool:
        """Whether this one was down for so long in a node's view, or since before its run, that others may
        remove it there."""
        down_ns = now_ns - self._gone_ns[index].get(node, 0)
        return down_ns >= self._config.swim.removal_patience_ns * 9 // 10

    def _may_have_left(self, other: SimNode, others: Sequence[SimNode], now_ns: int) -> bool:
        """A liar may say that a member is removed; that is to be believed only of one that is down."""
        if other.left_count or not self._network.liars:
            return other.left_count > 0
        return not _is_at_work(other) or self._excuses.of(other, others, now_ns)

    def look(self, nodes: Sequence[SimNode], now_ns: int) -> None:
        """Note what goes wrong now; to be called once a second."""
        self._excuses.look(nodes, now_ns)
        for index, gone_ns in self._gone_ns.items():
            for node, since_ns in gone_ns.items():
                if now_ns - since_ns >= self._let_go_ns:
                    self._left_ns[index][node] = now_ns

    def check_shown(self, nodes: Sequence[SimNode]) -> None:
        """What programs are shown when they ask is what they were told.

        Of whom nothing was told yet only the peer book speaks, and a book does not know who is alive.
        """
        for node in nodes:
            for member, state in node.members_shown().items():
                told = self._states[node.index].get(member, "nothing")
                if state != told and (told != "nothing" or state not in UNTOLD):
                    text = f"{member.hex()[:12]} is shown as {state}, and {told} was told of it"
                    raise Violation("members", node.name, text)

    def owners(self, index: int, now_ns: int) -> frozenset[NodeId]:
        """Whom a program at this node must take for owners now, beside the node itself: those it has heard of
        and that have not left, nor are dead for long."""
        states, gone_ns = self._states.get(index, {}), self._gone_ns.get(index, {})
        return frozenset(
            node
            for node, state in states.items()
            if state not in (MemberState.LEFT, MemberState.REVOKED)
            and now_ns - gone_ns.get(node, now_ns) < self._let_go_ns
        )

    def has_left(self, index: int, node: NodeId, since_ns: int, now_ns: int) -> bool:
        """Whether `node` has left since then in the eyes of this one, or was dead for long: what began then
        does not wait for it."""
        gone_ns = self._gone_ns.get(index, {}).get(node, now_ns)
        return now_ns - gone_ns >= self._let_go_ns or self._left_ns.get(index, {}).get(node, -1) >= since_ns

    def check(self, nodes: Sequence[SimNode], now_ns: int) -> None:
        """Who is down for long is known to be, by everyone who was in a state to notice."""
        notice_max_ns = known_dead_ns(self._config, len(nodes))
        for other in nodes:
            if other.is_running or now_ns - other.since_ns < notice_max_ns:
                continue
            for node in nodes:
                if not _is_at_work(node) or now_ns - node.since_ns < notice_max_ns:
                    continue
                state = self._states[node.index].get(other.node)
                if state is not None and state not in GONE:
                    down_s = (now_ns - other.since_ns) / SECOND_NS
                    raise Violation(
                        "members", node.name, f"{other.name} is {state}, and down for {down_s:.0f} s"
                    )

    def check_at_rest(self, nodes: Sequence[SimNode]) -> None:
        """Everybody is alive in everybody's eyes, but for a suspicion: packets get lost at any time."""
        for node in nodes:
            for other in nodes:
                state = self._states[node.index].get(other.node, "unknown")
                if other is not node and state not in (MemberState.ALIVE, MemberState.SUSPECT):
                    raise Violation(
                        "members", node.name, f"{other.name} is {state} long after the last fault"
                    )


def _is_at_work(node: SimNode) -> bool:
    return node.is_running and not node.is_paused and not node.event_ns
