"""Membership of a whole node: feeds the failure detector, and does over links what datagrams cannot."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from bellande_mesh_sync.core.config import CoreConfig, LocalNode
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.effects import (
    Effect,
    Log,
    MemberChanged,
    PeerForgotten,
    PeerRecorded,
    Send,
    SendDatagram,
    SetTimer,
    Stop,
)
from bellande_mesh_sync.core.members.directory import Directory
from bellande_mesh_sync.core.members.member import MemberRecord, MemberState
from bellande_mesh_sync.core.members.peer_book import PeerBook
from bellande_mesh_sync.core.members.swim.effects import GoodbyeSaid, SendStream, SwimEffect
from bellande_mesh_sync.core.members.swim.effects import SetTimer as SetSwimTimer
from bellande_mesh_sync.core.members.swim.machine import Swim
from bellande_mesh_sync.core.members.swim.messages import (
    Datagram,
    Gossip,
    Ping,
    SleepNotice,
    StreamMessage,
    StreamPing,
)
from bellande_mesh_sync.core.members.swim.roster import Roster
from bellande_mesh_sync.core.members.swim.timers import SwimTimer
from bellande_mesh_sync.core.members.swim.view import ALIVE, LEFT, View
from bellande_mesh_sync.core.messages import MemberDatagram, MemberStream
from bellande_mesh_sync.core.session.links import Link, Links
from bellande_mesh_sync.core.timers import SwimDue
from bellande_mesh_sync.ids import NodeId, Now

SETTLING_NS = 3_000_000_000
"""So long after the first word from anybody, the peer book is as good as what the others know."""
TRUST_NS = 60_000_000_000
"""So long after a datagram came from a member, others will get through too."""
TELLS_WITHIN_NS = 20_000_000_000
DIALLED_AT_ONCE_MAX = 256
HELD_NODES_MAX = 64
HELD_MESSAGES_MAX = 4
"""What waits for a link to be opened for it; the older goes."""


class Membership:
    """One failure detector and the directory that shows what it believes.

    Datagrams go as such between nodes that take them, and over the link between others. A message for
    a stream waits for a link if there is none: `wanted` says with whom.
    """

    def __init__(
        self, config: CoreConfig, me: LocalNode, links: Links, counters: Counters,
        stored: Iterable[MemberRecord], rng: random.Random, *, remember: Callable[[MemberRecord], None],
        forget: Callable[[NodeId], None], on_left: Callable[[NodeId], list[Effect]],
    ) -> None:  # fmt: skip
        """`remember` and `forget`: the peer book on disk. `on_left`: what else to do when a member left."""
        self.me = me
        self.on_doubt: Callable[[NodeId, Now], list[Effect]] = lambda node, now: []
        self.on_forgotten: Callable[[NodeId], None] = lambda node: None
        self._on_left = on_left
        self._links = links
        self._counters = counters
        self._view = View(Roster(me.verify))
        records = tuple(stored)
        self._book = PeerBook(records, remember, forget)
        self._datagrams_ns: dict[NodeId, int] = {}
        """When a datagram came from each member, and not over a link."""
        incarnation = self._read_book(records)
        swim = replace(
            config.swim,
            suspicion_limit_ns=config.node_timeout_ns,
            members_max=config.members_max,
            forget_after_ns=config.forget_after_ns,
        )
        self.swim = Swim(swim, me, self._view, incarnation + 1, rng, counters)
        self.directory = Directory(config, me.node, self._view)
        self._held: dict[NodeId, list[StreamMessage]] = {}
        self._settled_ns = 0
        """When the peer book is as good as what others know; 0 while we have not heard of anybody."""
        self.is_asleep = False
        self.needs_dials = False
        """Somebody new is known."""
        self.wants_links = False
        """Something waits for a link."""
        self.has_room: Callable[[], bool] = lambda: True
        """Whether one link more may be opened without another one going."""
        self._says_goodbye = False
        """Going to sleep: what is under way still gets around."""
        self._is_stopped = False
        self._perform: dict[type, Callable[[Any, Now, list[Effect]], None]] = {
            SendDatagram: self._send_datagram,
            SendStream: self._send_stream,
            SetSwimTimer: lambda effect, now, out: out.append(
                SetTimer(SwimDue(effect.timer), effect.timer.due_ns)
            ),
            MemberChanged: self._changed,
            PeerRecorded: self._recorded,
            PeerForgotten: self._forgotten,
            GoodbyeSaid: self._goodbye_said,
            Log: lambda effect, now, out: out.append(effect),
            Stop: self._stop,
        }

    def _read_book(self, stored: Iterable[MemberRecord]) -> int:
        """Take in who was known in the last run; the incarnation that we were in."""
        incarnation = 0
        for record in stored:
            if record.node == self.me.node:
                incarnation = record.incarnation
            else:
                number = self._view.roster.take_stored(record)
                standing = LEFT if record.left else ALIVE
                self._view.put(self._view.roster.find(record.node), number, standing, 0)
        return incarnation

    def start(self, now: Now) -> list[Effect]:
        self.directory.start(now)
        return self._done(self.swim.start(now.mono_ns), now)

    # -- events

    def packet_came(self, peer: NodeId, datagram: Datagram, now: Now) -> list[Effect]:
        """As a datagram, and not over a link: so they get through between us."""
        self._datagrams_ns[peer] = now.mono_ns
        return self.handle_datagram(peer, datagram, now)

    def handle_datagram(self, peer: NodeId, datagram: Datagram, now: Now) -> list[Effect]:
        if self.is_asleep or self.swim.beliefs.is_banned(peer):
            return []
        effects = self._met(peer, now)
        return effects + self._done(self.swim.handle_datagram(peer, datagram, now.mono_ns), now)

    def handle_stream(self, peer: NodeId, message: StreamMessage, now: Now) -> list[Effect]:
        if self.swim.beliefs.is_banned(peer):
            return []
        return self._done(self.swim.handle_stream(peer, message, now.mono_ns), now)

    def handle_timer(self, timer: SwimTimer, now: Now) -> list[Effect]:
        if self.is_asleep and not self._says_goodbye:
            return []  # All are set again when we wake.
        return self._done(self.swim.handle_timer(timer, now.mono_ns), now)

    def note_lag(self, lag_ns: int, now: Now) -> list[Effect]:
        return self._done(self.swim.note_lag(lag_ns, now.mono_ns), now)

    def link_opened(self, link: Link, record: MemberRecord, now: Now) -> list[Effect]:
        """The dialling side begins to compare what both know."""
        effects = self._met(link.peer, now)
        met = self.swim.met(link.peer, record, now.mono_ns, exchange=link.is_outbound)
        effects += self._done(met, now)
        effects += self.directory.heard(link.peer, "linked", now)
        held = self._held.pop(link.peer, ())
        return effects + [Send(link.link, MemberStream(message)) for message in held]

    def turned_away(self, peer: NodeId, record: MemberRecord, now: Now) -> list[Effect]:
        """There is no room for a link with this member; what it said of itself counts all the same."""
        return self._met(peer, now) + self._done(self.swim.met(peer, record, now.mono_ns), now)

    def link_lost(self, peer: NodeId, now: Now) -> list[Effect]:
        """Nothing says that it is gone, but it is worth a look."""
        return self._done(self.swim.hint_silent(peer, now.mono_ns), now)

    def dial_failed(self, peer: NodeId, now: Now) -> list[Effect]:
        self._held.pop(peer, None)
        return self._done(self.swim.hint_silent(peer, now.mono_ns), now)

    def tick(self, now: Now) -> list[Effect]:
        self._drop_undialable()
        self._book.tick(now)
        effects = self._tell_accused(now)
        if self._settled_ns and now.mono_ns >= self._settled_ns and self.directory.has_unheard:
            effects += self.directory.all_heard("known to the members met", now)
        return effects

    def _tell_accused(self, now: Now) -> list[Effect]:
        """Over a link that lives, what is held against its other end: it may not hear our datagrams."""
        effects: list[Effect] = []
        for link in self._links.records_links():
            verdict = self.swim.against(link.peer)
            if verdict is not None and now.mono_ns - link.last_heard_ns < TELLS_WITHIN_NS:
                effects.append(Send(link.link, MemberDatagram(Datagram(Gossip(), (verdict,)))))
        return effects

    def _drop_undialable(self) -> None:
        """What waits for a link that will never be there must not keep others from theirs."""
        for node in list(self._held):
            record = self.directory.record_of(node)
            if record is None or not record.addresses:
                del self._held[node]

    @property
    def wanted(self) -> list[MemberRecord]:
        """With whom a link is needed now."""
        found = [self.directory.record_of(node) for node in self._held]
        return [record for record in found if record is not None]

    def want_link(self, node: NodeId) -> None:
        if len(self._held) < HELD_NODES_MAX:
            self._held.setdefault(node, [])
            self.wants_links = True

    def _met(self, peer: NodeId, now: Now) -> list[Effect]:
        if not self._settled_ns:
            self._settled_ns = now.mono_ns + SETTLING_NS
        return list(self.directory.heard(peer, "it answers", now))

    # -- ourselves

    def change_self(self, me: LocalNode, now: Now) -> list[Effect]:
        self.me = me
        return self._done(self.swim.change_self(me, now.mono_ns), now)

    def announce(self, now: Now) -> list[Effect]:
        """Say who we are once more to everybody, in a new incarnation."""
        return self.change_self(self.me, now)

    def leave(self, now: Now) -> list[Effect]:
        self.is_asleep = False  # Or it would wake in the middle of it.
        effects = self._done(self.swim.leave(now.mono_ns), now)
        self._book.write()
        return effects + self._tell_all(Datagram(Gossip(), records=(self.directory.own,)))

    def sleep(self, for_s: int, now: Now) -> list[Effect]:
        """Said over links and, for a second, by gossip. Said again, it needs datagrams to be heard."""
        effects = self._done(self.swim.wake(now.mono_ns), now) if self.is_asleep else []
        effects += self._done(self.swim.sleep(for_s, now.mono_ns), now)
        self.is_asleep = self._says_goodbye = True
        notice = self._own_notice()
        return effects + self._tell_all(Datagram(Gossip(), notices=(notice,)))

    def wake(self, now: Now) -> list[Effect]:
        self.is_asleep = False
        return self._done(self.swim.wake(now.mono_ns), now)

    def _own_notice(self) -> SleepNotice:
        notice = self._view.roster.notice(self._view.number(self._view.roster.find(self.me.node)))
        assert notice is not None, "asleep without a notice"
        return notice

    def _tell_all(self, datagram: Datagram) -> list[Effect]:
        """Over every link at once: they close next, and gossip would be slower."""
        message = MemberDatagram(datagram)
        return [Send(link.link, message) for link in self._links.records_links()]

    def remove(self, node: NodeId, now: Now) -> tuple[bool, list[Effect]]:
        """A member that is down will not come back; False if it is not down."""
        is_removed, effects = self.swim.remove(node, now.mono_ns)
        return is_removed, self._done(effects, now)

    def revoke(self, node: NodeId, name: str, reason: str, now: Now) -> list[Effect]:
        """Nothing of it is believed any more, no disk of it counts, and no datagram goes there."""
        changes = self.directory.revoke(node, name, reason, now)
        effects: list[Effect] = [*changes, *(self._on_left(node) if changes else ())]
        return effects + self._done(self.swim.ban(node, now.mono_ns), now)

    def readmit(self, node: NodeId) -> None:
        """Its revocation turned out not to count: it may be met again."""
        self.directory.readmit(node)

    def cleanup(self, older_than_ns: int, now: Now) -> tuple[list[NodeId], list[Effect]]:
        """Remove members that are dead for longer."""
        removed: list[NodeId] = []
        effects: list[Effect] = []
        for member in self.directory.others():
            if member.state == MemberState.DEAD and now.mono_ns - member.since_ns > older_than_ns:
                is_removed, more = self.remove(member.record.node, now)
                effects += more
                if is_removed:
                    removed.append(member.record.node)
        return removed, effects

    # -- what the failure detector wants

    def _done(self, effects: list[SwimEffect], now: Now) -> list[Effect]:
        out: list[Effect] = []
        for effect in effects:
            self._perform[type(effect)](effect, now, out)
        own = self.directory.own
        if own is not self._book.get(own.node):
            self._book.note(own, now)
        return out

    def _changed(self, effect: MemberChanged, now: Now, out: list[Effect]) -> None:
        for change in self.directory.changed(effect, now):
            out.append(change)
            if change.new_state == MemberState.LEFT:
                out.extend(self._on_left(change.node))
            elif change.new_state == MemberState.SUSPECT:
                out.extend(self.on_doubt(change.node, now))  # A connection may be dead, and a new one not.

    def _goodbye_said(self, effect: GoodbyeSaid, now: Now, out: list[Effect]) -> None:
        self._says_goodbye = False

    def _stop(self, effect: Stop, now: Now, out: list[Effect]) -> None:
        if not self._is_stopped:
            self._is_stopped = True
            out.append(effect)

    def _send_datagram(self, effect: SendDatagram, now: Now, out: list[Effect]) -> None:
        """As a datagram if any came from there lately; else over the link, and a ping both ways."""
        record = self.directory.record_of(effect.target)
        is_taken = self.me.datagram_port and record is not None and record.datagram_port
        link = self._links.to(effect.target)
        came_ns = self._datagrams_ns.get(effect.target, -TRUST_NS)
        is_proven = now.mono_ns - came_ns < TRUST_NS
        if is_taken and (is_proven or link is None or type(effect.datagram.body) is Ping):
            out.append(effect)
        if link is not None and not (is_taken and is_proven):
            out.append(Send(link.link, MemberDatagram(effect.datagram)))
        elif not is_taken:
            self._counters["datagrams_unroutable"] += 1

    def _send_stream(self, effect: SendStream, now: Now, out: list[Effect]) -> None:
        target = effect.target
        if isinstance(target, str):
            return  # Bootstrap addresses are dialled until they answer, and a new link begins an exchange.
        link = self._links.to(target)
        if link is not None:
            out.append(Send(link.link, MemberStream(effect.message)))
        elif isinstance(effect.message, StreamPing) and not self.has_room():
            return  # Helpers have links; a ping is not worth another one.
        elif target in self._held or len(self._held) < HELD_NODES_MAX:
            held = self._held.setdefault(target, [])
            held.append(effect.message)
            del held[:-HELD_MESSAGES_MAX]
            self.wants_links = True

    def _recorded(self, effect: PeerRecorded, now: Now, out: list[Effect]) -> None:
        record = effect.record
        if record.node == self.me.node:
            return
        out.append(effect)
        known = self._book.get(record.node)
        if known is not None and known.incarnation == record.incarnation:
            return  # From the peer book.
        self._book.note(record, now)
        if known is None:
            # In a large mesh the next tick is soon enough: a look at everybody for each would not be.
            self.needs_dials = self._view.known_count <= DIALLED_AT_ONCE_MAX
            return
        out.extend(self.directory.heard(record.node, "it said something new", now))
        if known.addresses != record.addresses:
            out.extend(self.on_doubt(record.node, now))

    def _forgotten(self, effect: PeerForgotten, now: Now, out: list[Effect]) -> None:
        self._book.forget(effect.node)
        self._held.pop(effect.node, None)
        self._datagrams_ns.pop(effect.node, None)
        self.directory.forgotten(effect.node)
        self.on_forgotten(effect.node)
        out.append(effect)
