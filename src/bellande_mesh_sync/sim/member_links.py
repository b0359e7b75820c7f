"""Links between simulated members, and the keys of their datagrams: who reaches whom with what.

A datagram is sealed for one run of its target by one run of its sender, so it is lost unless each of the
two has the record of the other's present run. Over a link the two tell each other these records first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.members.swim.messages import StreamMessage
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.sim.datagrams import STREAM_LEGS, DatagramNetwork
from bellande_mesh_sync.sim.world import SECOND_NS, World

SILENCE_NS: Final = 15 * SECOND_NS
"""A link that a split cut is noticed to be broken after this."""


def number_in(address: str) -> int:
    """Of the host at this simulated address."""
    return int(address.partition(":")[2])


class LinkEnd(Protocol):
    """A host, as far as links know it."""

    boot_id: bytes

    @property
    def node(self) -> NodeId: ...

    @property
    def is_running(self) -> bool: ...

    def hello(self) -> MemberRecord: ...

    def meet(self, record: MemberRecord, *, exchange: bool) -> None: ...

    def miss(self, node: NodeId) -> None: ...

    def can_open(self, node: NodeId, boot_id: bytes) -> bool: ...


class MemberLinks:
    """All open links, by host number. Opened for whoever wants to send; closed by deaths and long splits."""

    def __init__(self, world: World, network: DatagramNetwork, hosts: Sequence[LinkEnd]) -> None:
        self._world = world
        self._network = network
        self._hosts = hosts
        self._peers: dict[int, dict[int, None]] = {}
        """By host: the other ends of its links."""

    # -- opening

    def dial(self, source: int, target: int, *, exchange: bool) -> bool:
        """Open a link, unless there is one; False if the way or the other end is not there."""
        if target in self._peers.get(source, {}):
            return True
        if source == target or not self._hosts[target].is_running or not self._reach(source, target):
            return False
        for one, other in ((source, target), (target, source)):
            self._replace(one, other)
            self._peers.setdefault(one, {})[other] = None
        config = self._network.config
        delay_ns = STREAM_LEGS * (config.latency_min_ns + config.latency_spread_ns)
        self._world.after(delay_ns, self._opened, source, target, exchange)
        return True

    def _replace(self, host: int, other: int) -> None:
        """A node has one link with another one: a new run of that takes the place of the one before."""
        node = self._hosts[other].node
        for number in [n for n in self._peers.get(host, {}) if n != other and self._hosts[n].node == node]:
            del self._peers[host][number]
            del self._peers[number][host]
            self._world.after(self._network.config.latency_min_ns, self._broken, number, host)

    def _opened(self, source: int, target: int, exchange: bool) -> None:
        one, other = self._hosts[source], self._hosts[target]
        if target not in self._peers.get(source, {}):
            return
        hellos = one.hello(), other.hello()
        other.meet(hellos[0], exchange=False)
        one.meet(hellos[1], exchange=exchange)

    def send(self, source: int, target: NodeId, address: int, message: StreamMessage) -> None:
        """Over the link to this node, or over one that is opened to the address of its record."""
        linked = (number for number in self._peers.get(source, {}) if self._hosts[number].node == target)
        number = next(linked, address)
        if number >= 0 and self.dial(source, number, exchange=False):
            self._network.send_stream(source, number, message)

    def takes_datagrams(self, source: int, record: MemberRecord) -> bool:
        """Whether the run that this record is of is there, and can open what `source` seals."""
        target, sender = self._hosts[number_in(record.addresses[0])], self._hosts[source]
        return target.boot_id == record.boot and target.can_open(sender.node, sender.boot_id)

    def _reach(self, source: int, target: int) -> bool:
        return self._network.reaches(source, target) and self._network.reaches(target, source)

    # -- breaking

    def drop(self, host: int) -> None:
        """Its process ended: the other ends notice at once, if they are in reach."""
        delay_ns = self._network.config.latency_min_ns
        for other in self._peers.pop(host, {}):
            self._peers[other].pop(host, None)
            if self._network.reaches(host, other):
                self._world.after(delay_ns, self._broken, other, host)

    def watch_split(self) -> None:
        """Links across a split break some time after it began, if it lasts."""
        self._world.after(SILENCE_NS, self._break_unreachable)

    def _break_unreachable(self) -> None:
        pairs = [(one, other) for one, peers in self._peers.items() for other in peers]
        for one, other in pairs:
            if not self._reach(one, other):
                self._peers[one].pop(other, None)
                self._broken(one, other)

    def _broken(self, host: int, other: int) -> None:
        self._hosts[host].miss(self._hosts[other].node)
