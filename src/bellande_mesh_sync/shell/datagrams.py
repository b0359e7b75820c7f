"""Sealed datagrams over one UDP socket: the failure detector's road.

The socket is read and written directly. asyncio's own transport takes one packet for each turn of the loop
(18.7 us a packet, and 1.5 us so), and keeps without bound what the system does not take at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import random
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.members.swim.messages import Datagram
from bellande_mesh_sync.errors import BusyError, DecodeError
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.security.sealing import PACKET_BYTES_MAX, ROTATE_AFTER_NS, Refusal, Sealer
from bellande_mesh_sync.shell.accepting import open_bound_socket
from bellande_mesh_sync.shell.endpoints import Endpoints, Family, SocketAddress
from bellande_mesh_sync.wire.datagrams import decode_datagram, encode_datagram

log = logging.getLogger("bellande_mesh_sync")

RECEIVE_BUFFER_BYTES: Final = 1 << 20
"""Some 800 full packets; the system may give less."""
BURST_MAX: Final = 64
"""Packets taken in one turn of the loop, about a millisecond of work: a flood leaves links their turns."""
TICK_S: Final = 60.0
ROTATE_SPREAD: Final = 0.1
"""Nodes that started together do not all announce a new key at once."""

_REFUSED: Final = {refusal: f"refused_{refusal}" for refusal in Refusal}
_UNDELIVERABLE: Final = {
    errno.ENOBUFS: "undeliverable_no_room",
    errno.EAGAIN: "undeliverable_no_room",
    errno.ECONNREFUSED: "undeliverable_unreachable",
    errno.ENETUNREACH: "undeliverable_unreachable",
    errno.EHOSTUNREACH: "undeliverable_unreachable",
    errno.ENETDOWN: "undeliverable_unreachable",
    errno.EHOSTDOWN: "undeliverable_unreachable",
    errno.EMSGSIZE: "undeliverable_too_large",
}


class Datagrams:
    """Datagrams of one node to and from the members recorded here. For one running event loop.

    Nothing that comes in makes it answer, raise, log much or grow: what cannot be opened is counted, by
    reason, in `counters`; and so is what cannot be sent. Call `listen` before `record` and `send`.
    """

    def __init__(
        self,
        *,
        node: NodeId,
        mesh_id: bytes,
        on_datagram: Callable[[NodeId, Datagram], None],
        on_new_key: Callable[[bytes], None],
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """
        Args:
            on_datagram: a datagram that only this member can have sealed, and that did not come before.
            on_new_key: announce this seal key from now on.
        """
        self._node = node
        self._on_datagram = on_datagram
        self._on_new_key = on_new_key
        self._now_ns = now_ns
        share = 1 - random.uniform(0, ROTATE_SPREAD)
        self._sealer = Sealer(node, mesh_id, now_ns=now_ns, rotate_after_ns=int(share * ROTATE_AFTER_NS))
        self._socket: socket.socket | None = None
        self._endpoints: Endpoints | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._last_datagram: Datagram | None = None
        self._last_encoded = b""
        self.counters: Counter[str] = Counter()

    @property
    def seal_key(self) -> bytes:
        """What this node's member record must say."""
        return self._sealer.public_key

    async def listen(self, host: str, port: int) -> int:
        """Take datagrams on the first address of `host`; empty means all of them. Returns the port bound.

        Raises:
            PortInUseError, ConfigError: the address cannot be had.
        """
        assert self._socket is None, "it listens already"
        bound = await open_bound_socket(host, port, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._socket = bound
        self._endpoints = Endpoints(Family(bound), self._now_ns)
        loop = asyncio.get_running_loop()
        loop.add_reader(bound, self._readable)
        self._tick = loop.call_later(TICK_S, self._ticked)
        return int(bound.getsockname()[1])

    def record(self, record: MemberRecord) -> None:
        """From now on this record is where its node is reached, and with which key (PeerRecorded)."""
        if record.node == self._node:
            return
        if not record.datagram_port:
            self.forget(record.node)
        elif self._endpoints is not None:
            self._sealer.set_peer(record.node, record.seal_key)
            self._endpoints.record(record)

    def forget(self, node: NodeId) -> None:
        """No datagram goes there or is taken from it any more (PeerForgotten)."""
        self._sealer.drop_peer(node)
        if self._endpoints is not None:
            self._endpoints.forget(node)

    def send(self, target: NodeId, datagram: Datagram, size_bytes: int) -> None:
        """Seal and send at once; may get lost, here or anywhere (SendDatagram).

        Args:
            size_bytes: what the sender's budget took it for, no less than it takes.
        """
        if self._socket is None or self._endpoints is None:
            self.counters["undeliverable_closed"] += 1
            return
        address = self._endpoints.choose(target)
        if address is None:
            self.counters["undeliverable_no_address"] += 1
            return
        packet = self._sealer.seal(target, self._encoded(datagram))
        if packet is None:
            self.counters["undeliverable_no_key"] += 1
            return
        if len(packet) > size_bytes:
            self.counters["larger_than_planned"] += 1  # Our own fault; sent all the same.
        try:
            self._socket.sendto(packet, address)
        except OSError as error:
            self.counters[_UNDELIVERABLE.get(error.errno or 0, "undeliverable_failed")] += 1
            return
        self.counters["sent"] += 1
        self.counters["sent_bytes"] += len(packet)

    def rotate(self) -> None:
        """Make a new seal key now; it is announced. BusyError while the last one is not over."""
        self._sealer.drop_old()
        if self._sealer.is_rotating:
            raise BusyError(what="the rotation of this node's key", limit="one in ten minutes")
        self._on_new_key(self._sealer.rotate())

    async def close(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        if self._endpoints is not None:
            await self._endpoints.close()

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "address": None if self._socket is None else list(self._socket.getsockname()[:2]),
            "seal_key": self.seal_key.hex(),
            "peers": 0 if self._endpoints is None else len(self._endpoints),
            "pairs": self._sealer.pair_count,
            "counters": dict(self.counters),
        }

    # -- inside

    def _encoded(self, datagram: Datagram) -> bytes:
        if datagram is not self._last_datagram:  # Gossip goes to several at once: encoded once.
            self._last_encoded = encode_datagram(datagram)
            self._last_datagram = datagram
        return self._last_encoded

    def _readable(self) -> None:
        for _ in range(BURST_MAX):
            if self._socket is None:
                return  # Closed by what the last one led to.
            try:
                # One byte more than allowed, so that a longer packet is seen to be one.
                packet, source = self._socket.recvfrom(PACKET_BYTES_MAX + 1)
            except BlockingIOError:
                return
            except OSError:
                self.counters["receive_failed"] += 1  # What a packet that we sent met on its way.
                return
            self._receive(packet, source)

    def _receive(self, packet: bytes, source: SocketAddress) -> None:
        opened = self._sealer.open(packet)
        if isinstance(opened, Refusal):
            self._refused(_REFUSED[opened], source)
            return
        node, body = opened
        if self._endpoints is not None:
            self._endpoints.heard(node, source)
        try:
            datagram = decode_datagram(body)
        except DecodeError as error:
            self._refused("refused_bad_datagram", source, f"{node.hex()}: {error}")
            return
        self.counters["received"] += 1
        self.counters["received_bytes"] += len(packet)
        self._on_datagram(node, datagram)

    def _refused(self, counter: str, source: SocketAddress, detail: str = "") -> None:
        count = self.counters[counter] = self.counters[counter] + 1
        # Every power of two: the first is always told, and a flood cannot fill the disk with lines.
        if count & (count - 1) == 0:
            log.warning("datagram %s (from: %s, detail: %s, so far: %d)", counter, source[0], detail, count)

    def _ticked(self) -> None:
        self._tick = asyncio.get_running_loop().call_later(TICK_S, self._ticked)
        self._sealer.drop_old()
        if self._sealer.is_rotation_due:
            self._on_new_key(self._sealer.rotate())
