"""One link: the two Hellos, then messages both ways until either side ends it."""

from __future__ import annotations

import asyncio
import enum
import math
import ssl
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
from cryptography import x509

from bellande_mesh_sync.core.events import DialFailed, LinkClosed, LinkOpened, Received
from bellande_mesh_sync.core.members.member import Verify
from bellande_mesh_sync.core.messages import CHUNKS_LANE, Goodbye, Hello, Message
from bellande_mesh_sync.errors import AuthenticationError, DecodeError, PeerError
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.security.identity import Identity
from bellande_mesh_sync.security.shown import shown_chain
from bellande_mesh_sync.shell.buffers import Buffers
from bellande_mesh_sync.shell.chunk_lane import ChunkAssembler, send_pieces
from bellande_mesh_sync.shell.link_config import LinkConfig, LinkEvent, LinkSink
from bellande_mesh_sync.shell.link_transport import LinkTransport
from bellande_mesh_sync.shell.tls import verified_peer
from bellande_mesh_sync.shell.tls_refusal import tls_refusal
from bellande_mesh_sync.wire.codec import ChunkPiece, Incoming, encode_message
from bellande_mesh_sync.wire.frames import FrameReader, FrameWriter
from bellande_mesh_sync.wire.handshake import Refusal, judge_hello, judge_node
from bellande_mesh_sync.wire.limits import (
    CODE_BYTES_MAX,
    FRAME_BYTES_MAX,
    HELLO_FRAME_BYTES_MAX,
    REASON_BYTES_MAX,
)

FLUSH_BYTES: Final = 64 * 1024
"""Queued bytes that are written at once; larger writes were slower here (the cache), smaller ones too."""

_NOT_FOR_THE_SINK: Final = frozenset((Hello, Goodbye, ChunkPiece))


SIGN_OF_LIFE_S: Final = 1.0


class LinkState(enum.Enum):
    OPENING = enum.auto()
    OPEN = enum.auto()
    CLOSED = enum.auto()


@dataclass(frozen=True, slots=True)
class DialRequest:
    """What a dialled link is for; an accepted one has none."""

    dial: int
    address: str
    peer: NodeId | None
    lane: int
    is_wanted: bool = False


class LinkHub(Protocol):
    """What a link needs of the `Links` it belongs to."""

    config: LinkConfig
    identity: Identity | None
    verify: Verify | None
    sink: LinkSink
    buffers: Buffers

    def make_hello(self, lane: int) -> Hello: ...
    def context(self, *, server_side: bool) -> ssl.SSLContext | None: ...
    def shared_buffer(self) -> memoryview: ...
    def report(self, event: LinkEvent) -> None:
        """Hand an event to the sink, later in this loop turn."""
        ...

    def refused(self, address: str, refusal: Refusal) -> None:
        """An inbound connection did not become a link."""
        ...

    def admits(self, link: Link) -> bool:
        """Whether one more link may open; it is then listed as open."""
        ...

    def forget(self, link: Link) -> None:
        """It is no longer open."""
        ...

    def released(self, link: Link) -> None:
        """Its connection is gone."""
        ...


