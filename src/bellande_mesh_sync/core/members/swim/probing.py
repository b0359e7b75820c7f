"""The rounds in which this node probes one member after the other, and the pings it sends for others."""

from __future__ import annotations

import random

from bellande_mesh_sync.core.members.swim.beliefs import Beliefs
from bellande_mesh_sync.core.members.swim.config import SwimConfig
from bellande_mesh_sync.core.members.swim.effects import SendDatagram, SendStream, SetTimer, SwimEffect
from bellande_mesh_sync.core.members.swim.evidence import Evidence, Found
from bellande_mesh_sync.core.members.swim.health import Health
from bellande_mesh_sync.core.members.swim.hints import Hints
from bellande_mesh_sync.core.members.swim.messages import (
    ACK_BYTES,
    NACK_BYTES,
    PING_BYTES,
    PING_REQUEST_BYTES,
    Ack,
    Nack,
    Ping,
    PingRequest,
    StreamPing,
)
from bellande_mesh_sync.core.members.swim.order import ProbeOrder
from bellande_mesh_sync.core.members.swim.prober import Prober, Round
from bellande_mesh_sync.core.members.swim.telling import Telling
from bellande_mesh_sync.core.members.swim.timers import AckOverdue, ProbeDue, RelayOver
from bellande_mesh_sync.core.members.swim.view import ALIVE, SUSPECT, UNKNOWN
from bellande_mesh_sync.ids import NodeId


