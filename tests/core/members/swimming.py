"""What the membership tests are made of: records of toy nodes, views of them, a machine with a clock."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.effects import MemberChanged
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.members.swim.config import LAN, SwimConfig
from bellande_mesh_sync.core.members.swim.effects import SendDatagram, SendStream, SetTimer, SwimEffect
from bellande_mesh_sync.core.members.swim.machine import Swim
from bellande_mesh_sync.core.members.swim.messages import Ack, Body, Datagram, Gossip, Ping, Verdict
from bellande_mesh_sync.core.members.swim.roster import Roster
from bellande_mesh_sync.core.members.swim.timers import SwimTimer
from bellande_mesh_sync.core.members.swim.view import ALIVE, View
from tests.core.making import SECOND_NS, local_node, member_of, node_of_name, verify

T = TypeVar("T")


def put(view: View, record: MemberRecord, standing: int = ALIVE, since_ns: int = 0) -> int:
    number = view.roster.number_of(record)
    index = view.roster.find(record.node)
    view.put(index, number, standing, since_ns)
    return index


class Node:
    """One machine under test, and what it asked for last."""

    def __init__(self, name: str, others: Sequence[str], config: SwimConfig = LAN, seed: int = 1) -> None:
        self.name = name
        view = View(Roster(verify))
        for other in others:
            put(view, member_of(other))
        self.counters = Counters()
        self.swim = Swim(config, local_node(name), view, 1, random.Random(seed), self.counters)
        self.now_ns = 0
        self.timers: list[SwimTimer] = []
        self.effects: list[SwimEffect] = []
        self.changes: list[MemberChanged] = []
        self.take(self.swim.start(0))

    def take(self, effects: list[SwimEffect]) -> None:
        self.effects = effects
        self.timers += [effect.timer for effect in effects if isinstance(effect, SetTimer)]
        self.changes += [effect for effect in effects if isinstance(effect, MemberChanged)]

    def hear(
        self, sender: str, body: Body, *verdicts: Verdict, records: tuple[MemberRecord, ...] = ()
    ) -> None:
        datagram = Datagram(body, verdicts, records)
        self.take(self.swim.handle_datagram(node_of_name(sender), datagram, self.now_ns))

    def next_timer(self, late_ns: int = 0) -> SwimTimer:
        """Fire the timer that is due first."""
        timer = min(self.timers, key=lambda timer: timer.due_ns)
        self.timers.remove(timer)
        self.now_ns = max(self.now_ns, timer.due_ns + late_ns)
        self.take(self.swim.handle_timer(timer, self.now_ns))
        return timer

    def run_until(self, kind: type[T]) -> T:
        """Fire timers until one of this kind has fired."""
        while True:
            timer = self.next_timer()
            if isinstance(timer, kind):
                return timer

    def run_for(self, seconds: float, *, answering: Sequence[str] = ()) -> None:
        """Let time pass; these members answer pings."""
        end_ns = self.now_ns + round(seconds * SECOND_NS)
        while min(timer.due_ns for timer in self.timers) <= end_ns:
            self.next_timer()
            for name in answering:
                for ping in self.sent(Ping, name):
                    self.hear(name, Ack(ping.sequence, self.swim.incarnation))
        self.now_ns = end_ns

    def sent(self, kind: type[T], target: str = "") -> list[T]:
        """Bodies of this kind among what was sent last, to `target` or to anybody."""
        return [
            effect.datagram.body
            for effect in self.effects
            if isinstance(effect, SendDatagram)
            and isinstance(effect.datagram.body, kind)
            and (not target or effect.target == node_of_name(target))
        ]

    def datagrams(self) -> list[SendDatagram]:
        return [effect for effect in self.effects if isinstance(effect, SendDatagram)]

    def streamed(self, kind: type[T]) -> list[T]:
        return [
            effect.message
            for effect in self.effects
            if isinstance(effect, SendStream) and isinstance(effect.message, kind)
        ]

    def state_of(self, name: str) -> int:
        view = self.swim.view
        return view.standing(view.roster.find(node_of_name(name)))

    def accuse(self, sender: str, subject: str, standing: int, incarnation: int = 1) -> None:
        verdict = Verdict(node_of_name(subject), incarnation, standing, node_of_name(sender))
        self.hear(sender, Gossip(), verdict)
