"""Alice's membership under test: links, a peer book and a clock around it."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.members.membership import Membership
from bellande_mesh_sync.core.members.swim.messages import Ack, Datagram, Entries, Entry, Ping, Standing
from bellande_mesh_sync.core.messages import MemberDatagram, MemberStream
from bellande_mesh_sync.core.session.links import Link, Links
from bellande_mesh_sync.core.timers import SwimDue
from bellande_mesh_sync.ids import NodeId, Now
from tests.core.making import at, link_to, local_node, member_of, node_of_name

T = TypeVar("T")


def entries(*records: MemberRecord, standing: int = Standing.ALIVE, age_s: int = 0) -> Entries:
    return Entries(tuple(Entry(record, standing, age_s, None) for record in records), ())


class Place:
    """What comes out is in `effects` (of the last call); what the peer book holds is in `book`."""

    def __init__(
        self, *stored: MemberRecord, config: CoreConfig | None = None, datagram_port: int = 0
    ) -> None:
        key = bytes(32) if datagram_port else b""
        me = replace(local_node("alice"), datagram_port=datagram_port, seal_key=key)
        self.links = Links(me.node)
        self.counters = Counters()
        self.book = {record.node: record for record in stored}
        self.remembered: list[MemberRecord] = []
        self.left: list[NodeId] = []
        self.moved: list[NodeId] = []
        self.seconds = 0.0
        self.timers: list[tuple[int, int, SwimDue]] = []
        self.timers_count = 0
        self.effects: list[do.Effect] = []
        self.changes: list[do.MemberChanged] = []
        self.membership = Membership(
            config or CoreConfig(), me, self.links, self.counters, stored, random.Random(1),
            remember=self._remember, forget=self._forget, on_left=self._on_left,
        )  # fmt: skip
        self.membership.on_doubt = self._on_moved
        self.take(self.membership.start(at()))

    def _remember(self, record: MemberRecord) -> None:
        self.book[record.node] = record
        self.remembered.append(record)

    def _forget(self, node: NodeId) -> None:
        del self.book[node]

    def _on_left(self, node: NodeId) -> list[do.Effect]:
        self.left.append(node)
        return []

    def take(self, effects: list[do.Effect]) -> None:
        self.effects = effects
        self.changes += [effect for effect in effects if isinstance(effect, do.MemberChanged)]
        for effect in effects:
            if isinstance(effect, do.SetTimer) and isinstance(effect.timer, SwimDue):
                self.timers_count += 1
                heapq.heappush(self.timers, (effect.at_ns, self.timers_count, effect.timer))

    def _on_moved(self, node: NodeId, now: Now) -> list[do.Effect]:
        self.moved.append(node)
        return []

    # -- what happens

    def link(self, name: str, number: int = 1, *, record: MemberRecord | None = None) -> Link:
        """A link that alice dialled opens."""
        link = link_to(name, number)
        self.links.add(link)
        self.take(self.membership.link_opened(link, record or member_of(name), at(self.seconds)))
        return link

    def hear(self, name: str, message: Any) -> None:
        """A message for the failure detector comes over a link, or a datagram comes."""
        node, now = node_of_name(name), at(self.seconds)
        if isinstance(message, Datagram):
            self.take(self.membership.handle_datagram(node, message, now))
        else:
            self.take(self.membership.handle_stream(node, message, now))

    def run_until(self, seconds: float, *, answering: Sequence[str] = ()) -> list[do.Effect]:
        """Let time pass; all that was wanted meanwhile. Who is in `answering` answers pings over its link."""
        done: list[do.Effect] = []
        while self.timers and self.timers[0][0] <= seconds * 1e9:
            at_ns, _, timer = heapq.heappop(self.timers)
            self.seconds = max(self.seconds, at_ns / 1e9)
            self.take(self.membership.handle_timer(timer.timer, at(self.seconds)))
            done += self.effects
            pinged = self.sent(MemberDatagram)
            for name in answering:
                link = self.links.to(node_of_name(name))
                for number, told in pinged:
                    if link is not None and number == link.link and isinstance(told.body, Ping):
                        self.hear(name, Datagram(Ack(told.body.sequence, told.body.incarnation)))
                        done += self.effects
        self.seconds = seconds
        return done

    # -- what came out

    def state(self, name: str) -> str:
        member = self.membership.directory.get(node_of_name(name))
        return "" if member is None else member.state.value

    def of(self, kind: type[T]) -> list[T]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def sent(self, kind: type[MemberStream] | type[MemberDatagram]) -> list[tuple[int, Any]]:
        """(link, what is inside) of the messages of this kind."""
        found: list[tuple[int, Any]] = []
        for effect in self.of(do.Send):
            if isinstance(effect.message, kind):
                inside = getattr(effect.message, "message", None) or getattr(effect.message, "datagram", None)
                found.append((effect.link, inside))
        return found

    def wanted(self) -> list[str]:
        return [record.name for record in self.membership.wanted]
