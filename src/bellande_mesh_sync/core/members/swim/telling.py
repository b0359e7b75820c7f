"""What a node tells: gossip in rounds, what each packet carries along, corrections, accusations."""

from __future__ import annotations

import random
from typing import Final

from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.members.swim.beliefs import Beliefs
from bellande_mesh_sync.core.members.swim.config import SwimConfig
from bellande_mesh_sync.core.members.swim.effects import SendDatagram, SendStream, SetTimer, SwimEffect
from bellande_mesh_sync.core.members.swim.exchange import entry_of
from bellande_mesh_sync.core.members.swim.messages import (
    GOSSIP_BYTES,
    VERDICT_BYTES,
    Body,
    Entries,
    Gossip,
    Verdict,
)
from bellande_mesh_sync.core.members.swim.timers import GossipDue
from bellande_mesh_sync.core.members.swim.view import DEAD, UNKNOWN
from bellande_mesh_sync.ids import NodeId

TELLS_MAX: Final = 8
"""Accused members told in one gossip round: a merge of two halves accuses thousands at once."""
CORRECTIONS_MAX: Final = 8
"""Senders of outdated verdicts who get the newer record, within one probe interval."""


class Telling:
    """Effects go to the list that the whole membership shares."""

    def __init__(
        self, config: SwimConfig, beliefs: Beliefs, rng: random.Random, out: list[SwimEffect]
    ) -> None:
        self._config = config
        self._beliefs = beliefs
        self._view = beliefs.view
        self._rng = rng
        self._out = out
        self._corrections_left = CORRECTIONS_MAX
        self._is_due = False
        """Whether a GossipDue is under way."""

    def new_period(self) -> None:
        self._corrections_left = CORRECTIONS_MAX

    def drop_timer(self) -> None:
        """None came back while this node slept."""
        self._is_due = False

    def send(self, target: NodeId, body: Body, body_bytes: int, verdict: Verdict | None = None) -> None:
        members = self._view.live_count
        if verdict is None:
            datagram, size = self._beliefs.gossip.pack(body, body_bytes, members)
        else:
            datagram, size = self._beliefs.gossip.pack(body, body_bytes, members, (verdict,), VERDICT_BYTES)
        self._out.append(SendDatagram(target, datagram, size))

    def gossip_soon(self, now_ns: int) -> None:
        """If there is something to say and no round under way for it."""
        if not self._is_due and (self._beliefs.gossip or self._beliefs.accused):
            self._is_due = True
            delay_ns = int(self._rng.random() * self._config.gossip_interval_ns)
            self._out.append(SetTimer(GossipDue(now_ns + delay_ns)))

    def gossip_due(self, now_ns: int) -> None:
        self._is_due = False
        self.gossip(now_ns)

    def gossip(self, now_ns: int) -> None:
        beliefs = self._beliefs
        if beliefs.gossip:
            chosen = self._view.choose_live(self._rng, self._config.gossip_fanout, beliefs.own_index)
            for index in chosen:
                if not beliefs.gossip:
                    break
                self.send(self._view.roster.nodes[index], Gossip(), GOSSIP_BYTES)
        self._tell_accused()
        if not self._is_due and (beliefs.gossip or beliefs.accused):
            self._is_due = True
            self._out.append(SetTimer(GossipDue(now_ns + self._config.gossip_interval_ns)))

    def call(self, verdict: Verdict, suspect: int) -> None:
        """Before a death: a refutation may have reached others and not us."""
        own = self._beliefs.own_index
        for index in self._view.choose_live(self._rng, self._config.gossip_fanout, own, suspect):
            self.send(self._view.roster.nodes[index], Gossip(), GOSSIP_BYTES, verdict)

    def correct(self, sender: NodeId, subject: NodeId) -> None:
        """Someone still holds a member for what it was in an older incarnation."""
        self._corrections_left -= 1
        if self._corrections_left < 0:
            return
        number = self._view.number(self._view.roster.find(subject))
        self._send_record(sender, number)

    def correct_sender(self, record: MemberRecord) -> None:
        """It says of itself what is outdated: it lost its peer book, or another node has its identity."""
        index = self._view.roster.find(record.node)
        if self._view.standing(index) != UNKNOWN and self._view.record(index).signature != record.signature:
            self.correct(record.node, record.node)

    def _tell_accused(self) -> None:
        """In turn, until they have said that they live or the suspicion is over."""
        accused = self._beliefs.accused
        for index in list(accused)[:TELLS_MAX]:
            accused[index] = accused.pop(index)
            verdict = self._beliefs.against(index)
            if verdict is None:
                del accused[index]
            else:
                self.send(self._view.roster.nodes[index], Gossip(), GOSSIP_BYTES, verdict)

    def introduce(self, node: NodeId) -> None:
        """Someone has no record of us that is as new as ours."""
        self._send_record(node, self._view.number(self._beliefs.own_index))

    def _send_record(self, target: NodeId, number: int) -> None:
        roster = self._view.roster
        datagram, size = self._beliefs.gossip.pack(
            Gossip(), GOSSIP_BYTES, self._view.live_count, (roster.record(number),), roster.sizes[number]
        )
        self._out.append(SendDatagram(target, datagram, size))

    def tell_of_itself(self, record: MemberRecord, now_ns: int) -> None:
        """What a member must go above to be believed.

        Also over the link: if its record here is of an earlier run, no datagram from here reaches it.
        """
        index = self._view.roster.find(record.node)
        updates, size = self._beliefs.news_for(index, record.incarnation)
        if updates:
            datagram, size = self._beliefs.gossip.pack(
                Gossip(), GOSSIP_BYTES, self._view.live_count, updates, size
            )
            self._out.append(SendDatagram(record.node, datagram, size))
        standing = self._view.standing(index)
        if standing >= DEAD or (standing != UNKNOWN and self._view.record(index) != record):
            self._out.append(SendStream(record.node, Entries((entry_of(self._view, index, now_ns),), ())))
