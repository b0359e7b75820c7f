"""All links of a node: listening, dialling, sending, and one report of each end."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import socket
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

from cryptography import x509

from bellande_mesh_sync.core.events import DialFailed
from bellande_mesh_sync.core.members.member import Verify
from bellande_mesh_sync.core.messages import Hello, Message
from bellande_mesh_sync.errors import UnreachableError
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.security.identity import Identity, verify
from bellande_mesh_sync.shell.accepting import Gate, Listener, open_listening_socket
from bellande_mesh_sync.shell.buffers import Buffers
from bellande_mesh_sync.shell.dialing import connect
from bellande_mesh_sync.shell.link import DialRequest, Link
from bellande_mesh_sync.shell.link_config import LinkConfig, LinkEvent, LinkSink
from bellande_mesh_sync.shell.link_transport import READ_BYTES
from bellande_mesh_sync.shell.tls import check_ciphers, client_context, server_context
from bellande_mesh_sync.wire.codec import encode_message
from bellande_mesh_sync.wire.handshake import Refusal

log = logging.getLogger("bellande_mesh_sync")

__all__ = ["LinkConfig", "LinkEvent", "LinkSink", "Links"]

REFUSALS_KEPT: Final = 32
ENDS_EVERY_S: Final = 1.0
ENDS_SPREAD_S: Final = 3600.0
"""Links with one certificate do not all end in one moment, but spread over the last tenth of the time that is
left for them, an hour at most."""


class Links:
    """Every connection of one node to its peers. To be made and used inside one running event loop.

    A link has a number from 1 on, never used twice. Its life as the sink sees it: one LinkOpened, any
    number of Received and chunks, one LinkClosed; a dial that leads to none ends in one DialFailed.
    DialFailed and LinkClosed never arrive from within a call of these methods, but soon after.
    """

    def __init__(
        self,
        *,
        identity: Identity | None,
        config: LinkConfig,
        make_hello: Callable[[int], Hello],
        sink: LinkSink,
        verify: Verify | None = verify,
    ) -> None:
        """
        Args:
            identity: proves this node in TLS; may be None if `config.encrypted` is False.
            make_hello: this node's Hello for a lane, made anew for each link.
            verify: checks signatures of member records in Hellos; None takes them unchecked (tests).
        """
        self.config = config
        self.identity = identity
        self.make_hello = make_hello
        self.sink = sink
        self.verify = verify
        self._server_context: ssl.SSLContext | None = None
        self._client_context: ssl.SSLContext | None = None
        if config.encrypted:
            if identity is None:
                raise ValueError("encrypted links need an identity")
            self.use(identity)
        self._loop = asyncio.get_running_loop()
        self.buffers = Buffers()
        self._shared = memoryview(bytearray(READ_BYTES))
        self._numbers = 0
        self._open: dict[int, Link] = {}
        self._connections: set[Link] = set()
        self._gate = Gate(config.handshakes_max, config.handshakes_per_address_max)
        self._entered: dict[Link, str] = {}
        self._listeners: list[Listener] = []
        self._dials: set[asyncio.Task[None]] = set()
        self._unflushed: dict[int, Link] = {}
        self._flush_handle: asyncio.Handle | None = None
        self._ends: dict[int, float] = {}
        """Open link -> when it is to end for its peer's certificate."""
        self._end_watch = self._loop.call_later(ENDS_EVERY_S, self._watch_ends)
        self._last_message: Message | None = None
        self._last_encoded = b""
        self._is_closing = False
        self._all_gone = asyncio.Event()
        self.refusal_counts: Counter[str] = Counter()
        """Inbound connections that did not become links, by code."""
        self.recent_refusals: deque[tuple[str, str, str]] = deque(maxlen=REFUSALS_KEPT)
        """The last of them: address, code, reason."""

    # -- for the runner

    def use(self, identity: Identity) -> None:
        """Show this certificate, and trust these authorities, on every link from now on. Open ones stay.

        Raises:
            ConfigError: links would have other cipher suites than they may.
        """
        self.identity = identity
        if self.config.encrypted:
            server, client = server_context(identity), client_context(identity)
            check_ciphers(server, client, self.config.ciphers)
            self._server_context, self._client_context = server, client

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Accept links on `host:port`; returns the address bound. May be called for several addresses.

        Raises:
            PortInUseError, ConfigError: the address cannot be had.
        """
        listening, bound = await open_listening_socket(host, port)
        self._listeners.append(Listener(listening, self._serve))
        return bound

    def dial(
        self, dial: int, address: str, peer: NodeId | None, lane: int, *, is_wanted: bool = False
    ) -> None:
        """Open a link to `address`; `peer` is whom it must be, None for any member."""
        if self._is_closing:
            self.report(DialFailed(dial, "closing", "this node is stopping"))
            return
        request = DialRequest(dial, address, peer, lane, is_wanted)
        task = self._loop.create_task(self._dial(request), name="bms-dial")
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    def send(self, link: int, message: Message) -> None:
        """Queue a message; nothing happens if the link is gone. All of one loop turn is written together.

        Raises:
            LimitExceededError: the message is too large for any frame. Nothing was queued.
        """
        found = self._open.get(link)
        if found is None:
            return
        if message is self._last_message:
            encoded = self._last_encoded  # The same to several peers: encoded once.
        else:
            encoded = encode_message(message)
            self._last_message, self._last_encoded = message, encoded
        found.queue(encoded)
        if link not in self._unflushed:
            self._unflushed[link] = found
            if self._flush_handle is None:
                self._flush_handle = self._loop.call_soon(self._flush)

    async def send_chunk(self, link: int, hash: bytes, data: bytes) -> bool:
        """Send a whole chunk in pieces, waiting whenever the connection is slower than we are.

        Returns False if the link ended before all was handed to it. `data` must not change meanwhile.
        """
        found = self._open.get(link)
        return found is not None and await found.send_chunk(hash, data)

    def chunk_done(self, link: int, data: memoryview) -> None:
        """A chunk that `LinkSink.chunk` got is dealt with; its memory is used again."""
        size_bytes = len(data)
        self.buffers.give_back(data)
        found = self._open.get(link)
        if found is not None:
            found.chunk_done(size_bytes)

    def hangup(self, link: int, code: str, reason: str) -> None:
        """Say goodbye and close; ends in LinkClosed with this code. Nothing happens if it is gone."""
        found = self._open.get(link)
        if found is not None:
            found.hang_up(code, reason)

    def buffered_bytes(self, link: int) -> int:
        """Bytes queued for the peer and not yet taken by the system."""
        found = self._open.get(link)
        return 0 if found is None else found.queued_bytes

    def info(self) -> list[dict[str, Any]]:
        """Each open link with its counters; JSON-ready."""
        return [link.describe() for link in self._open.values()]

    def certificates(self) -> list[x509.Certificate]:
        """Those that peers showed on links that are open, one for each peer."""
        shown = {link.peer: link.certificate for link in self._open.values() if link.certificate is not None}
        return list(shown.values())

    @property
    def connection_count(self) -> int:
        """Connections of any state, those still being closed among them."""
        return len(self._connections)

    @property
    def unfinished_handshakes(self) -> int:
        """Inbound connections that are not links yet."""
        return self._gate.inside

    async def close(self) -> None:
        """Say goodbye on every link, and return when all connections are released.

        Takes at most a little over `close_flush_s`.
        """
        self._is_closing = True
        self._end_watch.cancel()
        for listener in self._listeners:
            await listener.close()
        self._listeners.clear()
        for task in list(self._dials):
            task.cancel()
        await asyncio.gather(*self._dials, return_exceptions=True)
        for link in list(self._connections):
            link.hang_up("closing", "the node is stopping")
        if self._connections:
            self._all_gone.clear()
            try:
                async with asyncio.timeout(self.config.close_flush_s + 0.5):
                    await self._all_gone.wait()
            except TimeoutError:
                for link in list(self._connections):
                    link.transport.abort()
        if self._flush_handle is not None:
            self._flush_handle.cancel()
        # Reports and connection_lost calls are queued in the loop by now; let them run.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    # -- for links (LinkHub)

    def context(self, *, server_side: bool) -> ssl.SSLContext | None:
        return self._server_context if server_side else self._client_context

    def shared_buffer(self) -> memoryview:
        return self._shared

    def report(self, event: LinkEvent) -> None:
        self._loop.call_soon(self.sink.event, event)

    def refused(self, address: str, refusal: Refusal) -> None:
        count = self.refusal_counts[refusal.code] = self.refusal_counts[refusal.code] + 1
        self.recent_refusals.append((address, refusal.code, refusal.reason))
        # Every power of two: the first is always told, and a flood cannot fill the disk with lines.
        if count & (count - 1) == 0:
            log.warning("%s (from: %s, reason: %s, so far: %d)", refusal.code, address, refusal.reason, count)

    def admits(self, link: Link) -> bool:
        if self._is_closing or len(self._open) >= self.config.links_max:
            return False
        self._open[link.number] = link
        if math.isfinite(link.ends_s):
            left_s = max(0.0, link.ends_s - time.time())
            self._ends[link.number] = link.ends_s - random.uniform(0, min(ENDS_SPREAD_S, left_s / 10))
        self._leave_gate(link)
        return True

    def forget(self, link: Link) -> None:
        self._open.pop(link.number, None)
        self._ends.pop(link.number, None)
        self._unflushed.pop(link.number, None)

    def released(self, link: Link) -> None:
        self._leave_gate(link)
        self._connections.discard(link)
        if not self._connections:
            self._all_gone.set()

    # -- inside

    def _watch_ends(self) -> None:
        """Close links whose peer's certificate ended meanwhile: with a newer one it comes back at once."""
        now_s = time.time()
        for number in [number for number, end_s in self._ends.items() if end_s <= now_s]:
            self.hangup(number, "certificate_expired", "the certificate shown for this link ends")
        self._end_watch = self._loop.call_later(ENDS_EVERY_S, self._watch_ends)

    def _admit(self, address: str) -> bool:
        if self._gate.enter(address):
            return True
        self.refused(
            address, Refusal("too_many_handshakes", "too many connections have not shown who they are")
        )
        return False

    async def _serve(self, connection: socket.socket, address: str) -> None:
        if not self._admit(address):
            connection.close()
            return
        link = self._new_link(None)
        self._entered[link] = address
        try:
            await self._loop.connect_accepted_socket(lambda: link.transport, connection)
        except OSError as error:
            connection.close()
            link.give_up(Refusal("lost", str(error)))

    def _leave_gate(self, link: Link) -> None:
        address = self._entered.pop(link, None)
        if address is not None:
            self._gate.leave(address)

    def _new_link(self, request: DialRequest | None) -> Link:
        self._numbers += 1
        link = Link(self, self._numbers, request)
        self._connections.add(link)
        return link

    async def _dial(self, request: DialRequest) -> None:
        link = self._new_link(request)
        try:
            await connect(request.address, link.transport, self.config.handshake_timeout_s)
        except UnreachableError as error:
            link.give_up(Refusal(error.code, str(error)))
        except asyncio.CancelledError:
            link.give_up(Refusal("closing", "this node is stopping"))
            raise

    def _flush(self) -> None:
        self._flush_handle = None
        self._last_message, self._last_encoded = None, b""
        links, self._unflushed = list(self._unflushed.values()), {}
        for link in links:
            link.flush()
