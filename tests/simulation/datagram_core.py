"""A core that has something to say in datagrams: `NodeCore`, and a ping or three at every tick."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, Final

from bellande_mesh_sync.core.effects import Effect, PeerForgotten, PeerRecorded, SendDatagram
from bellande_mesh_sync.core.events import AddressesChanged, DatagramReceived, Event, LoopLate, TimerFired
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.members.swim.messages import (
    ACK_BYTES,
    ENVELOPE_BYTES,
    PING_BYTES,
    SEAL_BYTES,
    Ack,
    Datagram,
    Ping,
)
from bellande_mesh_sync.core.messages import Members
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.core.timers import Tick
from bellande_mesh_sync.ids import NodeId, Now

PINGS_A_TICK: Final = 3


class DatagramCore(NodeCore):
    """Pings members it knows over datagrams, answers, and keeps what it is told of its machine."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.told: list[type[Event]] = []
        self.lags_ns: list[int] = []
        self.answers = 0
        self._known: dict[NodeId, MemberRecord] = {}
        self._chance = random.Random(self.me.seal_key)
        self._sequence = 0

    def handle(self, event: Event, now: Now) -> list[Effect]:
        self.told.append(type(event))
        match event:
            case LoopLate(lag_ns=lag_ns):
                self.lags_ns.append(lag_ns)
                return []
            case AddressesChanged(addresses=addresses):
                return self._move(addresses, now)
            case DatagramReceived(peer=peer, datagram=Datagram(body=Ping(sequence=sequence))):
                return [_send(peer, Ack(sequence, 1), ACK_BYTES)]
            case DatagramReceived():
                self.answers += 1
                return []
            case TimerFired(timer=Tick()):
                return [*super().handle(event, now), *self._ping()]
        return super().handle(event, now)

    def _move(self, addresses: tuple[str, ...], now: Now) -> list[Effect]:
        """Tell everybody, as the failure detector would."""
        self.me = replace(self.me, addresses=addresses)
        self.directory.own = self.me.record(self.directory.own.incarnation + 1)
        self.replica.draft.remember(self.directory.own)
        return self._sealed(self._tell(Members((self.directory.own,), self.links.linked_peers())), now)

    def _ping(self) -> list[Effect]:
        effects: list[Effect] = []
        members = {member.record.node: member.record for member in self.directory.others()}
        members = {node: record for node, record in members.items() if record.datagram_port}
        effects += [PeerForgotten(node) for node in self._known if node not in members]
        effects += [
            PeerRecorded(record) for node, record in members.items() if self._known.get(node) != record
        ]
        self._known = members
        for node in self._chance.sample(list(members), min(PINGS_A_TICK, len(members))):
            self._sequence += 1
            effects.append(_send(node, Ping(self._sequence, 1), PING_BYTES))
        return effects


def _send(target: NodeId, body: Ping | Ack, body_bytes: int) -> SendDatagram:
    return SendDatagram(target, Datagram(body), SEAL_BYTES + ENVELOPE_BYTES + body_bytes)
