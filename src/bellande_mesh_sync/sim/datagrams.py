"""A network of datagrams for thousands of hosts: packets get lost, late, doubled and out of order.

Streams are here only as far as membership needs them: a message over one comes late instead of never,
unless a way is cut.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from bellande_mesh_sync.core.members.swim.messages import Datagram, StreamMessage
from bellande_mesh_sync.sim.world import MICROSECOND_NS, MILLISECOND_NS, World

IP_UDP_BYTES: Final = 28
RETRANSMIT_NS: Final = 200 * MILLISECOND_NS
STREAM_LEGS: Final = 3
"""One-way trips for a message over a stream: connection, TLS and message share two round trips and a half."""
_DRAWS: Final = 4096


@dataclass(frozen=True, slots=True)
class DatagramConfig:
    latency_min_ns: int = 150 * MICROSECOND_NS
    latency_spread_ns: int = 200 * MICROSECOND_NS
    """One way: the minimum, and evenly up to this much more,"""
    latency_tail_ns: int = 100 * MICROSECOND_NS
    """and an exponentially distributed rest of this mean."""
    loss_ratio: float = 0.0
    duplicate_ratio: float = 0.0
    reorder_ratio: float = 0.0
    """How many packets are held back by up to `reorder_ns`, so that later ones overtake them."""
    reorder_ns: int = 50 * MILLISECOND_NS


class DatagramHost(Protocol):
    def receive(self, source: int, datagram: Datagram) -> None: ...

    def receive_stream(self, source: int, message: StreamMessage) -> None: ...


class DatagramNetwork:
    """All hosts by number, and what is wrong between them."""

    def __init__(self, world: World, config: DatagramConfig) -> None:
        self._world = world
        self._hosts: list[DatagramHost] = []
        self._random = world.rng("datagrams").random
        self._blocked: set[tuple[int, int]] = set()
        self._groups: list[int] = []
        """The part of the network that each host is in; empty without a partition."""
        self._is_whole = True
        self.sent_packets = array("Q")
        self.sent_bytes = array("Q")
        """By host, with IP and UDP."""
        self.lost_count = 0
        self.stream_count = 0
        self.configure(config)

    def configure(self, config: DatagramConfig) -> None:
        """From now on the network is like this."""
        self.config = config
        rng = self._world.rng("latencies")
        self._latencies = [
            config.latency_min_ns
            + int(rng.random() * config.latency_spread_ns)
            + int(rng.expovariate(1.0) * config.latency_tail_ns)
            for _ in range(_DRAWS)
        ]
        self._is_odd = config.duplicate_ratio > 0 or config.reorder_ratio > 0

    def add(self, host: DatagramHost) -> None:
        self._hosts.append(host)
        self.sent_packets.append(0)
        self.sent_bytes.append(0)
        if self._groups:
            self._groups.append(0)

    # -- sending

    def send(self, source: int, target: int, datagram: Datagram, size_bytes: int) -> None:
        self.sent_packets[source] += 1
        self.sent_bytes[source] += size_bytes + IP_UDP_BYTES
        random, config = self._random, self.config
        if random() < config.loss_ratio or not (self._is_whole or self.reaches(source, target)):
            self.lost_count += 1
            return
        delay_ns = self._latencies[int(random() * _DRAWS)]
        receive = self._hosts[target].receive
        if self._is_odd:
            if random() < config.reorder_ratio:
                delay_ns += int(random() * config.reorder_ns)
            if random() < config.duplicate_ratio:
                late_ns = delay_ns + self._latencies[int(random() * _DRAWS)]
                self._world.at(self._world.now_ns + late_ns, receive, source, datagram)
        self._world.at(self._world.now_ns + delay_ns, receive, source, datagram)

    def send_stream(self, source: int, target: int, message: StreamMessage) -> None:
        """A stream needs both ways; with one of them cut nothing comes through."""
        self.stream_count += 1
        if not (self.reaches(source, target) and self.reaches(target, source)):
            return
        random = self._random
        delay_ns = 0
        for _ in range(STREAM_LEGS):
            delay_ns += self._latencies[int(random() * _DRAWS)]
            pause_ns = RETRANSMIT_NS
            while random() < self.config.loss_ratio:
                delay_ns += pause_ns
                pause_ns *= 2
        receive = self._hosts[target].receive_stream
        self._world.at(self._world.now_ns + delay_ns, receive, source, message)

    # -- trouble

    def reaches(self, source: int, target: int) -> bool:
        if self._groups and self._groups[source] != self._groups[target]:
            return False
        return (source, target) not in self._blocked

    def block(self, pairs: Iterable[tuple[int, int]]) -> None:
        """What the first of a pair sends to the second gets lost until `heal`."""
        self._blocked.update(pairs)
        self._is_whole = False

    def split(self, apart: Iterable[int]) -> None:
        """These hosts reach only each other, and the rest only the rest, until `heal`."""
        self._groups = [0] * len(self._hosts)
        for host in apart:
            self._groups[host] = 1
        self._is_whole = False

    def heal(self) -> None:
        self._blocked.clear()
        self._groups = []
        self._is_whole = True
