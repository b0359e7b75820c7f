"""The directory: every member this node has heard of, in the words that programs and people hear."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.effects import MemberChanged
from bellande_mesh_sync.core.members.member import MemberRecord, MemberState
from bellande_mesh_sync.core.members.nearest import NearestIndex
from bellande_mesh_sync.core.members.swim.view import ALIVE, DEAD, LEFT, SUSPECT, View
from bellande_mesh_sync.core.placement.rendezvous import Candidate
from bellande_mesh_sync.ids import NodeId, Now

NEVER_NS = 1 << 63
_BOTH_LIVE = {MemberState.ALIVE, MemberState.SUSPECT}


@dataclass(frozen=True, slots=True)
class Member:
    """Our record of one node."""

    record: MemberRecord
    state: MemberState
    reason: str
    since_ns: int
    """When it came into this state."""


@dataclass(slots=True)
class Shown:
    """What was last told of a member."""

    state: MemberState
    reason: str
    since_ns: int


class Directory:
    """The view of the failure detector, with reasons, and with doubt about what is only in the peer book.

    Who was known in an earlier run counts as suspect until somebody was met who knows better.
    """

    def __init__(self, config: CoreConfig, node: NodeId, view: View) -> None:
        """`view` holds the members of the peer book, and this node."""
        self._config = config
        self._node = node
        self._view = view
        self._shown: dict[NodeId, Shown] = {}
        self._unheard: dict[NodeId, None] = {}
        """Members of the peer book of whom nothing was heard yet."""
        self._revoked: dict[NodeId, MemberRecord] = {}
        """Those that are no members any more, with what is left to show of them."""
        self._owners: frozenset[NodeId] | None = None
        self._owners_until_ns = 0
        """When somebody has been dead for too long to count."""
        self.nearest = NearestIndex([node])
        for index in view.known():
            member = view.record(index).node
            if member == node:
                continue
            has_left = view.standing(index) == LEFT
            state = MemberState.LEFT if has_left else MemberState.SUSPECT
            self._shown[member] = Shown(state, "known from the peer book", 0)
            self.nearest.add(member)
            if not has_left:
                self._unheard[member] = None

    def start(self, now: Now) -> None:
        for shown in self._shown.values():
            shown.since_ns = now.mono_ns

    # -- what the failure detector tells

    def changed(self, change: MemberChanged, now: Now) -> list[MemberChanged]:
        """What programs should hear of a change of standing."""
        self._unheard.pop(change.node, None)
        return self._show(change.node, MemberState(change.new_state), change.reason, now)

    def heard(self, node: NodeId, reason: str, now: Now) -> list[MemberChanged]:
        """A member of the peer book is as the failure detector thinks."""
        if node not in self._unheard:
            return []
        del self._unheard[node]
        return self._show(node, MemberState.ALIVE, reason, now)

    def all_heard(self, reason: str, now: Now) -> list[MemberChanged]:
        return [change for node in list(self._unheard) for change in self.heard(node, reason, now)]

    @property
    def has_unheard(self) -> bool:
        return bool(self._unheard)

    def forgotten(self, node: NodeId) -> None:
        if node in self._revoked:
            return  # It is to be seen as what it is.
        self._shown.pop(node, None)
        self._unheard.pop(node, None)
        self.nearest.discard(node)
        self._owners = None

    def revoke(self, node: NodeId, name: str, reason: str, now: Now) -> list[MemberChanged]:
        """It was revoked, and is shown as that for good."""
        known = self.record_of(node)
        self._revoked[node] = known or MemberRecord(node, b"", name or node.hex()[:12], (), "", 0, True, "")
        self._unheard.pop(node, None)
        changes = self._show(node, MemberState.REVOKED, reason, now)
        self.nearest.discard(node)
        self._owners = None
        return changes

    def readmit(self, node: NodeId) -> None:
        if self._revoked.pop(node, None) is not None:
            self.forgotten(node)

    def _show(self, node: NodeId, state: MemberState, reason: str, now: Now) -> list[MemberChanged]:
        shown = self._shown.get(node)
        if shown is None:
            self._owners = None
            self._shown[node] = Shown(state, reason, now.mono_ns)
            self.nearest.add(node)
            return [MemberChanged(node, self.name_of(node), "", state.value, reason)]
        old, shown.reason = shown.state, reason
        if old == state:
            return []
        if {old, state} != _BOTH_LIVE:
            self._owners = None
        if (old, state) != (MemberState.ASLEEP, MemberState.DEAD):
            shown.since_ns = now.mono_ns  # Who overslept was silent before.
        shown.state = state
        return [MemberChanged(node, self.name_of(node), old.value, state.value, reason)]

    # -- questions

    @property
    def own(self) -> MemberRecord:
        return self._view.record(self._view.roster.find(self._node))

    def name_of(self, node: NodeId) -> str:
        record = self.record_of(node)
        return record.name if record else node.hex()[:12]

    def record_of(self, node: NodeId) -> MemberRecord | None:
        index = self._view.roster.find(node)
        return self._view.record(index) if self._view.standing(index) else self._revoked.get(node)

    def get(self, node: NodeId) -> Member | None:
        """Cost: O(1)."""
        record, shown = self.record_of(node), self._shown.get(node)
        if record is None or shown is None:
            return None
        return Member(record, shown.state, shown.reason, shown.since_ns)

    def others(self) -> list[Member]:
        """Everyone but us, in order of their ids."""
        found = [self.get(node) for node in sorted(self._shown)]
        return [member for member in found if member is not None]

    def states(self) -> dict[NodeId, MemberState]:
        """Of everyone but us, in no order that means anything. Cost: O(members), and a small one."""
        return {node: shown.state for node, shown in self._shown.items()}

    def is_live(self, node: NodeId) -> bool:
        return self._view.standing(self._view.roster.find(node)) in (ALIVE, SUSPECT)

    def live_and_dead(self) -> tuple[list[MemberRecord], list[MemberRecord]]:
        """Whom to have links with, and who may be there again. Cost: O(members)."""
        live: list[MemberRecord] = []
        dead: list[MemberRecord] = []
        view = self._view
        own = view.roster.find(self._node)
        for index, standing in enumerate(view.standings):
            if standing in (ALIVE, SUSPECT):
                if index != own:
                    live.append(view.record(index))
            elif standing == DEAD:
                dead.append(view.record(index))
        return live, dead

    def keepers(self, linked: Iterable[NodeId]) -> set[NodeId]:
        """Who must have a tombstone before anybody may drop it: all that are or may come back members.

        Also those that are asleep or dead, until they are forgotten; and whoever there is a link with.
        """
        gone = (MemberState.LEFT, MemberState.REVOKED)
        kept = {node for node, shown in self._shown.items() if shown.state not in gone}
        return {self._node, *kept, *linked}

    def owners(self, now: Now) -> frozenset[NodeId]:
        """The nodes whose disks count for `quorum` and `all`: members not left, nor down for long."""
        if self._owners is None or now.mono_ns >= self._owners_until_ns:
            self._owners = self._count_owners(now)
        return self._owners

    def candidates(self, now: Now) -> list[Candidate]:
        """The same nodes, with what decides how much of the spaces that are placed they hold.

        Cost: O(members).
        """
        records = (self.record_of(node) for node in self.owners(now))
        return [Candidate(each.node, each.capacity, each.zone) for each in records if each is not None]

    def gone_count(self, now: Now) -> int:
        """Members that count as owners no more, because they are dead or asleep for long."""
        owners = self.owners(now)
        down = (MemberState.DEAD, MemberState.ASLEEP)
        return sum(shown.state in down and node not in owners for node, shown in self._shown.items())

    def _count_owners(self, now: Now) -> frozenset[NodeId]:
        limit_ns = self._config.rebalance_after_ns
        until_ns = NEVER_NS
        owners = [self._node]
        for node, shown in self._shown.items():
            if shown.state in (MemberState.DEAD, MemberState.ASLEEP):
                if now.mono_ns - shown.since_ns >= limit_ns:
                    continue
                until_ns = min(until_ns, shown.since_ns + limit_ns)
            if shown.state not in (MemberState.LEFT, MemberState.REVOKED):
                owners.append(node)
        self._owners_until_ns = until_ns
        return frozenset(owners)