class Link:
    """A `TransportOwner`. Its end is reported once: as DialFailed, LinkClosed, or to the hub's `refused`."""

    def __init__(self, hub: LinkHub, number: int, request: DialRequest | None) -> None:
        self.number = number
        self.request = request
        self.state = LinkState.OPENING
        self.peer: NodeId | None = None
        self.lane = 0 if request is None else request.lane
        self.messages_in = 0
        self.messages_out = 0
        self._hub = hub
        self._inbox: list[Message] = []
        self._inbox_bytes = 0
        self._outbox = FrameWriter()
        self._assembler = ChunkAssembler(hub.buffers, self._deliver_chunk)
        self._reader = FrameReader(HELLO_FRAME_BYTES_MAX, buffer_bytes=HELLO_FRAME_BYTES_MAX)
        self._chunks_waiting_bytes = 0
        self._chunk_turn = asyncio.Lock()
        self._deadline: asyncio.TimerHandle | None = None
        self._proven: NodeId | None = None
        self.ends_s = math.inf
        """When the certificate that the peer showed ends, in seconds since 1970."""
        self.certificate: x509.Certificate | None = None
        """What the peer showed."""
        self._told_s = 0.0
        self._has_spoken = False  # Whether our Hello was sent.
        self.transport = LinkTransport(
            self,
            context=hub.context(server_side=request is None),
            server_side=request is None,
            buffer_bytes=hub.config.chunk_buffer_bytes,
            shared=hub.shared_buffer(),
        )

    @property
    def is_open(self) -> bool:
        return self.state is LinkState.OPEN

    @property
    def is_closed(self) -> bool:
        return self.state is LinkState.CLOSED

    @property
    def address(self) -> str:
        return format_address(*self.transport.peer_address)

    @property
    def queued_bytes(self) -> int:
        return self._outbox.size_bytes + self.transport.queued_bytes

    def describe(self) -> dict[str, Any]:
        """For statistics; JSON-ready."""
        return {
            "link": self.number,
            "peer": self.peer.hex() if self.peer else "",
            "lane": "chunks" if self.lane == CHUNKS_LANE else "records",
            "address": self.address,
            "inbound": self.request is None,
            "bytes_in": self.transport.bytes_in,
            "bytes_out": self.transport.bytes_out,
            "messages_in": self.messages_in,
            "messages_out": self.messages_out,
            "queued_bytes": self.queued_bytes,
        }

    # -- opening

    def connected(self) -> None:
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._hub.config.handshake_timeout_s, self._time_out)

    def secured(self, session: ssl.SSLObject | None) -> None:
        if session is not None:
            assert self._hub.identity is not None
            try:
                member = verified_peer(session, self._hub.identity, self._hub.config.ciphers)
            except AuthenticationError as error:
                self._turn_away(Refusal(error.code, str(error)))
                return
            self._proven, self.ends_s = member.node, member.not_after.timestamp()
            self.certificate = member.x509
        if self.request is None:
            return  # The one who dialled speaks first, so that a stranger gets no word out of us.
        if self._proven is not None:
            own = self._hub.identity.node if self._hub.identity else self._proven
            refusal = judge_node(self._proven, own, self.request.peer)
            if refusal is not None:
                self._turn_away(refusal)
                return
        hello = self._hub.make_hello(self.lane)
        if self.request.is_wanted:
            hello = msgspec.structs.replace(hello, is_wanted=True)
        self._say_hello(hello)

    def _say_hello(self, hello: Hello) -> None:
        self._has_spoken = True
        self._outbox.add(encode_message(hello))
        self.flush()

    def _meet(self, first: Incoming) -> None:
        """Judge the peer's first message."""
        if isinstance(first, Goodbye):
            self._close(Refusal(first.code, f"the peer says: {first.reason}"), say_goodbye=False)
            return
        if not isinstance(first, Hello):
            self._refuse(Refusal("bad_frame", "the first message is no Hello"))
            return
        if self.request is None:
            self.lane = first.lane
        ours = self._hub.make_hello(self.lane)
        refusal = judge_hello(
            first,
            ours,
            proven=self._proven,
            expected=self.request.peer if self.request else None,
            verify=self._hub.verify,
        )
        if refusal is not None:
            self._refuse(refusal)
            return
        if not self._hub.admits(self):
            self._refuse(Refusal("too_many_links", "this node has as many links as it may"))
            return
        if not self._has_spoken:
            self._say_hello(ours)
        self._open(first)

    def _open(self, hello: Hello) -> None:
        self._stop_deadline()
        self.state = LinkState.OPEN
        self._told_s = asyncio.get_running_loop().time()
        self.peer = hello.node
        self._reader.allow(FRAME_BYTES_MAX)
        self._reader.accept_pieces(self._assembler)
        self._hub.sink.event(
            LinkOpened(self.number, hello.node, hello, self.address, self.request.dial if self.request else 0)
        )

    def _time_out(self) -> None:
        seconds = self._hub.config.handshake_timeout_s
        self._refuse(Refusal("handshake_timeout", f"the handshake took longer than {seconds:g} s"))

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # -- receiving

    def space(self) -> memoryview:
        return self._reader.space()

    def received(self, count: int) -> None:
        self._reader.add(count)
        try:
            while not self.is_closed and (frame := self._reader.next_frame()) is not None:
                self._take(*frame)
        except PeerError as error:
            self.turn_ended()  # What came before the broken frame is good.
            self._refuse(Refusal(error.code, str(error)))

    def _take(self, messages: list[Incoming], size_bytes: int) -> None:
        if self.state is LinkState.OPENING and messages:
            self._meet(messages[0])
            if not self.is_open:
                return
            messages = messages[1:]
        self.messages_in += len(messages)
        self._inbox_bytes += size_bytes if messages else 0
        if _NOT_FOR_THE_SINK.isdisjoint(map(type, messages)):
            self._inbox += messages  # type: ignore[arg-type]  # no ChunkPiece among them
            return
        for message in messages:
            if isinstance(message, ChunkPiece):
                self._take_piece(message)
            elif isinstance(message, Goodbye):
                self.turn_ended()
                self._close(Refusal(message.code, message.reason), say_goodbye=False)
                return
            elif isinstance(message, Hello):
                raise DecodeError(reason="a second Hello on one link")
            else:
                self._inbox.append(message)

    def _take_piece(self, piece: ChunkPiece) -> None:
        """A piece that shares its frame with other messages; our own senders never do that."""
        size = len(piece.body)
        self._inbox_bytes -= size
        self._assembler.begin_piece(piece.hash, piece.offset, piece.total, size)[:] = piece.body
        self._assembler.end_piece(piece.hash)

    def turn_ended(self) -> None:
        if self._inbox:
            event = Received(self.number, tuple(self._inbox), self._inbox_bytes)
            self._inbox.clear()
            self._inbox_bytes = 0
            self._told_s = asyncio.get_running_loop().time()
            self._hub.sink.event(event)
        elif self.is_open and asyncio.get_running_loop().time() - self._told_s > SIGN_OF_LIFE_S:
            # A slow link may need long for one frame or chunk: bytes of it show that the peer is there.
            self._told_s = asyncio.get_running_loop().time()
            self._hub.sink.event(Received(self.number, (), 0))

    def _deliver_chunk(self, chunk: bytes, data: memoryview) -> None:
        self.messages_in += 1
        self._chunks_waiting_bytes += len(data)
        if self._chunks_waiting_bytes > self._hub.config.chunks_waiting_bytes_max:
            self.transport.pause()
        self._hub.sink.chunk(self.number, chunk, data)

    def chunk_done(self, size_bytes: int) -> None:
        """The sink has dealt with so many bytes of chunks."""
        self._chunks_waiting_bytes -= size_bytes
        if self._chunks_waiting_bytes * 2 <= self._hub.config.chunks_waiting_bytes_max:
            self.transport.resume()

    # -- sending

    def queue(self, encoded: bytes) -> None:
        """Queue an encoded message; whoever calls sees to a later `flush`."""
        self._outbox.add(encoded)
        self.messages_out += 1
        if self._outbox.size_bytes >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        frames = self._outbox.take()
        if frames:
            self.transport.write(*frames)
            queued, limit = self.transport.queued_bytes, self._hub.config.queue_bytes_max
            if self.is_open and queued > limit:
                self._refuse(
                    Refusal("queue_overflow", f"{queued} bytes wait for the peer to read; {limit} may")
                )

    async def send_chunk(self, chunk: bytes, payload: bytes) -> bool:
        async with self._chunk_turn:  # One after the other, or the receiver holds many halves.
            if not self.is_open:
                return False
            self.messages_out += 1
            self.flush()
            return await send_pieces(self.transport, chunk, payload)

    # -- closing

    def hang_up(self, code: str, reason: str) -> None:
        self._close(Refusal(code, reason), say_goodbye=True)

    def give_up(self, refusal: Refusal) -> None:
        """The TCP connection could not be made, or nobody wants it any more."""
        self._close(refusal, say_goodbye=False)
        self.transport.abort()
        # uvloop closes a connection whose making was cancelled without a call of connection_lost.
        self._hub.released(self)

    def ended(self, error: BaseException | None) -> None:
        """The connection ended without a Goodbye."""
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            session = self.transport.session
            assert session is not None, "TLS failed"
            refusal = tls_refusal(error, shown_chain(session), self._hub.identity)
            if self.is_open:
                refusal = Refusal("lost", refusal.reason)
        elif self.is_open:
            refusal = Refusal("lost", _loss(error, "the peer's end of the connection is gone"))
        else:
            code = "lost" if self.request is None else "unreachable"
            refusal = Refusal(code, _loss(error, self._how_far()))
        self._close(refusal, say_goodbye=False)

    def _how_far(self) -> str:
        """Where in its opening the link was when the peer hung up."""
        if self._proven is None:
            return "the peer hung up during the handshake"
        if self.request is None:
            return f"node {self._proven.hex()} hung up without a word: it may look for another node here"
        return "the peer hung up without a word: to it this node may be no member"

    def gone(self) -> None:
        self._close(Refusal("lost", "the connection was closed"), say_goodbye=False)
        self._hub.released(self)

    def _refuse(self, refusal: Refusal) -> None:
        self._close(refusal, say_goodbye=True)

    def _turn_away(self, refusal: Refusal) -> None:
        """End it without a word: it is not known to be a member, or not the one that was looked for."""
        self._close(refusal, say_goodbye=False)

    def _close(self, refusal: Refusal, *, say_goodbye: bool) -> None:
        if self.state is LinkState.CLOSED:
            return
        was_open = self.is_open
        self.state = LinkState.CLOSED
        self._stop_deadline()
        self._hub.forget(self)
        if say_goodbye and self.transport.is_secured:
            self._outbox.add(encode_message(Goodbye(*_printable(refusal))))
        self.transport.write(*self._outbox.take())
        self.transport.finish(self._hub.config.close_flush_s)
        if was_open:
            self._hub.report(LinkClosed(self.number, refusal.code, refusal.reason))
        elif self.request is not None:
            self._hub.report(DialFailed(self.request.dial, refusal.code, refusal.reason))
        else:
            self._hub.refused(self.address, refusal)


def format_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _loss(error: BaseException | None, otherwise: str) -> str:
    return f"{otherwise}: {error}" if error is not None else otherwise


def _printable(refusal: Refusal) -> tuple[str, str]:
    """Code and reason as a Goodbye may carry them."""
    code = refusal.code.encode("ascii", "replace")[:CODE_BYTES_MAX].decode()
    reason = "".join(c if c.isprintable() else "?" for c in refusal.reason)
    return code, reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore")
