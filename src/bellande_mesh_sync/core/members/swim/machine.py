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
    SendDatagram,
    SendStream,
    SetTimer,
    SwimEffect,
)
from bellande_mesh_sync.core.members.swim.evidence import Evidence, Explanation, Found
from bellande_mesh_sync.core.members.swim.exchange import entry_of
from bellande_mesh_sync.core.members.swim.health import Health
from bellande_mesh_sync.core.members.swim.hints import Hints
from bellande_mesh_sync.core.members.swim.merging import Merging
from bellande_mesh_sync.core.members.swim.messages import (
    ACK_BYTES,
    GOSSIP_BYTES,
    NACK_BYTES,
    PING_BYTES,
    PING_REQUEST_BYTES,
    VERDICT_BYTES,
    Ack,
    Body,
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
from bellande_mesh_sync.core.members.swim.order import ProbeOrder
from bellande_mesh_sync.core.members.swim.prober import Prober, Round
from bellande_mesh_sync.core.members.swim.quality import Quality
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
from bellande_mesh_sync.core.members.swim.view import ALIVE, DEAD, SUSPECT, UNKNOWN, View
from bellande_mesh_sync.ids import NodeId

TELLS_MAX = 8
"""Accused members told in one gossip round: a merge of two halves accuses thousands at once."""
CORRECTIONS_MAX = 8
"""Senders of outdated verdicts who get the newer record, within one probe interval."""
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
        self._prober = Prober(config.relays_max)
        self._order = ProbeOrder(self.beliefs.own_index, rng)
        self._hints = Hints()
        self._merging = Merging(config, self.beliefs, me.bootstrap, rng, self._out)
        self._node = me.node
        self._run = 0
        """Timers of the time before a sleep are stale."""
        self._probe_due_ns = 0
        self._probe_run = -1
        self._probed_ns = 0
        """When the last round began."""
        self._heard_ns = 0
        """When the last event came in."""
        self._corrections_left = CORRECTIONS_MAX
        self._reached_ns = 0
        """When the last message from anybody came in."""
        self._gossips = False
        """Whether a GossipDue is under way."""

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
        self._set_probe(now_ns, int(self._rng.random() * self._config.probe_interval_ns))
        self._merging.start(self._run, now_ns)
        return self._done(now_ns)

    def leave(self, now_ns: int) -> list[SwimEffect]:
        """Say goodbye for good. Ends in GoodbyeSaid."""
        self.beliefs.reincarnate(self.beliefs.own.incarnation, left=True)
        return self._part(now_ns)

    def sleep(self, for_s: int, now_ns: int) -> list[SwimEffect]:
        """Say that this node will be silent, as planned. Ends in GoodbyeSaid; then only `wake` follows.

        `for_s`: how long; the others take it for dead when it is not back a minute after that.
        """
        self.beliefs.fall_asleep(for_s, now_ns)
        return self._part(now_ns)

    def wake(self, now_ns: int) -> list[SwimEffect]:
        """Go on after `sleep`, in a new incarnation. No timer of the time before needs to come back."""
        self._prober.drop_relays()
        self.beliefs.is_parting = False
        self.beliefs.suspicions.deaf_ns += now_ns - self._heard_ns
        self.beliefs.reincarnate(self.beliefs.own.incarnation)
        self.beliefs.set_timers_again(now_ns)
        self._gossips = False
        return self._begin(now_ns)

    def change_self(self, me: LocalNode, now_ns: int) -> list[SwimEffect]:
        """Our addresses, seal key, labels, ... are others from now on: say so, in a new incarnation."""
        self._hear(now_ns)
        self.beliefs.become(me)
        self._merging.seeds = me.bootstrap
        return self._done(now_ns)

    def remove(self, node: NodeId, now_ns: int) -> tuple[bool, list[SwimEffect]]:
        """An operator says that this member will not come back; so all are told.

        False, and nothing changes, for a stranger and for one that lives or is only suspected.
        """
        self._hear(now_ns)
        is_removed = self.beliefs.remove(self._view.roster.find(node))
        return is_removed, self._done(now_ns)

    def _part(self, now_ns: int) -> list[SwimEffect]:
        self.beliefs.is_parting = True
        self._run += 1
        self._prober.end()
        self._gossip(now_ns)
        self._out.append(SetTimer(GoodbyeOver(now_ns + self._config.goodbye_ns)))
        return self._done(now_ns)

    # -- what links tell

    def hint_silent(self, node: NodeId, now_ns: int) -> list[SwimEffect]:
        """A link to this member broke or could not be opened: probe it next. Judges nobody by itself."""
        self._hear(now_ns)
        index = self._view.roster.find(node)
        if index != self.beliefs.own_index and self._view.standing(index) in (ALIVE, SUSPECT):
            self._evidence.note(index, Found.LINK_BROKE)
            self._hints.add(index)
            self._probe_soon(now_ns)
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
            self._tell_of_itself(record, now_ns)
        if exchange and not self.beliefs.is_parting:
            self._merging.begin_with(node, was_alone)
        return self._done(now_ns)

    def _tell_of_itself(self, record: MemberRecord, now_ns: int) -> None:
        """What a member must go above to be believed.

        Also over the link: if its record here is of an earlier run, no datagram from here reaches it.
        """
        index = self._view.roster.find(record.node)
        updates, size = self.beliefs.news_for(index, record.incarnation)
        if updates:
            datagram, size = self.beliefs.gossip.pack(
                Gossip(), GOSSIP_BYTES, self._view.live_count, updates, size
            )
            self._out.append(SendDatagram(record.node, datagram, size))
        standing = self._view.standing(index)
        if standing >= DEAD or (standing != UNKNOWN and self._view.record(index) != record):
            self._out.append(SendStream(record.node, Entries((entry_of(self._view, index, now_ns),), ())))

    # -- events

    def handle_datagram(self, sender: NodeId, datagram: Datagram, now_ns: int) -> list[SwimEffect]:
        self._hear(now_ns)
        self._reached(now_ns)
        beliefs = self.beliefs
        for record in datagram.records:
            if not beliefs.apply_record(record, now_ns) and record.node == sender:
                self._correct_sender(record)
        for notice in datagram.notices:
            beliefs.apply_notice(notice, now_ns)
        for verdict in datagram.verdicts:
            if not beliefs.apply_verdict(verdict, now_ns):
                self._correct(sender, verdict.node)
        match datagram.body:
            case Ping() as ping:
                self._answer(sender, ping)
            case Ack() as ack:
                self._acked(sender, ack, now_ns)
            case Gossip():
                pass
            case PingRequest() as request:
                self._relay(sender, request, now_ns)
            case Nack() as nack:
                self._nacked(sender, nack)
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
                self._stream_ponged(sender, message.sequence)
            case Entries():
                self._take_entries(sender, message, now_ns)
            case _:
                self._merging.handle(sender, message, now_ns)
        return self._done(now_ns)

    def _take_entries(self, sender: NodeId, entries: Entries, now_ns: int) -> None:
        """Whoever holds an older record of us may have no key for our datagrams: it is told over the link."""
        incarnation = self.incarnation
        self._merging.handle(sender, entries, now_ns)
        if self.incarnation != incarnation:
            own = entry_of(self._view, self.beliefs.own_index, now_ns)
            self._out.append(SendStream(sender, Entries((own,), ())))

    def _answer_stream(self, sender: NodeId, ping: StreamPing, now_ns: int) -> None:
        self._out.append(SendStream(sender, StreamPong(ping.sequence)))
        index = self._view.roster.find(sender)
        if self._view.standing(index) != UNKNOWN and self._view.incarnation(index) > ping.incarnation:
            self._out.append(SendStream(sender, Entries((entry_of(self._view, index, now_ns),), ())))

    def handle_timer(self, timer: SwimTimer, now_ns: int) -> list[SwimEffect]:
        self._hear(now_ns)
        match timer:
            case ProbeDue():
                # One that was due later is stale since a hint brought the round forward.
                if timer.run == self._run and timer.due_ns == self._probe_due_ns:
                    self._probe(timer, now_ns)
            case AckOverdue():
                self._ask_helpers(timer.sequence, now_ns)
            case GossipDue():
                self._gossips = False
                self._gossip(now_ns)
            case RelayOver():
                relay = self._prober.drop_relay(timer.sequence)
                if relay is not None:
                    self._send(relay.asker, Nack(relay.sequence), NACK_BYTES)
            case SuspicionOver():
                verdict = self.beliefs.suspicion_due(timer.index, timer.mark, now_ns)
                if verdict is not None:
                    self._call(verdict, timer.index)
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
        if not self._gossips and (self.beliefs.gossip or self.beliefs.accused):
            self._gossips = True
            delay_ns = int(self._rng.random() * self._config.gossip_interval_ns)
            self._out.append(SetTimer(GossipDue(now_ns + delay_ns)))
        out = self._out[:]
        self._out.clear()
        return out

    # -- doubting ourselves

    def _hear(self, now_ns: int) -> None:
        """A timer that is overdue while nothing else came in means that we were stopped."""
        if now_ns - self._probe_due_ns > self._config.lag_ns and self._run == self._probe_run:
            deaf_ns = now_ns - max(self._heard_ns, self._probe_due_ns)
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
        self.health.worsen()
        self._prober.end()
        self._reached_ns = now_ns
        if deaf_ns > self._config.probe_interval_ns:
            self._merging.exchange_soon(now_ns)

    # -- probing

    def _set_probe(self, now_ns: int, delay_ns: int) -> None:
        self._probe_due_ns = now_ns + delay_ns
        self._probe_run = self._run
        self._out.append(SetTimer(ProbeDue(self._probe_due_ns, self._run)))

    def _probe_soon(self, now_ns: int) -> None:
        """Begin the next round now, or once a ping of the last one had the time to be answered.

        A round that is still open keeps its time: helpers are at work.
        """
        if self._prober.round is not None or self.beliefs.is_parting:
            return
        soon_ns = max(now_ns, self._probed_ns + self.health.timeout_ns())
        if soon_ns < self._probe_due_ns:
            self._set_probe(soon_ns, 0)

    def _probe(self, timer: ProbeDue, now_ns: int) -> None:
        if now_ns - timer.due_ns > self._config.lag_ns:
            self.health.worsen()
        isolated_ns = self._reached_ns + ISOLATED_PERIODS * self._config.probe_interval_ns
        if now_ns > isolated_ns and not self.beliefs.is_isolated:
            self.beliefs.become_isolated()
        missed = self._prober.end()
        if missed is not None:
            self._unreached(missed, now_ns)
        self._merging.new_period()
        self._corrections_left = CORRECTIONS_MAX
        self._probed_ns = now_ns
        target = self._hints.take(self._view)
        if target < 0:
            target = self._order.next(self._view)
        if target >= 0:
            if self._evidence.has(target) and self._view.standings[target] == SUSPECT:
                self._evidence.note(target, Found.PROBED)
            probe = self._prober.begin(target, now_ns)
            self._ping(target, probe.sequence)
            self._out.append(SetTimer(AckOverdue(now_ns + self.health.timeout_ns(), probe.sequence)))
        self._set_probe(now_ns, self.health.interval_ns())

    def _ping(self, target: int, sequence: int) -> None:
        """A suspect hears with the ping what is said of it (Lifeguard, section 4: the buddy system)."""
        node = self._view.roster.nodes[target]
        ping = Ping(sequence, self.beliefs.own.incarnation)
        if self._view.standings[target] == SUSPECT:
            verdict = self.beliefs.against(target)
            assert verdict is not None, "nothing against a suspect"
            self._send(node, ping, PING_BYTES, verdict)
        else:
            self._send(node, ping, PING_BYTES)

    def _ask_helpers(self, sequence: int, now_ns: int) -> None:
        probe = self._prober.round
        if probe is None or probe.sequence != sequence:
            return
        nodes = self._view.roster.nodes
        chosen = self._view.choose_live(
            self._rng, self._config.helpers_count, self.beliefs.own_index, probe.target
        )
        probe.helpers = tuple(nodes[index] for index in chosen)
        request = PingRequest(sequence, nodes[probe.target])
        waited = f"for {(now_ns - probe.started_ns) / 1e6:.0f} ms"
        self._evidence.note(probe.target, Found.UNANSWERED, None, waited)
        for helper in probe.helpers:
            self._evidence.note(probe.target, Found.ASKED, helper)
            self._send(helper, request, PING_REQUEST_BYTES)
        self._out.append(SendStream(nodes[probe.target], StreamPing(sequence, self.incarnation)))

    def _unreached(self, probe: Round, now_ns: int) -> None:
        """Helpers that did not even say that they failed make us doubt ourselves."""
        self._note_silence(probe)
        self.health.worsen(len(probe.helpers) - len(probe.nacked) if probe.helpers else 1)
        if self._view.standing(probe.target) in (1, SUSPECT):
            self.beliefs.suspect(probe.target, self._node, now_ns)

    def _note_silence(self, probe: Round) -> None:
        self._quality.unanswered(probe.target)
        for helper in probe.helpers:
            if helper not in probe.nacked:
                self._evidence.note(probe.target, Found.HELPER_SILENT, helper)
        self._evidence.note(probe.target, Found.STREAM_SILENT)

    def _nacked(self, helper: NodeId, nack: Nack) -> None:
        probe = self._prober.round
        if self._prober.nacked(nack.sequence, helper) and probe is not None:
            self._evidence.note(probe.target, Found.NOT_REACHED, helper)

    def _answer(self, sender: NodeId, ping: Ping) -> None:
        index = self._view.roster.find(sender)
        known = 0 if self._view.standing(index) == UNKNOWN else self._view.incarnation(index)
        updates, size = self.beliefs.news_for(index, ping.incarnation)
        members = self._view.live_count
        datagram, size = self.beliefs.gossip.pack(
            Ack(ping.sequence, known), ACK_BYTES, members, updates, size
        )
        self._out.append(SendDatagram(sender, datagram, size))

    def _acked(self, sender: NodeId, ack: Ack, now_ns: int) -> None:
        nodes = self._view.roster.nodes
        relay = self._prober.relayed(ack.sequence)
        if relay is not None:
            if sender == nodes[relay.target]:
                self._prober.drop_relay(ack.sequence)
                index = self._view.roster.find(relay.asker)
                known = 0 if self._view.standing(index) == UNKNOWN else self._view.incarnation(index)
                self._send(relay.asker, Ack(relay.sequence, known), ACK_BYTES)
            return
        if ack.known < self.beliefs.own.incarnation:
            self._introduce(sender)
        probe = self._prober.round
        if probe is None:
            return
        target = nodes[probe.target]
        if self._prober.acked(ack.sequence, sender, target) is not None:
            self.health.improve()
            if sender == target:
                trip_ns = now_ns - probe.started_ns
                self.health.took(trip_ns)
                self._quality.answered(probe.target, trip_ns, now_ns)
                self._evidence.note_answer(probe.target, trip_ns)
            else:
                self._quality.unanswered(probe.target)
                self._evidence.note(probe.target, Found.REACHED, sender)
            if self._hints:
                self._probe_soon(now_ns)

    def _introduce(self, node: NodeId) -> None:
        """Someone has no record of us that is as new as ours."""
        self._send_record(node, self._view.number(self.beliefs.own_index))

    def _send_record(self, target: NodeId, number: int) -> None:
        roster = self._view.roster
        datagram, size = self.beliefs.gossip.pack(
            Gossip(), GOSSIP_BYTES, self._view.live_count, (roster.record(number),), roster.sizes[number]
        )
        self._out.append(SendDatagram(target, datagram, size))

    def _stream_ponged(self, sender: NodeId, sequence: int) -> None:
        probe = self._prober.round
        if probe is None:
            return
        target = self._view.roster.nodes[probe.target]
        if sender == target and self._prober.acked(sequence, sender, target) is not None:
            self.health.improve()
            self._quality.unanswered(probe.target)
            self._evidence.note(probe.target, Found.STREAM_ANSWERED)

    def _relay(self, asker: NodeId, request: PingRequest, now_ns: int) -> None:
        index = self._view.roster.find(request.target)
        if self._view.standing(index) == UNKNOWN:
            return
        sequence = self._prober.relay(asker, request.sequence, index)
        if sequence:
            self._ping(index, sequence)
            config = self._config
            wait_ns = (config.probe_interval_ns - config.probe_timeout_max_ns) // 2
            self._out.append(SetTimer(RelayOver(now_ns + wait_ns, sequence)))

    # -- sending

    def _send(self, target: NodeId, body: Body, body_bytes: int, verdict: Verdict | None = None) -> None:
        members = self._view.live_count
        if verdict is None:
            datagram, size = self.beliefs.gossip.pack(body, body_bytes, members)
        else:
            datagram, size = self.beliefs.gossip.pack(body, body_bytes, members, (verdict,), VERDICT_BYTES)
        self._out.append(SendDatagram(target, datagram, size))

    def _gossip(self, now_ns: int) -> None:
        beliefs = self.beliefs
        if beliefs.gossip:
            chosen = self._view.choose_live(self._rng, self._config.gossip_fanout, beliefs.own_index)
            for index in chosen:
                if not beliefs.gossip:
                    break
                self._send(self._view.roster.nodes[index], Gossip(), GOSSIP_BYTES)
        self._tell_accused()
        if not self._gossips and (beliefs.gossip or beliefs.accused):
            self._gossips = True
            self._out.append(SetTimer(GossipDue(now_ns + self._config.gossip_interval_ns)))

    def _call(self, verdict: Verdict, suspect: int) -> None:
        """Before a death: a refutation may have reached others and not us."""
        own = self.beliefs.own_index
        for index in self._view.choose_live(self._rng, self._config.gossip_fanout, own, suspect):
            self._send(self._view.roster.nodes[index], Gossip(), GOSSIP_BYTES, verdict)

    def _correct(self, sender: NodeId, subject: NodeId) -> None:
        """Someone still holds a member for what it was in an older incarnation."""
        self._corrections_left -= 1
        if self._corrections_left < 0:
            return
        number = self._view.number(self._view.roster.find(subject))
        self._send_record(sender, number)

    def _correct_sender(self, record: MemberRecord) -> None:
        """It says of itself what is outdated: it lost its peer book, or another node has its identity."""
        index = self._view.roster.find(record.node)
        if self._view.standing(index) != UNKNOWN and self._view.record(index).signature != record.signature:
            self._correct(record.node, record.node)

    def _tell_accused(self) -> None:
        """In turn, until they have said that they live or the suspicion is over."""
        accused = self.beliefs.accused
        for index in list(accused)[:TELLS_MAX]:
            accused[index] = accused.pop(index)
            verdict = self.beliefs.against(index)
            if verdict is None:
                del accused[index]
            else:
                self._send(self._view.roster.nodes[index], Gossip(), GOSSIP_BYTES, verdict)
