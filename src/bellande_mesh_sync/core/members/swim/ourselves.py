"""What a node says of itself: its own record, and the answers to what others say of it."""

from __future__ import annotations

from bellande_mesh_sync.core.config import LocalNode
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.effects import Log, Stop
from bellande_mesh_sync.core.members.member import MemberRecord, is_genuine
from bellande_mesh_sync.core.members.swim.doubles import ANSWER_LEAP, LEAP, Doubles, Meeting, rank
from bellande_mesh_sync.core.members.swim.effects import SwimEffect
from bellande_mesh_sync.core.members.swim.gossip import GossipQueue
from bellande_mesh_sync.core.members.swim.health import Health
from bellande_mesh_sync.core.members.swim.messages import signed_notice
from bellande_mesh_sync.core.members.swim.view import ALIVE, ASLEEP, LEFT, View


class Ourselves:
    """Our record in the view. Only we can raise its incarnation, so only we can answer what is said of us."""

    def __init__(
        self, me: LocalNode, view: View, gossip: GossipQueue, incarnation: int, health: Health,
        counters: Counters, out: list[SwimEffect],
    ) -> None:  # fmt: skip
        self._me = me
        self._view = view
        self._gossip = gossip
        self._health = health
        self._counters = counters
        self._out = out
        self._doubles = Doubles()
        self._is_over = False
        """Another run has our identity, and goes on: we say nothing more of ourselves."""
        self.is_parting = False
        """We said that we leave or sleep, so no verdict needs an answer."""
        self.index = -1
        self.record = self._doubles.say(me.record(incarnation), me.sign)
        self._publish()

    def _publish(self) -> None:
        """Take our own record into the view and, unless that has it already, spread it."""
        roster = self._view.roster
        number = roster.number_of(self.record)
        assert number >= 0, "our own record is not genuine"
        self.index = index = roster.find(self.record.node)
        if self._view.standing(index) == ALIVE and self._view.number(index) == number:
            return
        self._view.put(index, number, LEFT if self.record.left else ALIVE, 0)
        self._gossip.add_record(self.record, roster.sizes[number])

    def reincarnate(self, above: int, *, left: bool = False) -> None:
        """Say something new of ourselves that wins over everything up to this incarnation."""
        self.record = self._doubles.say(self._me.record(above + 1, left=left), self._me.sign)
        self._publish()

    def become(self, me: LocalNode) -> None:
        """What we say of ourselves has changed. A sleeper says it when it wakes."""
        assert me.node == self._me.node, "a node keeps its identity"
        self._me = me
        if not self.is_parting:
            self.reincarnate(self.record.incarnation)

    def fall_asleep(self, for_s: int, now_ns: int) -> None:
        notice = signed_notice(self.record.node, self.record.incarnation, for_s, self._me.sign)
        number = self._view.number(self.index)
        self._view.roster.take_notice(number, notice)
        self._view.put(self.index, number, ASLEEP, now_ns)
        self._gossip.add_notice(notice)

    def refute(self, incarnation: int) -> None:
        """Somebody believes ill of us. Higher incarnations than ours cannot be: we sign them."""
        if self.is_parting or self._is_over or incarnation != self.record.incarnation:
            return
        self._counters["member_refutations"] += 1
        self._health.worsen()
        self.reincarnate(incarnation)

    def meet(self, record: MemberRecord) -> None:
        """A newer record of ourselves is of another run: go above it, or nobody hears us."""
        if self._is_over or rank(record) <= rank(self.record):
            return
        if not is_genuine(record, self._me.verify):
            self._counters["member_records_refused"] += 1
            return
        if self.is_parting and not self.record.left:
            return  # Asleep: it is met again after waking.
        meeting = self._doubles.meet(record, self.record)
        if meeting is not Meeting.PAST and not self.is_parting:
            self._report_double(record, is_over=meeting is Meeting.NEWER_RIVAL)
            if meeting is Meeting.NEWER_RIVAL:
                self._is_over = True
                return
        leap = LEAP if meeting is Meeting.PAST else ANSWER_LEAP
        self.reincarnate(record.incarnation + leap, left=self.record.left)

    def _report_double(self, record: MemberRecord, *, is_over: bool) -> None:
        own = self.record
        if is_over:
            reason = (
                f"two nodes have the identity of {own.name}: this one, started at {own.started_ms} ms, "
                f"and one at {', '.join(record.addresses) or 'no address'}, started at "
                f"{record.started_ms} ms, which goes on"
            )
            self._out.append(Stop("identity_conflict", reason))
            return
        facts = {
            "name": own.name, "boot": own.boot.hex(), "started_ms": own.started_ms,
            "other_boot": record.boot.hex(), "other_started_ms": record.started_ms,
            "other_addresses": list(record.addresses),
        }  # fmt: skip
        self._out.append(Log("error", "identity_conflict", facts))
