"""The membership of one node: routes packets, timers and commands to the machines beside it.

Events and the monotonic time come in, effects go out. Whoever runs it promises that a packet's sender
is who it says (packets and streams are authenticated) and that timers come back, late at worst.
Each event costs O(1) on average, however many members there are; only exchanges walk over what differs.
"""

from __future__ import annotations

import random
from typing import assert_never

from bellande_mesh_sync.core.config import LocalNode
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.effects import PeerRecorded
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.members.swim.beliefs import Beliefs
from bellande_mesh_sync.core.members.swim.config import SwimConfig
from bellande_mesh_sync.core.members.swim.effects import (
    GoodbyeSaid,
    SendStream,
    SetTimer,
    SwimEffect,
)
from bellande_mesh_sync.core.members.swim.evidence import Evidence, Explanation
from bellande_mesh_sync.core.members.swim.exchange import entry_for_itself, entry_of
from bellande_mesh_sync.core.members.swim.health import Health
from bellande_mesh_sync.core.members.swim.merging import Merging
from bellande_mesh_sync.core.members.swim.messages import (
    Ack,
    Datagram,
    Digest,
    Entries,
    Gossip,
    Nack,
    Ping,
    PingRequest,
    StreamMessage,
    StreamPing,
    StreamPong,
    Verdict,
)
from bellande_mesh_sync.core.members.swim.probing import Probing
from bellande_mesh_sync.core.members.swim.quality import Quality
from bellande_mesh_sync.core.members.swim.telling import Telling
from bellande_mesh_sync.core.members.swim.timers import (
    AckOverdue,
    ExchangeDue,
    GoodbyeOver,
    GossipDue,
    HealDue,
    ProbeDue,
    RelayOver,
    SuspicionOver,
    SwimTimer,
)
from bellande_mesh_sync.core.members.swim.view import ALIVE, SUSPECT, UNKNOWN, View
from bellande_mesh_sync.ids import NodeId

ISOLATED_PERIODS = 3
"""Probe intervals without a message from anybody after which a node was cut off rather than lucky."""


