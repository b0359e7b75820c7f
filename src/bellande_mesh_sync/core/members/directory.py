"""The directory: every member this node has heard of, and what state it believes each to be in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bellande_mesh_sync.core.config import CoreConfig, LocalNode
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.effects import MemberChanged
from bellande_mesh_sync.core.members.member import (
    INCARNATION_JUMP_MAX,
    MemberRecord,
    MemberState,
    is_genuine,
)
from bellande_mesh_sync.core.session.links import Links
from bellande_mesh_sync.ids import NodeId, Now

REFUTATIONS_MAX = 8
"""A restart without a peer book costs one; more come only from another node with the same key."""


@dataclass(slots=True, eq=False)
class Member:
    """Our record of one node."""

    record: MemberRecord
    state: MemberState
    reason: str
    since_ns: int
    """When it came into this state."""
    contact_ns: int
    """When we or a linked peer last had a link with it; for one never seen, when we heard of it."""


class Directory:
    """Who is in the mesh. A record counts if its signature holds and its incarnation is newer.

    States come from links: alive while we or a peer we are linked with has a link to it; suspect
    from the moment nobody has; dead after `node_timeout`; left when it said so itself.
    """

    def __init__(
        self, config: CoreConfig, me: LocalNode, links: Links, counters: Counters,
        stored: Iterable[MemberRecord],
    ) -> None:  # fmt: skip
        self._config = config
        self._me = me
        self._links = links
        self._counters = counters
        self._members: dict[NodeId, Member] = {}
        self._owners: frozenset[NodeId] | None = None
        """As of the last evaluation, which every tick and every change brings."""
        self._refutations = 0
        self.has_double = False
        """Someone else keeps signing newer records with our key: a clone of this node runs."""
        incarnation = 0
        never = Now(0, 0)  # `start` says when now is.
        for record in stored:
            if record.node == me.node:
                incarnation = record.incarnation
            else:
                self._members[record.node] = self._newcomer(record, "known from the peer book", never)
        self.own = me.record(incarnation + 1)

    def start(self, now: Now) -> None:
        """From now on the silence of the members in the peer book counts."""
        for member in self._members.values():
            member.since_ns = member.contact_ns = now.mono_ns

    # -- our own record

    def leave(self) -> MemberRecord:
        self.own = self._me.record(self.own.incarnation + 1, left=True)
        return self.own

    # -- what others say

    def apply(self, record: MemberRecord, now: Now) -> tuple[bool, list[MemberChanged]]:
        """Take in a record from a peer: (whether it was news, the change of state it caused)."""
        if record.node == self._me.node:
            return self._refute(record), []
        self._owners = None
        known = self._members.get(record.node)
        if known is not None and record.incarnation <= known.record.incarnation:
            return False, []
        if not self._is_acceptable(record, known):
            return False, []
        if known is None:
            member = self._members[record.node] = self._newcomer(record, "heard of from a peer", now)
            if record.left:
                member.state, member.reason = MemberState.LEFT, "it said goodbye"
            return True, [self._change(member, "")]
        returned = known.record.left and not record.left
        known.record = record
        if returned:
            known.contact_ns = now.mono_ns
        return True, self._evaluate(known, self._witnesses_of(record.node), now)

    def _refute(self, record: MemberRecord) -> bool:
        """A higher incarnation of ourselves is from an earlier run: go above it, or nobody hears us."""
        if record.incarnation < self.own.incarnation or record == self.own:
            return False
        if not is_genuine(record, self._me.verify):
            self._counters["member_records_refused"] += 1
            return False
        self._refutations += 1
        if self._refutations > REFUTATIONS_MAX:
            self.has_double = True
            return False
        self.own = self._me.record(record.incarnation + 1, left=self.own.left)
        return True

    def _is_acceptable(self, record: MemberRecord, known: Member | None) -> bool:
        if known is None and len(self._members) >= self._config.members_max:
            self._counters["member_records_over_limit"] += 1
            return False
        if known is not None and record.incarnation > known.record.incarnation + INCARNATION_JUMP_MAX:
            self._counters["member_records_refused"] += 1
            return False
        if not is_genuine(record, self._me.verify):
            self._counters["member_records_refused"] += 1
            return False
        return True

    def _newcomer(self, record: MemberRecord, reason: str, now: Now) -> Member:
        state = MemberState.LEFT if record.left else MemberState.SUSPECT
        return Member(record, state, reason, now.mono_ns, now.mono_ns)

    # -- states

    def evaluate(self, now: Now) -> list[MemberChanged]:
        """Bring all states up to date. Cost: O(members + links)."""
        self._owners = None
        witnesses: dict[NodeId, NodeId] = {}
        for link in reversed(self._links.records_links()):  # So that the longest open link is named.
            witnesses.update(dict.fromkeys(link.reported, link.peer))
        return [c for member in self._members.values() for c in self._evaluate(member, witnesses, now)]

    def _witnesses_of(self, node: NodeId) -> dict[NodeId, NodeId]:
        witness = next((link for link in self._links.records_links() if node in link.reported), None)
        return {} if witness is None else {node: witness.peer}

    def _evaluate(self, member: Member, witnesses: Mapping[NodeId, NodeId], now: Now) -> list[MemberChanged]:
        state, reason = self._judge(member, witnesses, now)
        if state == MemberState.ALIVE:
            member.contact_ns = now.mono_ns
        if state == member.state:
            member.reason = reason
            return []
        old, member.state, member.reason, member.since_ns = member.state, state, reason, now.mono_ns
        return [self._change(member, old)]

    def _judge(self, member: Member, witnesses: Mapping[NodeId, NodeId], now: Now) -> tuple[MemberState, str]:
        """`witnesses`: for a node that peers of ours have a link with, one of these peers."""
        node = member.record.node
        if member.record.left:
            return MemberState.LEFT, "it said goodbye"
        if self._links.to(node) is not None:
            return MemberState.ALIVE, "linked"
        witness = witnesses.get(node)
        if witness is not None:
            return MemberState.ALIVE, f"no link from here; {self.name_of(witness)} has one"
        silent_s = (now.mono_ns - member.contact_ns) / 1e9
        if now.mono_ns - member.contact_ns >= self._config.node_timeout_ns:
            return MemberState.DEAD, f"out of everybody's reach for {silent_s:.0f} s"
        return MemberState.SUSPECT, "nobody in reach has a link with it"

    def _change(self, member: Member, old: str) -> MemberChanged:
        record = member.record
        return MemberChanged(record.node, record.name, str(old), str(member.state), member.reason)

    # -- questions

    def name_of(self, node: NodeId) -> str:
        member = self._members.get(node)
        return member.record.name if member else node.hex()[:12]

    def get(self, node: NodeId) -> Member | None:
        return self._members.get(node)

    def others(self) -> list[Member]:
        return [self._members[node] for node in sorted(self._members)]

    def records(self) -> tuple[MemberRecord, ...]:
        """Everything this node can tell a newcomer, its own record first."""
        return (self.own, *(member.record for member in self.others()))

    def to_dial(self, now: Now) -> list[MemberRecord]:
        """Everyone who may be there again: not those who left, nor the long dead."""
        limit = self._config.forget_after_ns
        return [
            member.record
            for member in self.others()
            if not member.record.left and now.mono_ns - member.contact_ns < limit
        ]

    def owners(self, now: Now) -> frozenset[NodeId]:
        """The nodes whose disks count for `quorum` and `all`: members not left, nor dead for long."""
        if self._owners is not None:
            return self._owners
        limit = self._config.rebalance_after_ns
        owners = [
            member.record.node
            for member in self._members.values()
            if member.state in (MemberState.ALIVE, MemberState.SUSPECT)
            or (member.state == MemberState.DEAD and now.mono_ns - member.since_ns < limit)
        ]
        self._owners = frozenset([self._me.node, *owners])
        return self._owners
