"""Where each member's datagrams go: to where it was last heard from, or to where it says it is."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from bellande_mesh_sync.addresses import parse_address
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.shell.host_names import HostNames

SECOND_NS: Final = 1_000_000_000
HEARD_FOR_NS: Final = 60 * SECOND_NS
"""How long a source address counts. A NAT keeps a quiet mapping for 30 s at least (RFC 4787: 2 minutes)."""
NEXT_HOST_NS: Final = 2 * SECOND_NS
"""Nothing heard for this long after a packet: the next one goes to the next advertised host."""

SocketAddress: TypeAlias = tuple[Any, ...]
"""As the socket wants it: host, port, and two numbers more for IPv6."""
Host: TypeAlias = tuple[str, bool]
"""An IP address that the socket takes, and True; or a name, and False."""


class Family:
    """Which IP addresses a bound socket can send to."""

    def __init__(self, bound: socket.socket) -> None:
        self._is_v4 = bound.family == socket.AF_INET
        self._is_both = not self._is_v4 and not bound.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)

    def fit(self, text: str) -> str | None:
        """The address as the socket takes it, or None. Only addresses of one host: no group, no wildcard.

        ValueError: the text is no IP address.
        """
        ip = ipaddress.ip_address(text)
        if ip.is_unspecified or ip.is_multicast:
            return None
        if self._is_v4:
            return text if ip.version == 4 else None
        if ip.version == 6:
            return text
        return f"::ffff:{text}" if self._is_both else None


class _Peer:
    __slots__ = ("heard_from", "heard_ns", "hosts", "port", "tried_ns", "turn")

    def __init__(self, hosts: tuple[Host, ...], port: int) -> None:
        self.hosts = hosts
        self.port = port
        self.turn = 0
        self.tried_ns = 0
        """Since when the host whose turn it is gets packets and nothing was heard; 0: it gets none."""
        self.heard_from: SocketAddress | None = None
        self.heard_ns = 0


class Endpoints:
    """One for each socket. Grows with the members recorded, and by nothing that comes in."""

    def __init__(self, family: Family, now_ns: Callable[[], int]) -> None:
        self._family = family
        self._now_ns = now_ns
        self._peers: dict[NodeId, _Peer] = {}
        self._names = HostNames(family.fit, now_ns)

    def __len__(self) -> int:
        return len(self._peers)

    def record(self, record: MemberRecord) -> None:
        """From now on this is what the member says; its port is not 0."""
        hosts = tuple(dict.fromkeys(host for host in map(self._host, record.addresses) if host))
        peer = self._peers.get(record.node)
        if peer is None or (peer.hosts, peer.port) != (hosts, record.datagram_port):
            self._peers[record.node] = _Peer(hosts, record.datagram_port)

    def forget(self, node: NodeId) -> None:
        self._peers.pop(node, None)

    def heard(self, node: NodeId, source: SocketAddress) -> None:
        """A packet that only `node` can have made came from there."""
        peer = self._peers.get(node)
        if peer is not None:
            peer.heard_from = source
            peer.heard_ns = self._now_ns()
            peer.tried_ns = 0

    def choose(self, node: NodeId) -> SocketAddress | None:
        """Where to send the next packet for `node`; None: nowhere, or not before a name is looked up."""
        peer = self._peers.get(node)
        if peer is None:
            return None
        now_ns = self._now_ns()
        if peer.heard_from is not None and now_ns - peer.heard_ns < HEARD_FOR_NS:
            return peer.heard_from
        if not peer.hosts:
            return None
        if not peer.tried_ns:
            peer.tried_ns = now_ns
        elif now_ns - peer.tried_ns >= NEXT_HOST_NS:
            peer.turn = (peer.turn + 1) % len(peer.hosts)
            peer.tried_ns = now_ns
        host, is_ip = peer.hosts[peer.turn]
        ip = host if is_ip else self._names.find(host)
        return None if ip is None else (ip, peer.port)

    async def close(self) -> None:
        await self._names.close()

    def _host(self, address: str) -> Host | None:
        """The host in `address`; None if it is none, or an IP address that the socket does not take."""
        try:
            host, _ = parse_address(address)
        except ValueError:
            return None
        try:
            ip = self._family.fit(host)
        except ValueError:
            return host, False
        return None if ip is None else (ip, True)
