"""Datagrams between simulated nodes: lost, late, doubled and out of order, where links only come late.

They meet the same trouble as the links, on the same ways. Sealing is modelled by what it demands: both ends
must hold the record of the other's present run, for the keys are in there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from bellande_mesh_sync.core.effects import SendDatagram
from bellande_mesh_sync.core.events import DatagramReceived
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.members.swim.config import LAN
from bellande_mesh_sync.core.members.swim.messages import SEAL_BYTES
from bellande_mesh_sync.errors import PeerError
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.connection import Host
from bellande_mesh_sync.sim.wire_time import NetworkConfig, Way
from bellande_mesh_sync.sim.world import SECOND_NS
from bellande_mesh_sync.wire.datagrams import decode_datagram, encode_datagram

if TYPE_CHECKING:
    from bellande_mesh_sync.sim.network import Network

IP_UDP_BYTES: Final = 28
PACKET_BYTES_MAX: Final = LAN.packet_bytes_max
SOCKET_PACKETS_MAX: Final = 256
"""Packets that wait at a process that does not get to them; the system drops the rest."""
QUEUE_MAX_NS: Final = SECOND_NS
"""How long a packet may have to wait for a slow way; a router drops what would wait longer."""
REPLAY_MEAN_NS: Final = 30 * SECOND_NS
REPLAY_MAX_NS: Final = 180 * SECOND_NS
PACKET_COUNTS: Final = (
    "packets",
    "packet_bytes",
    "packets_delivered",
    "packets_lost",  # On the way.
    "packets_astray",  # Nobody was at the address.
    "packets_refused",  # From or to a node that is cut off.
    "packets_undelivered",  # Nobody listened, or too many waited.
    "packets_unsealed",  # Never sent: the sender does not know the receiver.
    "packets_unopened",  # A key was missing, or that of an earlier run.
    "packets_repeated",  # Had come before.
)


class PacketHost(Host, Protocol):
    """What the carrier needs of a node beside what links need."""

    seal_key: bytes
    """Of this run; empty when it takes no datagrams."""
    peers: dict[NodeId, MemberRecord]
    """Whom its core has told it to take datagrams from, and where they are sent to."""

    def take_packet(self, event: DatagramReceived) -> bool:
        """Whether there was room for it."""
        ...


@dataclass(slots=True)
class _Packet:
    source: PacketHost
    target: PacketHost
    address: str
    sealed_by: bytes
    sealed_for: bytes
    body: bytes
    came: bool = False
    """It was opened once: a replay window takes no second one."""


class PacketNetwork:
    """Carries the datagrams of all hosts over a network whose links have the same trouble."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._world = network.world
        self._rng = network.world.rng("packets")
        self._counts = network.counts
        self._counts.update(dict.fromkeys(PACKET_COUNTS, 0))
        self._hosts: dict[int, PacketHost] = {}
        self._free_ns: dict[Way, int] = {}
        """When the last packet of each way is on the wire."""

    def add(self, host: PacketHost) -> None:
        """This host has a socket for datagrams, at whatever address the network has it."""
        self._hosts[host.index] = host

    # -- sending

    def send(self, source: PacketHost, effect: SendDatagram) -> None:
        """Seal and send what a core wants sent.

        Raises:
            Violation: it is larger than it may be or says to be, or its receiver takes no datagrams.
        """
        record = source.peers.get(effect.target)
        if record is None:
            self._counts["packets_unsealed"] += 1
            return
        body = encode_datagram(effect.datagram)
        size_bytes = len(body) + SEAL_BYTES
        if not size_bytes <= effect.size_bytes <= PACKET_BYTES_MAX:
            said = f"takes {size_bytes} bytes, is said to take {effect.size_bytes}"
            raise Violation("packet", _name(source), f"a datagram {said}, and may take {PACKET_BYTES_MAX}")
        if not record.datagram_port or not source.seal_key:
            raise Violation("packet", _name(source), f"a datagram for {record.name}, over a port that is off")
        self.send_bytes(source, record, body)

    def send_bytes(self, source: PacketHost, record: MemberRecord, body: bytes) -> None:
        """Seal these bytes, whatever they are, and send them to the node that this record is of."""
        network, counts = self._network, self._counts
        size_bytes = len(body) + SEAL_BYTES + IP_UDP_BYTES
        counts["packets"] += 1
        counts["packet_bytes"] += size_bytes
        address = _datagram_address(record)
        there = network.host_at(address)
        target = None if there is None else self._hosts.get(there.index)
        if target is None:
            counts["packets_astray"] += 1
            return
        way = (source.index, target.index)
        config = network.config_between(*way)
        queued_ns = self._queue(config, way, size_bytes)
        is_blocked = config.blocks_datagrams or network.is_blocked(*way)
        if queued_ns > QUEUE_MAX_NS or is_blocked or self._happens(config.loss_ratio):
            counts["packets_lost"] += 1
            return
        packet = _Packet(source, target, address, source.seal_key, record.seal_key, body)
        self._plan(packet, config, way, queued_ns)
        if self._happens(config.duplicate_ratio):
            self._plan(packet, config, way, queued_ns)
        if self._happens(config.replay_ratio):
            replay_ns = min(int(self._rng.expovariate(1.0) * REPLAY_MEAN_NS), REPLAY_MAX_NS)
            self._plan(packet, config, way, replay_ns)

    def _queue(self, config: NetworkConfig, way: Way, size_bytes: int) -> int:
        """How long until all of it is on the wire, behind those before it."""
        now_ns = self._world.now_ns
        free_ns = max(self._free_ns.get(way, 0), now_ns)
        rate = self._network.times.bytes_per_second(config, way)
        queued_ns = free_ns + size_bytes * SECOND_NS // rate - now_ns
        if queued_ns <= QUEUE_MAX_NS:
            self._free_ns[way] = now_ns + queued_ns
        return queued_ns

    def _plan(self, packet: _Packet, config: NetworkConfig, way: Way, after_ns: int) -> None:
        """A copy of it arrives then, by a way of its own."""
        times, rng = self._network.times, self._rng
        delay_ns = after_ns + times.delay_ns(config, way, rng)
        if self._happens(config.reorder_ratio):
            delay_ns += times.delay_ns(config, way, rng)
        self._world.after(delay_ns, self._arrive, packet)

    def _happens(self, ratio: float) -> bool:
        return ratio > 0 and self._rng.random() < ratio

    # -- arriving

    def _arrive(self, packet: _Packet) -> None:
        network, target = self._network, packet.target
        way = (packet.source.index, target.index)
        clogged_until_ns = network.times.clogged_until_ns(way)
        if clogged_until_ns > self._world.now_ns:
            self._world.at(clogged_until_ns, self._arrive, packet)
            return
        reason = self._refusal(packet, way)
        if not reason:
            packet.came = True
            reason = self._hand_over(packet)
        self._counts[reason] += 1

    def _refusal(self, packet: _Packet, way: Way) -> str:
        """What becomes of a packet that its receiver is not to hear of; empty for one that it is."""
        network, target = self._network, packet.target
        if network.is_blocked(*way):
            return "packets_lost"
        if network.host_at(packet.address) is not target:
            return "packets_astray"
        if network.outsiders and not network.outsiders.isdisjoint(way):
            return "packets_refused"
        if not target.is_running:
            return "packets_undelivered"
        sender = target.peers.get(packet.source.node)
        if sender is None or sender.seal_key != packet.sealed_by or target.seal_key != packet.sealed_for:
            return "packets_unopened"
        return "packets_repeated" if packet.came else ""

    def _hand_over(self, packet: _Packet) -> str:
        source, target = packet.source, packet.target
        try:
            datagram = decode_datagram(packet.body)
        except PeerError:
            if source.index not in self._network.liars:
                raise
            return "lies_refused"
        if target.take_packet(DatagramReceived(source.node, datagram)):
            return "packets_delivered"
        return "packets_undelivered"


def _datagram_address(record: MemberRecord) -> str:
    """Where its node listens for datagrams; nowhere if it can only dial out."""
    host = record.addresses[0].rpartition(":")[0] if record.addresses else ""
    return f"{host}:{record.datagram_port}"


def _name(host: Host) -> str:
    return f"n{host.index}"