class Probing:
    """Effects go to the list that the whole membership shares."""

    def __init__(
        self, config: SwimConfig, beliefs: Beliefs, health: Health, evidence: Evidence, telling: Telling,
        rng: random.Random, out: list[SwimEffect],
    ) -> None:  # fmt: skip
        self._config = config
        self._beliefs = beliefs
        self._view = beliefs.view
        self._health = health
        self._evidence = evidence
        self._quality = evidence.quality
        self._telling = telling
        self._rng = rng
        self._out = out
        self._prober = Prober(config.relays_max)
        self._order = ProbeOrder(beliefs.own_index, rng)
        self.hints = Hints()
        self._run = 0
        self.is_running = False
        self.due_ns = 0
        """When the next round begins."""
        self._began_ns = 0
        """When the last one did."""

    # -- rounds

    def start(self, run: int, now_ns: int) -> None:
        """`run`: timers of earlier ones are stale."""
        self._run, self.is_running = run, True
        self._set_timer(now_ns, int(self._rng.random() * self._config.probe_interval_ns))

    def stop(self) -> None:
        self.is_running = False
        self._prober.end()

    def end_round(self) -> None:
        """Without a finding."""
        self._prober.end()

    def drop_relays(self) -> None:
        """Their timers are gone."""
        self._prober.drop_relays()

    def is_due(self, timer: ProbeDue) -> bool:
        """One that was due later is stale since a hint brought the round forward."""
        return self.is_running and timer.run == self._run and timer.due_ns == self.due_ns

    def hint(self, index: int, now_ns: int) -> None:
        """Its link broke: its round is the next one."""
        self._evidence.note(index, Found.LINK_BROKE)
        self.hints.add(index)
        self._probe_soon(now_ns)

    def _set_timer(self, now_ns: int, delay_ns: int) -> None:
        self.due_ns = now_ns + delay_ns
        self._out.append(SetTimer(ProbeDue(self.due_ns, self._run)))

    def _probe_soon(self, now_ns: int) -> None:
        """Begin the next round now, or once a ping of the last one had the time to be answered.

        A round that is still open keeps its time: helpers are at work.
        """
        if self._prober.round is not None or self._beliefs.ourselves.is_parting:
            return
        soon_ns = max(now_ns, self._began_ns + self._health.timeout_ns())
        if soon_ns < self.due_ns:
            self._set_timer(soon_ns, 0)

    def next_round(self, timer: ProbeDue, now_ns: int) -> None:
        if now_ns - timer.due_ns > self._config.lag_ns:
            self._health.worsen()
        missed = self._prober.end()
        if missed is not None:
            self._unreached(missed, now_ns)
        self._began_ns = now_ns
        target = self.hints.take(self._view)
        if target < 0:
            target = self._order.next(self._view)
        if target >= 0:
            if self._evidence.has(target) and self._view.standings[target] == SUSPECT:
                self._evidence.note(target, Found.PROBED)
            probe = self._prober.begin(target, now_ns)
            self._ping(target, probe.sequence)
            self._out.append(SetTimer(AckOverdue(now_ns + self._health.timeout_ns(), probe.sequence)))
        self._set_timer(now_ns, self._health.interval_ns())

    def _ping(self, target: int, sequence: int) -> None:
        """A suspect hears with the ping what is said of it (Lifeguard, section 4: the buddy system)."""
        node = self._view.roster.nodes[target]
        ping = Ping(sequence, self._beliefs.own.incarnation)
        if self._view.standings[target] == SUSPECT:
            verdict = self._beliefs.against(target)
            assert verdict is not None, "nothing against a suspect"
            self._telling.send(node, ping, PING_BYTES, verdict)
        else:
            self._telling.send(node, ping, PING_BYTES)

    def ask_helpers(self, sequence: int, now_ns: int) -> None:
        probe = self._prober.round
        if probe is None or probe.sequence != sequence:
            return
        nodes = self._view.roster.nodes
        chosen = self._view.choose_live(
            self._rng, self._config.helpers_count, self._beliefs.own_index, probe.target
        )
        probe.helpers = tuple(nodes[index] for index in chosen)
        request = PingRequest(sequence, nodes[probe.target])
        waited = f"for {(now_ns - probe.started_ns) / 1e6:.0f} ms"
        self._evidence.note(probe.target, Found.UNANSWERED, None, waited)
        for helper in probe.helpers:
            self._evidence.note(probe.target, Found.ASKED, helper)
            self._telling.send(helper, request, PING_REQUEST_BYTES)
        self._out.append(SendStream(nodes[probe.target], StreamPing(sequence, self._beliefs.own.incarnation)))

    def _unreached(self, probe: Round, now_ns: int) -> None:
        """Helpers that did not even say that they failed make us doubt ourselves."""
        self._note_silence(probe)
        self._health.worsen(len(probe.helpers) - len(probe.nacked) if probe.helpers else 1)
        if self._view.standing(probe.target) in (ALIVE, SUSPECT):
            self._beliefs.suspect(probe.target, self._beliefs.own.node, now_ns)

    def _note_silence(self, probe: Round) -> None:
        self._quality.unanswered(probe.target)
        for helper in probe.helpers:
            if helper not in probe.nacked:
                self._evidence.note(probe.target, Found.HELPER_SILENT, helper)
        self._evidence.note(probe.target, Found.STREAM_SILENT)

    def nacked(self, helper: NodeId, nack: Nack) -> None:
        probe = self._prober.round
        if self._prober.nacked(nack.sequence, helper) and probe is not None:
            self._evidence.note(probe.target, Found.NOT_REACHED, helper)

    def answer(self, sender: NodeId, ping: Ping) -> None:
        index = self._view.roster.find(sender)
        known = 0 if self._view.standing(index) == UNKNOWN else self._view.incarnation(index)
        updates, size = self._beliefs.news_for(index, ping.incarnation)
        members = self._view.live_count
        datagram, size = self._beliefs.gossip.pack(
            Ack(ping.sequence, known), ACK_BYTES, members, updates, size
        )
        self._out.append(SendDatagram(sender, datagram, size))

    def acked(self, sender: NodeId, ack: Ack, now_ns: int) -> None:
        nodes = self._view.roster.nodes
        relay = self._prober.relayed(ack.sequence)
        if relay is not None:
            if sender == nodes[relay.target]:
                self._prober.drop_relay(ack.sequence)
                index = self._view.roster.find(relay.asker)
                known = 0 if self._view.standing(index) == UNKNOWN else self._view.incarnation(index)
                self._telling.send(relay.asker, Ack(relay.sequence, known), ACK_BYTES)
            return
        if ack.known < self._beliefs.own.incarnation:
            self._telling.introduce(sender)
        probe = self._prober.round
        if probe is None:
            return
        target = nodes[probe.target]
        if self._prober.acked(ack.sequence, sender, target) is not None:
            self._health.improve()
            if sender == target:
                trip_ns = now_ns - probe.started_ns
                self._health.took(trip_ns)
                self._quality.answered(probe.target, trip_ns, now_ns)
                self._evidence.note_answer(probe.target, trip_ns)
            else:
                self._quality.unanswered(probe.target)
                self._evidence.note(probe.target, Found.REACHED, sender)
            if self.hints:
                self._probe_soon(now_ns)

    def stream_ponged(self, sender: NodeId, sequence: int) -> None:
        probe = self._prober.round
        if probe is None:
            return
        target = self._view.roster.nodes[probe.target]
        if sender == target and self._prober.acked(sequence, sender, target) is not None:
            self._health.improve()
            self._quality.unanswered(probe.target)
            self._evidence.note(probe.target, Found.STREAM_ANSWERED)

    def relay(self, asker: NodeId, request: PingRequest, now_ns: int) -> None:
        index = self._view.roster.find(request.target)
        if self._view.standing(index) == UNKNOWN:
            return
        sequence = self._prober.relay(asker, request.sequence, index)
        if sequence:
            self._ping(index, sequence)
            config = self._config
            wait_ns = (config.probe_interval_ns - config.probe_timeout_max_ns) // 2
            self._out.append(SetTimer(RelayOver(now_ns + wait_ns, sequence)))

    def relay_over(self, sequence: int) -> None:
        relay = self._prober.drop_relay(sequence)
        if relay is not None:
            self._telling.send(relay.asker, Nack(relay.sequence), NACK_BYTES)