class Swim:
    """Start it once; then feed it. Every call returns what is to be done, in order."""

    def __init__(
        self, config: SwimConfig, me: LocalNode, view: View, incarnation: int, rng: random.Random,
        counters: Counters,
    ) -> None:  # fmt: skip
        """`view` holds who is known from the peer book; `incarnation` is above all earlier ones."""
        self._config = config
        self._rng = rng
        self._out: list[SwimEffect] = []
        self.health = Health(config)
        self._quality = Quality(config.qualities_max)
        self._evidence = Evidence(self.health, self._quality)
        self.beliefs = Beliefs(
            config, me, view, incarnation, self.health, counters, self._out, self._evidence
        )
        self._view = view
        self._telling = Telling(config, self.beliefs, rng, self._out)
        self._probing = Probing(
            config, self.beliefs, self.health, self._evidence, self._telling, rng, self._out
        )
        self._merging = Merging(config, self.beliefs, me.bootstrap, rng, self._out)
        self._run = 0
        """Timers of the time before a sleep are stale."""
        self._heard_ns = 0
        """When the last event came in."""
        self._reached_ns = 0
        """When the last message from anybody came in."""

    @property
    def view(self) -> View:
        return self._view

    @property
    def incarnation(self) -> int:
        """Our own; the next start must begin above it."""
        return self.beliefs.own.incarnation

    @property
    def own_record(self) -> MemberRecord:
        """What we say of ourselves now: for the Hello of a link."""
        return self.beliefs.own

    @property
    def queued_count(self) -> int:
        """Updates and accusations waiting to be sent."""
        return len(self.beliefs.gossip) + len(self.beliefs.accused)

    def state_of(self, node: NodeId) -> str:
        """What programs are told of a member, a MemberState; empty for a stranger."""
        return self.beliefs.state_of(self._view.roster.find(node))

    def overslept(self) -> list[NodeId]:
        """Who sleeps for longer than it said: dead for the programs here, asleep in the view."""
        return [self._view.roster.nodes[index] for index in self.beliefs.sleepers.late()]

    def quality(self, node: NodeId) -> tuple[int, float]:
        """Of direct pings to this member: smoothed round trip in ns, and loss ratio. -1: not known."""
        _, rtt_ns, loss_ratio = self._quality.of(self._view.roster.find(node))
        return rtt_ns, loss_ratio

    def against(self, node: NodeId) -> Verdict | None:
        """What we hold against this member, as far as it can refute it."""
        return self.beliefs.against(self._view.roster.find(node))

    def explain(self, node: NodeId, now_ns: int) -> Explanation:
        """Why this member stands as it does."""
        index = self._view.roster.find(node)
        incarnation = self._view.incarnation(index) if self._view.standing(index) != UNKNOWN else 0
        suspicion = self.beliefs.suspicions.get(index)
        acked_ns, rtt_ns, loss_ratio = self._quality.of(index)
        reason, since_ns = self._evidence.reason(index)
        return Explanation(
            node, self.beliefs.state_of(index), since_ns, incarnation, reason,
            self.health.score, self._evidence.findings(index),
            () if suspicion is None else tuple(suspicion.accusers),
            -1 if suspicion is None else suspicion.due_ns, -1 if acked_ns < 0 else now_ns - acked_ns,
            rtt_ns, loss_ratio,
        )  # fmt: skip

    # -- commands

    def start(self, now_ns: int, *, tells_records: bool = True) -> list[SwimEffect]:
        """`tells_records`: first say where all members of the view are reached (PeerRecorded)."""
        if tells_records:
            others = (index for index in self._view.known() if index != self.beliefs.own_index)
            self._out.extend(PeerRecorded(self._view.record(index)) for index in others)
        return self._begin(now_ns)

    def _begin(self, now_ns: int) -> list[SwimEffect]:
        self._heard_ns = self._reached_ns = now_ns
        self._probing.start(self._run, now_ns)
        self._merging.start(self._run, now_ns)
        return self._done(now_ns)

    def leave(self, now_ns: int) -> list[SwimEffect]:
        """Say goodbye for good. Ends in GoodbyeSaid."""
        self.beliefs.ourselves.reincarnate(self.beliefs.own.incarnation, left=True)
        return self._part(now_ns)

    def sleep(self, for_s: int, now_ns: int) -> list[SwimEffect]:
        """Say that this node will be silent, as planned. Ends in GoodbyeSaid; then only `wake` follows.

        `for_s`: how long; the others take it for dead when it is not back a minute after that.
        """
        self.beliefs.ourselves.fall_asleep(for_s, now_ns)
        return self._part(now_ns)

    def wake(self, now_ns: int) -> list[SwimEffect]:
        """Go on after `sleep`, in a new incarnation. No timer of the time before needs to come back."""
        self._probing.drop_relays()
        self.beliefs.ourselves.is_parting = False
        self.beliefs.suspicions.deaf_ns += now_ns - self._heard_ns
        self.beliefs.ourselves.reincarnate(self.beliefs.own.incarnation)
        self.beliefs.set_timers_again(now_ns)
        self._telling.drop_timer()
        return self._begin(now_ns)

    def change_self(self, me: LocalNode, now_ns: int) -> list[SwimEffect]:
        """Our addresses, seal key, labels, ... are others from now on: say so, in a new incarnation."""
        self._hear(now_ns)
        if me.addresses != self.beliefs.own.addresses:
            # Who did not answer since anybody reached us may have answered to where we no longer are.
            self.beliefs.suspicions.deaf_ns += now_ns - self._reached_ns
            self._reached_ns = now_ns
        self.beliefs.ourselves.become(me)
        self._merging.seeds = me.bootstrap
        return self._done(now_ns)

    def remove(self, node: NodeId, now_ns: int) -> tuple[bool, list[SwimEffect]]:
        """An operator says that this member will not come back; so all are told.

        False, and nothing changes, for a stranger and for one that lives or is only suspected.
        """
        self._hear(now_ns)
        is_removed = self.beliefs.remove(self._view.roster.find(node))
        return is_removed, self._done(now_ns)

    def ban(self, node: NodeId, now_ns: int) -> list[SwimEffect]:
        """This node was revoked: know nothing of it, and believe nothing that anybody says of it."""
        self._hear(now_ns)
        self.beliefs.ban(node)
        return self._done(now_ns)

    def _part(self, now_ns: int) -> list[SwimEffect]:
        self.beliefs.ourselves.is_parting = True
        self._run += 1
        self._probing.stop()
        self._telling.gossip(now_ns)
        self._out.append(SetTimer(GoodbyeOver(now_ns + self._config.goodbye_ns)))
        return self._done(now_ns)

    # -- what links tell

    def hint_silent(self, node: NodeId, now_ns: int) -> list[SwimEffect]:
        """A link to this member broke or could not be opened: probe it next. Judges nobody by itself."""
        self._hear(now_ns)
        index = self._view.roster.find(node)
        if index != self.beliefs.own_index and self._view.standing(index) in (ALIVE, SUSPECT):
            self._probing.hint(index, now_ns)
        return self._done(now_ns)

    def met(
        self, node: NodeId, record: MemberRecord, now_ns: int, *, exchange: bool = False
    ) -> list[SwimEffect]:
        """A link with this member is open; `record` is what it said of itself there.

        `exchange` begins a state exchange with it: it is enough if the side that dialled does so.
        """
        self._hear(now_ns)
        self._reached(now_ns)
        was_alone = self._view.live_count < 2
        if record.node == node:
            self.beliefs.apply_record(record, now_ns)
            self._telling.tell_of_itself(record, now_ns)
        if exchange and not self.beliefs.ourselves.is_parting:
            self._merging.begin_with(node, was_alone)
        return self._done(now_ns)

    # -- events

    def handle_datagram(self, sender: NodeId, datagram: Datagram, now_ns: int) -> list[SwimEffect]:
        self._hear(now_ns)
        self._reached(now_ns)
        beliefs = self.beliefs
        for record in datagram.records:
            if not beliefs.apply_record(record, now_ns) and record.node == sender:
                self._telling.correct_sender(record)
        for notice in datagram.notices:
            beliefs.apply_notice(notice, now_ns)
        for verdict in datagram.verdicts:
            if not beliefs.apply_verdict(verdict, now_ns):
                self._telling.correct(sender, verdict.node)
        match datagram.body:
            case Ping() as ping:
                self._probing.answer(sender, ping)
            case Ack() as ack:
                self._probing.acked(sender, ack, now_ns)
            case Gossip():
                pass
            case PingRequest() as request:
                self._probing.relay(sender, request, now_ns)
            case Nack() as nack:
                self._probing.nacked(sender, nack)
            case Digest() as digest:
                self._merging.handle_digest(sender, digest)
            case _ as never:
                assert_never(never)
        return self._done(now_ns)

    def handle_stream(self, sender: NodeId, message: StreamMessage, now_ns: int) -> list[SwimEffect]:
        self._hear(now_ns)
        self._reached(now_ns)
        match message:
            case StreamPing():
                self._answer_stream(sender, message, now_ns)
            case StreamPong():
                self._probing.stream_ponged(sender, message.sequence)
            case Entries():
                self._take_entries(sender, message, now_ns)
            case _:
                self._merging.handle(sender, message, now_ns)
        return self._done(now_ns)

    def _take_entries(self, sender: NodeId, entries: Entries, now_ns: int) -> None:
        """Whoever holds an older record of us may have no key for our datagrams: it is told over the link."""
        self._merging.handle(sender, entries, now_ns)
        own = self.own_record
        of_us = [entry.record for entry in entries.entries if entry.record.node == own.node]
        if any(record.incarnation < own.incarnation for record in of_us):
            newer = entry_of(self._view, self.beliefs.own_index, now_ns)
            self._out.append(SendStream(sender, Entries((newer,), ())))

    def _answer_stream(self, sender: NodeId, ping: StreamPing, now_ns: int) -> None:
        self._out.append(SendStream(sender, StreamPong(ping.sequence)))
        index = self._view.roster.find(sender)
        standing = self._view.standing(index)
        if standing == UNKNOWN:
            return
        if standing >= SUSPECT or self._view.incarnation(index) > ping.incarnation:
            entry = entry_for_itself(self._view, index, now_ns)
            self._out.append(SendStream(sender, Entries((entry,), ())))

    def handle_timer(self, timer: SwimTimer, now_ns: int) -> list[SwimEffect]:
        self._hear(now_ns)
        match timer:
            case ProbeDue():
                if self._probing.is_due(timer):
                    self._new_period(timer, now_ns)
            case AckOverdue():
                self._probing.ask_helpers(timer.sequence, now_ns)
            case GossipDue():
                self._telling.gossip_due(now_ns)
            case RelayOver():
                self._probing.relay_over(timer.sequence)
            case SuspicionOver():
                verdict = self.beliefs.suspicion_due(timer.index, timer.mark, now_ns)
                if verdict is not None:
                    self._telling.call(verdict, timer.index)
            case ExchangeDue():
                self._merging.exchange_due(timer, now_ns)
            case HealDue():
                if timer.run == self._run:
                    self._merging.heal_due(self._run, now_ns)
            case GoodbyeOver():
                self._out.append(GoodbyeSaid())
            case _:
                assert_never(timer)
        return self._done(now_ns)

    def note_lag(self, lag_ns: int, now_ns: int) -> list[SwimEffect]:
        """The event loop measured that it ran this much late."""
        self._hear(now_ns)
        self._evidence.lag_ns = lag_ns
        if lag_ns > self._config.lag_ns:
            self.health.worsen()
        return self._done(now_ns)

    def _done(self, now_ns: int) -> list[SwimEffect]:
        self._telling.gossip_soon(now_ns)
        out = self._out[:]
        self._out.clear()
        return out

    def _new_period(self, timer: ProbeDue, now_ns: int) -> None:
        isolated_ns = self._reached_ns + ISOLATED_PERIODS * self._config.probe_interval_ns
        if now_ns > isolated_ns and not self.beliefs.is_isolated:
            self.beliefs.become_isolated()
        self._merging.new_period()
        self._telling.new_period()
        self._probing.next_round(timer, now_ns)

    # -- doubting ourselves

    def _hear(self, now_ns: int) -> None:
        """A timer that is overdue while nothing else came in means that we were stopped."""
        due_ns = self._probing.due_ns
        if now_ns - due_ns > self._config.lag_ns and self._probing.is_running:
            deaf_ns = now_ns - max(self._heard_ns, due_ns)
            if deaf_ns > self._config.lag_ns:
                self._was_deaf(deaf_ns, now_ns)
        self._heard_ns = self._evidence.now_ns = now_ns

    def _reached(self, now_ns: int) -> None:
        """The first message after a time of isolation: what we found in that time speaks of us."""
        silent_ns = now_ns - self._reached_ns
        self.beliefs.is_isolated = False
        if silent_ns > ISOLATED_PERIODS * self._config.probe_interval_ns:
            self.beliefs.suspicions.deaf_ns += silent_ns
            self._merging.exchange_soon(now_ns)
        self._reached_ns = now_ns

    def _was_deaf(self, deaf_ns: int, now_ns: int) -> None:
        """Who did not answer in that time may well have: no verdict comes from it."""
        self.beliefs.suspicions.deaf_ns += deaf_ns
        self.beliefs.catching_up_until_ns = now_ns + self._config.probe_interval_ns
        self.health.worsen()
        self._probing.end_round()
        self._reached_ns = now_ns
        if deaf_ns > self._config.probe_interval_ns:
            self._merging.exchange_soon(now_ns)
